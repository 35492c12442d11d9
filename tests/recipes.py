"""A recipe of docs/recipes, run as its reader would: its files, its commands, the tree it shows."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from faults import Collector
from processes import NOT_KEPT
from programs import GUARD

PAGES = Path(__file__).parents[1] / "docs" / "recipes"
BIN = Path(sys.executable).parent
Tree = list[Any]
"""`[["run", [["a", []], ["b", []]]]]`, sorted by name: what runs at once starts in any order."""


class Recipe:
    """
    A page's files in *directory*. Its processes export to *collector*, share a spool and end here.

    Commands are given as the page has them. Ports of the page are free ones of this machine.
    """

    def __init__(self, page: str, directory: Path, collector: Collector) -> None:
        self._text = (PAGES / page).read_text()
        self._directory, self._collector = directory, collector
        self._ports: dict[str, str] = {}
        self._started: list[subprocess.Popen[str]] = []
        named = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", self._text, re.DOTALL)
        assert len(named) == self._text.count("```python"), "a block has no name"
        for name, code in named:
            (directory / name).write_text(self._here(code))
        self._commands = commands_of(self._text)

    def run(self, line: str, **env: str) -> str:
        """What the command prints, once it has ended well."""
        process = self.start(line, **env)
        out, err = process.communicate(timeout=GUARD)
        assert process.returncode == 0, err
        return out

    def start(self, line: str, **env: str) -> subprocess.Popen[str]:
        assert line in self._commands, f"the page has no {line!r}"
        words = shlex.split(self._here(line))
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            env[name] = value
        kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_KEPT)}
        ours = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "FLOWSPAN_SPOOL_DIR": str(self._directory / "spool"),
            "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of forks in a process with threads
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        }
        process = subprocess.Popen(
            words,
            env=kept | ours | env,
            cwd=self._directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def serve(self, line: str, port: str, **env: str) -> subprocess.Popen[str]:
        """The command, once something answers at *port* of the page."""
        process = self.start(line, **env)
        wait_for_port(int(self._here(port)), process)
        return process

    def _here(self, text: str) -> str:
        """*text* with the page's ports replaced."""
        for port in re.findall(r"\b800\d\b", text):
            if port not in self._ports:
                self._ports[port] = str(free_port())
            text = text.replace(port, self._ports[port])
        return text

    def shown(self) -> list[Tree]:
        """The trees of the page, in its order."""
        return [_read(text) for text in re.findall(r"```text\n(.*?)```", self._text, re.DOTALL)]

    def arrived(self, count: int) -> Tree:
        """The trees of all that has arrived, once that is *count* spans."""
        self._collector.wait_for(count)
        return tree_of(self._collector.spans)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def commands_of(text: str) -> list[str]:
    """What a reader types; what is installed and set is the test's business."""
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    return [line for line in lines if not line.startswith(("pip ", "export "))]


def size(tree: Tree) -> int:
    return sum(1 + size(children) for _, children in tree)


def _read(text: str) -> Tree:
    tree: Tree = []
    above: list[Tree] = [tree]
    for line in text.splitlines():
        name = line.lstrip("│├└─ ")
        depth = (len(line) - len(name)) // 3
        node: Any = [name, []]
        above[depth].append(node)
        above[depth + 1 :] = [node[1]]
    return _sorted(tree)


def tree_of(spans: list[Any]) -> Tree:
    """Whose parent has not arrived is no root: then the tree says so."""
    known = {span.span_id for span in spans}
    below: dict[bytes, list[Any]] = defaultdict(list)
    for span in spans:
        torn = span.parent_span_id and span.parent_span_id not in known
        below[b"torn" if torn else span.parent_span_id].append(span)

    def of(parent: bytes) -> Tree:
        return [[span.name, of(span.span_id)] for span in below.get(parent, [])]

    torn = [["torn off", of(b"torn")]] if b"torn" in below else []
    return _sorted(of(b"") + torn)


def _sorted(tree: Tree) -> Tree:
    return sorted([name, _sorted(children)] for name, children in tree)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + GUARD
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError(f"nothing answers on port {port}")
