"""Disks, directories and clocks on bad days; what may be missing is counted, and said once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import flowspan
from backends._process import wait_for
from faults import Collector
from flowspan import _guard
from flowspan.delivery import DurableSpanProcessor, _platform, _storage
from logged import said
from processes import in_process
from programs import arrived, deliver_the_rest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners, mounts and limits")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount and to chown")


class Durable:
    """A processor that exports to *collector*, and the ids of what has ended."""

    def __init__(self, collector: Collector, spool: Path, **settings: Any) -> None:
        self.processor = DurableSpanProcessor(
            flowspan.Config(),
            endpoint=f"{collector.url}/v1/traces",
            spool_dir=str(spool),
            schedule_delay=0.02,
            **settings,
        )
        self.ids: list[str] = []
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(self.processor)

    def end(self, count: int, size: int = 100) -> None:
        """And write them down."""
        tracer = self._provider.get_tracer("test")
        for _ in range(count):
            span = tracer.start_span("span", attributes={"input.value": "x" * size})
            span.end()
            self.ids.append(format(span.get_span_context().span_id, "016x"))
        self.processor._drain()


Make = Callable[..., Durable]


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def make(faulty: Collector, spool: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A processor, closed at the end. The disk is tried again with each record."""
    made: list[Durable] = []
    monkeypatch.setattr(_storage, "RETRY", (0.0, 0.0))
    _guard.reset()

    def make(where: Path = spool, **settings: Any) -> Durable:
        made.append(Durable(faulty, where, **settings))
        return made[-1]

    yield make
    for durable in made:
        durable.processor.close(0.5)
    _guard.reset()


def lines(caplog: pytest.LogCaptureFixture, word: str, *, least: int = 1) -> list[str]:
    """
    What flowspan has said with *word* in it, once there is so much: what is said under the
    processor's lock is logged by that thread when it has let it go, maybe after a flush.
    """
    return wait_for(lambda: said(caplog, word), timeout=10, until=lambda lines: len(lines) >= least)


# ---- no disk to speak of


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    where = tmp_path / "disk"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", where], check=True)
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def full(disk: Path) -> Path:
    with open(disk / "other", "wb", buffering=0) as file:
        while file.write(b"x" * 4096) == 4096:
            pass
    return disk / "spool"


def read_only(disk: Path) -> Path:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    return disk / "spool"


def of_somebody_else(disk: Path) -> Path:
    (disk / "spool").mkdir(mode=0o700)
    os.chown(disk / "spool", 12345, -1)
    return disk / "spool"


def a_link(disk: Path) -> Path:
    (disk / "target").mkdir(mode=0o700)
    (disk / "spool").symlink_to(disk / "target")
    return disk / "spool"


def mended(disk: Path, trouble: Callable[[Path], Path]) -> None:
    if trouble is full:
        (disk / "other").unlink()
    elif trouble is read_only:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    elif trouble is of_somebody_else:
        os.chown(disk / "spool", os.geteuid(), -1)
    else:
        (disk / "spool").unlink()


TROUBLES = {
    full: "No space left on device",
    read_only: "Read-only file system",
    of_somebody_else: "belongs to user 12345",
    a_link: "is a symbolic link",
}


@needs_root
@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.__name__)
def test_without_a_disk_spans_wait_in_memory(
    faulty: Collector,
    make: Make,
    small_disk: Path,
    caplog: pytest.LogCaptureFixture,
    trouble: Callable[[Path], Path],
):
    """Through an outage; said once; and on the disk as soon as that works."""
    try:
        where = trouble(small_disk)
    except OSError:
        where = small_disk / "spool"  # it is full now
    faulty.refuse()
    durable = make(where)
    durable.end(100)
    durable.end(100)
    assert not durable.processor.force_flush(100)
    assert durable.processor.stats().spool == "memory"
    assert durable.processor.stats().waiting == 200

    mended(small_disk, trouble)
    durable.end(100)

    assert durable.processor.stats().spool == str(where)
    (line,) = lines(caplog, "spans wait in memory instead")
    assert TROUBLES[trouble] in line
    durable.processor.close(0.1)
    faulty.listen()
    deliver_the_rest(faulty, where)
    assert sorted(arrived(faulty)) == sorted(durable.ids)


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_directory_that_is_deleted_while_running(
    faulty: Collector, make: Make, spool: Path, how: str
):
    """It is made anew, with what had been in it."""
    faulty.refuse()
    durable = make()
    durable.end(100)
    if how == "removed":
        shutil.rmtree(spool)
    else:
        for path in spool.iterdir():
            path.unlink()
    durable.end(100)
    durable.processor.close(0.1)
    faulty.listen()

    deliver_the_rest(faulty, spool)

    assert sorted(arrived(faulty)) == sorted(durable.ids)
    assert spool.stat().st_mode & 0o777 == 0o700


MADE = """
import os, resource
from opentelemetry.sdk.trace import TracerProvider
from flowspan.delivery import DurableSpanProcessor
processor = DurableSpanProcessor()
provider = TracerProvider()
provider.add_span_processor(processor)
def end(count, size=100):
    for number in range(count):
        provider.get_tracer("test").start_span("span", attributes={"a": "x" * size}).end()
    processor._drain()
"""


def test_a_limit_on_the_size_of_files(faulty: Collector, spool: Path):
    """`ulimit -f`: what does not fit into one file goes into the next."""
    faulty.refuse()
    code = MADE + (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))\n"
        "for _ in range(8):\n"
        "    end(1000, 1000)\n"
        "stats = processor.stats()\n"
        "result = [stats.spool, stats.waiting, stats.dropped]\n"
    )

    result = in_process(code, FLOWSPAN_SPOOL_DIR=str(spool), OTEL_EXPORTER_OTLP_ENDPOINT=faulty.url)

    assert result == [str(spool), 8000, {}]
    faulty.listen()
    deliver_the_rest(faulty, spool)
    assert len(arrived(faulty)) == len(set(arrived(faulty))) == 8000


