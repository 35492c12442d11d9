"""One server process on loopback ports: started, waited for, stopped by its own id."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 90.0  # ten Langflows that end at once on two busy cores take their time
_LOG_TAIL_LINES = 100

# Another program's HTTP_PROXY is not asked for 127.0.0.1.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_taken: set[int] = set()


class Server:
    """
    A process that can be stopped, killed and started again, on the same ports each time.

    Output goes to *log*, appended by every start; a failed start shows its end.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        health: str,
        log: Path,
        start_timeout: float = _START_TIMEOUT,
    ) -> None:
        self.health = health
        self._start_timeout = start_timeout
        self.log = log
        self._argv = list(argv)
        # Nothing else is inherited: an OTEL_* or proxy variable would change what is tested.
        # A process that does not end is asked where it stands (`_end`): Go answers by itself.
        self._env = {"PATH": os.environ.get("PATH", ""), "PYTHONFAULTHANDLER": "1", **env}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once the health endpoint says so; fails the test if it does not in time."""
        assert self._process is None, f"{self.log.stem} runs already"
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self._argv, env=self._env, stdout=log, stderr=subprocess.STDOUT
            )
        self._process = process
        try:
            wait_for(
                lambda: process.poll() is not None or get(self.health) is not None,
                timeout=self._start_timeout,
            )
            exited = process.poll()
            problem = None if exited is None else f"exited with {exited}"
        except TimeoutError:
            problem = f"was not healthy after {self._start_timeout:g} s"
        if problem is not None:
            self._end(signal.SIGKILL)
            pytest.fail(f"{self.log.stem} {problem}; the end of {self.log}:\n{self.log_tail()}")

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.log.stem} does not run"
        return self._process.pid

    def stop(self) -> None:
        """Ends the process as an operator would (SIGTERM). Does nothing when it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process without a chance to save anything (SIGKILL)."""
        self._end(signal.SIGKILL)

    def log_tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_TAIL_LINES:])

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # the stacks of its threads, into the log
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            pytest.fail(
                f"{self.log.stem} ignored {how.name} for {_STOP_TIMEOUT:g} s:\n{self.log_tail()}"
            )


def free_addresses(count: int) -> list[str]:
    """
    `127.0.0.1:port`, each with a port nobody listens on.

    Below the range from which systems take ports for outgoing connections: while a server is
    down, nobody else, not even a client that tries to reach it, is given its port.
    """
    addresses: list[str] = []
    choose = random.SystemRandom()  # parallel test processes may share a seed
    while len(addresses) < count:
        port = choose.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            addresses.append(f"127.0.0.1:{port}")
    return addresses


def get(url: str) -> bytes | None:
    """The body of a successful answer; None when nobody answers or the status is an error."""
    try:
        with _http.open(url, timeout=5.0) as response:
            body: bytes = response.read()
            return body
    except OSError:  # refused, reset, timed out; URLError and HTTPError are OSErrors
        return None


def wait_for(look: Callable[[], T], *, timeout: float, until: Callable[[T], object] = bool) -> T:
    """What *look* returns, as soon as *until* accepts it; TimeoutError after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if until(seen):
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:g} s; last seen: {seen!r}")
        time.sleep(0.02)
