"""
Ids and times that are the same in every run of a test: counters in place of chance and clock.

By public seams of the SDK: an id generator, and a tracer that passes times on. Thread-safe;
in which order several threads get theirs is up to them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider

from flowspan.context import ROOT_TRACE_ID

BEGIN: Final = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
TICK: Final = 1_000_000  # nanoseconds from one look at the clock to the next


class Clock:
    """Stands still but for a millisecond at each look at it."""

    def __init__(self) -> None:
        self._now = BEGIN
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self._now += TICK
            return self._now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += int(seconds * 1_000_000_000)


class Ids(IdGenerator):
    """1, 2, 3, …; but the trace id of a run is the hash of its run id, as it is anywhere."""

    def __init__(self) -> None:
        self._spans = itertools.count(1)
        self._traces = itertools.count(1)
        self._runs = itertools.count(1)

    def generate_span_id(self) -> int:
        return next(self._spans)

    def generate_trace_id(self) -> int:
        return ROOT_TRACE_ID.get() or next(self._traces)

    def generate_run_id(self) -> str:
        """For a run that was given none."""
        return f"run-{next(self._runs)}"


class TimedProvider(TracerProvider):
    """*inner*, with all times by *clock* that nobody gives."""

    def __init__(self, inner: Any, clock: Clock) -> None:
        self.inner = inner
        self._clock = clock

    def get_tracer(self, *args: Any, **kwargs: Any) -> Tracer:
        return _TimedTracer(self.inner.get_tracer(*args, **kwargs), self._clock)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self.inner.force_flush(timeout_millis))


class _TimedTracer(Tracer):
    def __init__(self, inner: Tracer, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        span: Any = self._inner.start_span(
            name,
            context,
            kind,
            attributes,
            links,
            self._clock() if start_time is None else start_time,
            record_exception,
            set_status_on_exception,
        )
        if span.is_recording():
            span.end = partial(self._end, span.end)
            span.add_event = partial(self._add_event, span.add_event)
        return span  # type: ignore[no-any-return]

    def _end(self, end: Any, end_time: int | None = None) -> None:
        end(self._clock() if end_time is None else end_time)

    def _add_event(
        self, add_event: Any, name: str, attributes: Any = None, timestamp: int | None = None
    ) -> None:
        add_event(name, attributes, self._clock() if timestamp is None else timestamp)

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self, name: str, *given: Any, end_on_exit: bool = True, **options: Any
    ) -> Iterator[Span]:
        span = self.start_span(name, *given, **options)
        record, status = (
            options.get(option, True) for option in ("record_exception", "set_status_on_exception")
        )
        with trace.use_span(span, end_on_exit, record, status):
            yield span
