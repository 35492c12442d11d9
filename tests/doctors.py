"""`flowspan doctor` as a process, its report read back; and the places that it is sent to."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from collectors import HttpCollector
from test_cli import flowspan_command


@dataclass
class Report:
    """What one run said. *text* is all of its output, as it stands."""

    code: int
    text: str
    lines: list[dict[str, Any]]
    whole: dict[str, Any]

    def line(self, what: str, section: str = "") -> dict[str, Any]:
        """The only line of that name."""
        (found,) = [
            line
            for line in self.lines
            if line["what"] == what
            and (line["section"] == section if section else line["section"] != "Settings")
        ]
        return found

    def state(self, what: str) -> str:
        return str(self.line(what)["state"])

    @property
    def wrong(self) -> dict[str, Any]:
        """The first line that is red."""
        return next(line for line in self.lines if line["state"] == "wrong")

    @property
    def cause(self) -> str:
        """The first red line in one text, to be searched."""
        return "{what} | {seen} | {expected} | {do}".format(**self.wrong)


def examine(*arguments: str, **variables: str) -> Report:
    """Run it with `--json`, and with no Jaeger unless *arguments* name one."""
    if "--jaeger" not in arguments:
        arguments = ("--jaeger", "none", *arguments)
    done = flowspan_command("doctor", "--json", *arguments, **variables)
    assert done.stderr == "", done.stderr
    whole = json.loads(done.stdout)
    assert whole["well"] is (done.returncode == 0)
    return Report(done.returncode, done.stdout, whole["lines"], whole)


def at(path: str, answer: tuple[int, dict[str, str], bytes]) -> HttpCollector:
    """A collector that takes spans at *path*, and has *answer* for any other."""
    collector = HttpCollector()

    def choose(body: bytes) -> None:
        collector.answer = (200, {}, b"") if collector.paths[-1] == path else answer

    collector.before = choose
    return collector


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port whose connections never come about: its queue is full, and nobody accepts."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def silent(connection: socket.socket) -> None:
    """Take whatever comes, and say nothing."""
    while connection.recv(65536):
        pass


HAS_BLACK_HOLES = sys.platform == "linux"
Talk = Callable[[socket.socket], None]