@needs_root
def test_a_user_without_a_home(faulty: Collector, tmp_path: Path):
    """Nothing is written to wherever the process happens to be; it works from memory."""
    os.chown(tmp_path, 12345, -1)
    code = MADE + (
        "del os.environ['HOME']\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "os.setuid(12345)\n"
        "end(10)\n"
        "sent = processor.force_flush()\n"
        "result = [sent, processor.stats().spool, os.listdir('.')]\n"
    )

    result = in_process(code, XDG_STATE_HOME="", OTEL_EXPORTER_OTLP_ENDPOINT=faulty.url)

    assert result == [True, "memory", []]
    assert len(arrived(faulty)) == 10


# ---- bounds


def test_the_oldest_go_when_the_spool_is_full(
    faulty: Collector, make: Make, spool: Path, caplog: pytest.LogCaptureFixture
):
    """`FLOWSPAN_SPOOL_MAX_BYTES`: counted, and said once."""
    faulty.refuse()
    durable = make(spool_max_bytes=2_000_000)
    for _ in range(40):
        durable.end(100, 1000)
        assert sum(path.stat().st_size for path in spool.iterdir()) <= 2_000_000
    stats = durable.processor.stats()
    lost = stats.dropped["spool full"]
    assert stats.waiting + lost == stats.ended == 4000
    assert 1000 <= stats.waiting <= 2000
    assert len(lines(caplog, "given up")) == 1
    faulty.listen()

    assert not durable.processor.force_flush(20_000), "not all that ended has arrived"
    assert durable.processor.force_flush(20_000)
    assert sorted(arrived(faulty)) == sorted(durable.ids[lost:])


class Clocks:
    """How far the two clocks are from the real ones, in hours."""

    wall = uptime = 0.0


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    wall, uptime = _platform.Clock.wall, _platform.Clock.uptime
    hour = 3600 * 10**9
    monkeypatch.setattr(_platform.Clock, "wall", lambda self: wall(self) + int(clocks.wall * hour))
    monkeypatch.setattr(
        _platform.Clock, "uptime", lambda self: uptime(self) + int(clocks.uptime * hour)
    )
    return clocks


def test_what_is_too_old_goes(
    faulty: Collector, make: Make, clocks: Clocks, caplog: pytest.LogCaptureFixture
):
    """`FLOWSPAN_SPOOL_MAX_AGE`: counted, and said once; what is younger is delivered."""
    faulty.refuse()
    durable = make(spool_max_age=3600)
    durable.end(50)
    clocks.wall = clocks.uptime = 0.5
    durable.end(50)
    clocks.wall = clocks.uptime = 1.2
    faulty.listen()

    assert durable.processor.force_flush(20_000)
    assert sorted(arrived(faulty)) == sorted(durable.ids[50:])
    assert durable.processor.stats().dropped == {"too old": 50}
    assert len(lines(caplog, "too old")) == 1


@pytest.mark.parametrize("jump", [-100_000.0, 100_000.0], ids=["back", "ahead"])
def test_a_clock_that_jumps(
    faulty: Collector, make: Make, spool: Path, clocks: Clocks, jump: float
):
    """Eleven years, there and back: nothing is too old for that, and nothing is forgotten."""
    faulty.refuse()
    durable = make(spool_max_age=3600)
    durable.end(50)
    clocks.wall = jump
    durable.end(50)
    clocks.wall = 0
    durable.end(50)
    clocks.wall = jump
    durable.processor.close(0.1)
    assert not durable.processor.stats().dropped
    faulty.listen()

    deliver_the_rest(faulty, spool)

    assert sorted(arrived(faulty)) == sorted(durable.ids)


# ---- two versions


@pytest.mark.parametrize("newer_format", [False, True], ids=["our format", "a newer format"])
def test_two_versions_share_a_spool(
    faulty: Collector,
    make: Make,
    spool: Path,
    caplog: pytest.LogCaptureFixture,
    newer_format: bool,
):
    """
    What another version left in our format is delivered; in a newer one it is left alone, which is
    said once, and that version delivers it.
    """
    faulty.refuse()
    theirs = 'import flowspan._version\nflowspan._version.__version__ = "9.9.9"\n'
    if newer_format:
        theirs += "from flowspan.delivery import _format\n"
        theirs += "_format.VERSION, _format.MARKER = 2, b'\\xf5FS\\x02'\n"
    env = {"FLOWSPAN_SPOOL_DIR": str(spool), "OTEL_EXPORTER_OTLP_ENDPOINT": faulty.url}
    assert in_process(theirs + MADE + "end(20)\nresult = processor.close(0.1)", **env) is False
    (segment,) = spool.iterdir()
    assert b"9.9.9" in segment.read_bytes()
    faulty.listen()
    durable = make()
    durable.end(5)

    assert durable.processor.force_flush(20_000)
    assert len(arrived(faulty)) == (5 if newer_format else 25)
    assert segment.exists() == newer_format
    durable.processor.close(1)
    assert len(lines(caplog, "a newer flowspan wrote", least=newer_format)) == newer_format

    assert in_process(theirs + MADE + "end(1)\nresult = processor.close(20)", **env)
    assert len(arrived(faulty)) == len(set(arrived(faulty))) == 26
    assert list(spool.iterdir()) == []
