"""Go sources beside this file -> binaries in the user's cache directory, each built once."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

Name = Literal["jaeger", "collector"]

_SOURCES = Path(__file__).parent
_PACKAGES: dict[Name, str] = {
    "jaeger": "github.com/jaegertracing/jaeger/cmd/jaeger",
    "collector": ".",
}
# The user's own, found before a test sets a cache of its own: that one would be built for anew.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
_GO_MINOR = 25
_NO_GO = (
    f"Go >= 1.{_GO_MINOR} is not installed: "
    "install it from go.dev to run against a real Jaeger and Collector"
)


def binary(name: Name) -> Path:
    """
    The program *name*, built if this version of its sources was not built before.

    The first build downloads its modules and takes minutes; other processes wait for it.
    Skips the test where Go is missing or too old, fails it with the compiler's output when the
    build fails.
    """
    source = _SOURCES / name
    cache = _cache_directory()
    built = cache / f"{name}-{_fingerprint(source)}"
    if built.exists():
        return built
    if not _has_go(source):
        pytest.skip(_NO_GO)
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f"{name}.lock"):
        if not built.exists():
            _build(source, _PACKAGES[name], built)
    return built


def _cache_directory() -> Path:
    return _CACHE / "flowspan" / "backends"


def _fingerprint(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((source / "go.mod", source / "go.sum", *source.glob("*.go"))):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


def _has_go(source: Path) -> bool:
    if shutil.which("go") is None:
        return False
    # Inside the module, where an older Go that may fetch the one that go.mod asks for does so.
    version = subprocess.run(
        ["go", "env", "GOVERSION"], cwd=source, capture_output=True, text=True
    ).stdout
    minor = re.search(r"go1\.(\d+)", version)
    return minor is not None and int(minor[1]) >= _GO_MINOR


def _build(source: Path, package: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.") as scratch:
        output = Path(scratch) / target.name
        options = ["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags=-s -w"]
        build = subprocess.run(
            ["go", "build", *options, "-o", str(output), package],
            cwd=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if build.returncode != 0:
            pytest.fail(f"go build of {source.name} failed:\n{build.stdout}", pytrace=False)
        output.rename(target)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl  # here, because Windows has none: collecting the tests must work there

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, or its process dies
        yield
