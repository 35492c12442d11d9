"""Programs of tests/app in processes of their own, and the process that comes after them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

import flowspan
from faults import Collector
from flowspan.delivery import DurableSpanProcessor
from processes import NOT_KEPT

APP = Path(__file__).parent / "app"
GUARD = 60.0
"""Seconds until a test gives up on a process. Nothing is said by it about how fast one is."""


class Program:
    """A process. What it writes to stdout: ids of spans that it has ended, and other words."""

    def __init__(
        self, command: list[str], log: Path, env: dict[str, str], pass_fds: Sequence[int]
    ) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_KEPT)}
        self._log = log
        self._words: list[str] = []
        with open(log, "wb") as stderr:
            self._process = subprocess.Popen(
                command,
                env=kept | {"PYTHONPATH": str(APP)} | env,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=log.parent,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait_for(self, word: str) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._words.append(line.decode().strip())
            if self._words[-1] == word:
                return
        raise AssertionError(f"no {word!r}: {self.stderr}")

    def wait_for_ids(self, count: int) -> None:
        assert self._process.stdout is not None
        while len(self.ids) < count:
            line = self._process.stdout.readline().decode()
            assert line, self.stderr
            self._words.append(line.strip())

    def kill(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self, timeout: float = GUARD) -> int:
        """Its exit code, once it has ended by itself."""
        out, _ = self._process.communicate(timeout=timeout)
        self._words += out.decode().splitlines()
        return self._process.returncode

    @property
    def ids(self) -> list[str]:
        return [word for word in self._words if len(word) == 16]

    @property
    def words(self) -> list[str]:
        return self._words

    @property
    def stderr(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        with suppress(ProcessLookupError):  # its children, too, that hang
            os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate()


class Programs:
    """Starts programs that export to *collector*, each with a spool in *directory*."""

    def __init__(self, collector: Collector, directory: Path) -> None:
        self._collector, self._directory = collector, directory
        self._made: list[Program] = []

    def spool(self, name: str) -> Path:
        return self._directory / f"{name} spool".replace(" ", "-")

    def start(
        self, name: str, command: Sequence[str], pass_fds: Sequence[int] = (), **env: str
    ) -> Program:
        """*command* is a file of tests/app with its arguments, or `-m` and a module's name."""
        words = list(command)
        if words[0] != "-m":
            words[0] = str(APP / words[0])
        settings = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "FLOWSPAN_SPOOL_DIR": str(self.spool(name)),
            # of forks in a process with threads: it is what is tested here
            "PYTHONWARNINGS": "ignore::DeprecationWarning",
        }
        log = self._directory / f"{len(self._made)}.log"
        program = Program([sys.executable, *words], log, settings | env, pass_fds)
        self._made.append(program)
        return program

    def close(self) -> None:
        for program in self._made:
            program.close()


@contextmanager
def following(url: str, spool: Path, **settings: Any) -> Iterator[DurableSpanProcessor]:
    """A process that comes later, in this one: a processor on the same spool, with one span."""
    processor = DurableSpanProcessor(
        flowspan.Config(),
        endpoint=f"{url}/v1/traces",
        spool_dir=str(spool),
        schedule_delay=0.02,
        **settings,
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("next").end()
    try:
        yield processor
    finally:
        processor.close(0.5)


def deliver_the_rest(collector: Collector, *spools: Path) -> None:
    for spool in spools:
        with following(collector.url, spool) as processor:
            deadline = time.monotonic() + 20
            processor.force_flush(20_000)
            while processor.stats().waiting and time.monotonic() < deadline:
                processor.force_flush(20_000)  # what was adopted may be younger than its own
            assert processor.stats().waiting == 0, processor.stats()


def arrived(collector: Collector) -> list[str]:
    """The ids of all spans that have arrived, but for those of `following`."""
    return [span.span_id.hex() for span in collector.spans if span.name != "next"]


def doubled(collector: Collector) -> set[int]:
    """
    The processes with spans that have arrived twice, by the number that their names begin with.

    Checks that these came as the very same bytes, which a backend knows for what they are.
    """
    known: dict[bytes, bytes] = {}
    found: set[int] = set()
    counts = Counter(collector.ids)
    for span in collector.spans:
        body = span.SerializeToString(deterministic=True)
        if known.setdefault(span.span_id, body) != body:
            raise AssertionError(f"two spans of one id: {span}")
        if counts[span.span_id] > 1 and span.name != "next":
            found.add(int(span.name.split("-")[0]))
    return found


SIGNALS = {name: getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGKILL")}
