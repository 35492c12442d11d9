"""Web servers with several processes: every span that a response told of arrives."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from faults import Collector
from programs import SIGNALS, Program, Programs, arrived, deliver_the_rest, doubled

SERVERS = {
    "gunicorn": ["-m", "gunicorn", "--preload", "--workers=2", "--bind=fd://{}", "served:wsgi"],
    "uvicorn": ["-m", "uvicorn", "--workers=2", "--fd={}", "served:asgi"],
    "reload": ["-m", "uvicorn", "--reload", "--reload-dir=.", "--fd={}", "served:asgi"],
}


class Served:
    """A server of tests/app/served.py, and what it has answered."""

    def __init__(self, programs: Programs, listener: socket.socket, name: str) -> None:
        self.address = listener.getsockname()
        command = [word.format(listener.fileno()) for word in SERVERS[name]]
        self.program: Program = programs.start("served", command, pass_fds=(listener.fileno(),))
        self.ids: list[str] = []
        self.pids: set[str] = set()

    def ask(self, count: int = 1) -> None:
        for _ in range(count):
            connection = HTTPConnection(*self.address, timeout=30)
            try:
                connection.request("GET", "/", headers={"Connection": "close"})
                pid, *ids = connection.getresponse().read().decode().split()
            finally:
                connection.close()
            self.pids.add(pid)
            self.ids += ids

    def ask_at_once(self) -> None:
        threads = [threading.Thread(target=self.ask, args=(5,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("name", ["gunicorn", "uvicorn"])
def test_workers_that_are_stopped_have_lost_nothing(
    faulty: Collector, programs: Programs, listener: socket.socket, name: str, down: bool
):
    """SIGTERM, which gunicorn ends by `sys.exit` and uvicorn by raising it again."""
    if down:
        faulty.refuse()
    served = Served(programs, listener, name)
    while len(served.pids) < 2:
        served.ask_at_once()
    served.program.kill(SIGNALS["SIGTERM"])
    served.program.ended()
    if down:
        faulty.listen()

    deliver_the_rest(faulty, programs.spool("served"))

    assert set(served.ids) <= set(served.program.ids)
    assert set(served.program.ids) == set(arrived(faulty))
    assert not down or not doubled(faulty)


def test_a_server_that_reloads_has_lost_nothing(
    faulty: Collector, programs: Programs, listener: socket.socket, tmp_path: Path
):
    """Each reload ends the process before."""
    changed = tmp_path / "changed.py"
    changed.touch()
    served = Served(programs, listener, "reload")
    served.ask(5)
    moment = changed.stat().st_mtime
    while len(served.pids) < 3:
        moment += 1
        os.utime(changed, (moment, moment))
        with contextlib.suppress(ConnectionError):  # accepted by the process that ended just then
            served.ask()
    served.program.kill(SIGNALS["SIGTERM"])
    served.program.ended()

    deliver_the_rest(faulty, programs.spool("served"))

    assert set(served.program.ids) == set(arrived(faulty))
