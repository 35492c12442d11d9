"""
`flowspan view --listen`: opens a receiver and shows each trace when its run has ended.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final, NoReturn

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from flowspan import semconv
from flowspan.cli._console import fail
from flowspan.cli.view import _details
from flowspan.cli.view._analysis import analyse
from flowspan.cli.view._asked import Asked, chosen, refuse
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._files import write_files
from flowspan.cli.view._model import Span, Trace
from flowspan.cli.view._receiver import Receiver
from flowspan.cli.view._show import Page, tree_lines
from flowspan.cli.view._stored import Store
from flowspan.cli.view._text import clean, count, fit

DEFAULT: Final = ""  # of --listen without an address
_HTTP, _GRPC = 4318, 4317
_QUIET: Final = 0.5  # seconds after the last span of a run that has ended
_ABANDONED: Final = 10.0  # and of one whose root span does not come
_LOOK: Final = 0.1  # seconds between two looks at what has come
_SHOWN: Final = 5  # runs that are shown while they go on


def run(asked: Asked, address: str) -> NoReturn:
    """Until Ctrl-C or SIGTERM. Ends by SystemExit."""
    host, ports = _address(address)
    collection = Collection(asked.max_spans)
    watch = _Watch(asked, collection, Page())
    store = Store()
    code = 0
    with ExitStack() as stack:
        opened: list[int] = []
        for port in ports:
            try:
                receiver = Receiver(host, port, watch.take, store)
            except (OSError, OverflowError) as error:
                why = getattr(error, "strerror", None) or str(error)
                sentence = f"{host}:{port} cannot be listened on ({why.lower()})"
                if port == ports[0]:
                    advice = ": does a collector run there? --listen PORT takes another port"
                    fail(sentence + advice)
                click.echo(f"{sentence}: gRPC is taken at {host}:{opened[0]} only", err=True)
                continue
            stack.callback(receiver.close)
            opened.append(receiver.port)
        asked_to_end = stack.enter_context(_signals())
        shown = f"[{host}]" if ":" in host else host
        click.echo(
            f"Listening on http://{shown}:{opened[0]} (OTLP, HTTP and gRPC"
            + (f"; gRPC also on {opened[1]}" if len(opened) > 1 else "")
            + "). Ctrl-C ends.",
            err=True,
        )
        watch.follow(asked_to_end)
    traces = chosen(asked, collection.traces())
    if asked.html is not None or asked.otlp_json is not None:
        code = write_files(asked, traces)
    spans = sum(len(trace.spans) for trace in traces)
    click.echo(f"{count(len(traces), 'trace')}, {count(spans, 'span')}", err=True)
    if collection.left_out:
        click.echo(f"{count(collection.left_out, 'span')} left out, the oldest", err=True)
    raise SystemExit(code)


def _address(given: str) -> tuple[str, Sequence[int]]:
    if given == DEFAULT:
        return "127.0.0.1", (_HTTP, _GRPC)
    found = re.fullmatch(r"(?:(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]]+)):)?(\d{1,5})", given.strip())
    if found is None or int(found[3]) > 65535:
        refuse(f"--listen={given!r}: expected a port, such as 4318, or 127.0.0.1:4318")
    return found[1] or found[2] or "127.0.0.1", (int(found[3]),)


@contextmanager
def _signals() -> Iterator[SimpleQueue[int]]:
    """SIGINT and SIGTERM are put there; nothing is raised in the middle of a line."""
    came: SimpleQueue[int] = SimpleQueue()  # whose put() may interrupt its get()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, frame: came.put(number)) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@dataclass(slots=True)
class _Run:
    """A trace of which spans have come."""

    first: float
    last: float
    name: str = ""
    spans: int = 0
    drawn: int = 0
    has_root: bool = False


@dataclass
class _Watch:
    """What was seen of each trace, and when it is shown. *open*: not yet shown as it is now."""

    asked: Asked
    collection: Collection
    page: Page
    open: dict[str, _Run] = field(default_factory=dict)
    known: dict[str, _Run] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, spans: list[Span]) -> None:
        """On the receiver's threads. What waits to be drawn is in the collection, bounded."""
        now = time.monotonic()
        with self.lock:
            for span in spans:
                self.collection.add(span)
                self._note(span, now)

    def follow(self, asked_to_end: SimpleQueue[int]) -> None:
        with self._status() as status:
            while True:
                with suppress(Empty):
                    asked_to_end.get(timeout=_LOOK)
                    break
                self._draw(time.monotonic())
                if status is not None:
                    status.update(self._running(), refresh=True)
        self._draw(float("inf"))

    def _note(self, span: Span, now: float) -> None:
        run = self.known.pop(span.trace_id, None) or _Run(now, now)
        self.known[span.trace_id] = self.open[span.trace_id] = run
        while len(self.known) > self.asked.max_spans:  # as the collection leaves out the oldest
            oldest = next(iter(self.known))
            del self.known[oldest]
            self.open.pop(oldest, None)
        run.last = now
        run.spans += 1
        if not span.parent_id or semconv.RUN_STATUS in span.attributes:
            run.has_root = True
            run.name = span.name
        elif not run.name:
            run.name = str(span.attributes.get(semconv.FLOW_NAME) or span.service)

    def _draw(self, now: float) -> None:
        with self.lock:
            due = [name for name, run in self.open.items() if now >= run.last + _wait(run)]
        for trace_id in due:
            with self.lock:  # what comes from here on is shown again
                run = self.open.pop(trace_id, None)
                if run is None:
                    continue
                trace = self.collection.trace(trace_id)
                more = count(run.spans - run.drawn, "more span")
                again = f"again, with {more}" if run.drawn else ""
                run.drawn = run.spans
            if trace is not None and chosen(self.asked, [trace]):
                self._show(trace, again)

    def _show(self, trace: Trace, again: str) -> None:
        found = analyse(trace)
        if self.asked.as_json:
            self.page.json_line(_details.trace_object(found))
            return
        before = [Text(again, style="dim")] if again else []
        limit = None if self.asked.all else 200
        self.page.lines([*before, *tree_lines(found, self.page, limit), Text()])

    # ---- while runs go on

    @contextmanager
    def _status(self) -> Iterator[Live | None]:
        if not self.page.is_terminal or self.asked.as_json:
            yield None
            return
        console: Console = self.page.console
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield live

    def _running(self) -> Text:
        now = time.monotonic()
        with self.lock:
            runs = list(self.open.values())
        lines = [
            f"{run.name or 'a trace'}: {count(run.spans, 'span')}, {now - run.first:.0f} s"
            for run in runs[-_SHOWN:]
        ]
        more = len(runs) - len(lines)
        if more:
            lines.append(f"and {more} more")
        width, signs = self.page.width, self.page.signs
        return Text("\n".join(fit(clean(line), width, signs).rstrip() for line in lines), "dim")


def _wait(run: _Run) -> float:
    return _QUIET if run.has_root else _ABANDONED
