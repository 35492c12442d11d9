"""
A pipeline that records in memory, in force for the length of a block; then all is as before.

Whatever the application configures meanwhile gets this pipeline, with the application's own
settings for what is recorded. Nothing is exported and no variable is read.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from flowspan import _guard, _spans, pipeline
from flowspan._spans import Spans, end_all_open, end_orphans
from flowspan.config import Config, ConfigError, OtlpConfig, SpoolConfig
from flowspan.context import enter, here
from flowspan.pipeline import Pipeline, make_provider
from flowspan.testing._fixed import Clock, Ids, TimedProvider
from flowspan.testing._recorded import RecordedSpan, RecordedSpans, ids_of

logger = logging.getLogger("flowspan")


class LeakError(AssertionError):
    """A run, a component or another span was still open at the end, or still the current one."""


class _Recorder(SpanProcessor):
    """Keeps what has ended, and knows what is open."""

    def __init__(self) -> None:
        self.open: dict[tuple[int, int], Span] = {}
        self.spans: RecordedSpans

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self.open[ids_of(span)] = span

    def on_end(self, span: ReadableSpan) -> None:
        self.open.pop(ids_of(span), None)
        self.spans._add(span)

    def still_open(self) -> list[str]:
        """Each as `run 'Support bot' (run-1)`, by start."""
        return [_title(span) for span in list(self.open.values())]


def _title(span: ReadableSpan) -> str:
    recorded = RecordedSpan(span)
    run_id = f" ({recorded.run_id})" if recorded.kind == "run" else ""
    return f"{recorded.kind} {recorded.name!r}{run_id}"


class _StandIn:
    """What `flowspan.configure` is meanwhile: a `Pipeline` to our provider each time."""

    def __init__(self, before: Pipeline | None) -> None:
        self.clock, self.ids, self.recorder = Clock(), Ids(), _Recorder()
        config = Config(sampler="always_on", exporters=())
        with _no_variables():  # OTEL_SDK_DISABLED is often set where tests run
            inner = make_provider(config, [self.recorder], self.ids)
        self.provider = TimedProvider(inner, self.clock)
        self._before = before
        self._lock = threading.RLock()
        self._given: Config | None = None
        self._made: list[Spans] = []
        self._open(config)

    def _open(self, config: Config) -> Pipeline:
        opened = self._pipeline = Pipeline(config, self.provider)
        self._made.append(opened.spans)
        if self._before is not None:
            # who holds that one, as a service at import may, records here as well
            self._before.spans = opened.spans
        pipeline._pipeline = opened
        return opened

    def configure(self, config: Config | None) -> Pipeline:
        with self._lock:
            if not self._pipeline._closed:
                if config is None or config == self._given:
                    return self._pipeline
                if self._given is not None:
                    raise ConfigError(
                        "configure() was called before with other arguments: "
                        "expected the same, or shutdown() of that pipeline first"
                    )
            self._given = config
            return self._open(_recording_all(config or Config()))

    def end_open(self) -> list[str]:
        found = self.recorder.still_open()
        for spans in self._made:
            end_all_open(spans)
        for span in list(self.recorder.open.values()):  # not of flowspan
            span.end()
        return found

    def close(self) -> None:
        self.end_open()
        self._pipeline._closed = True
        self.provider.inner.shutdown()


@contextmanager
def _no_variables() -> Iterator[None]:
    """The SDK reads some by itself."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _recording_all(config: Config) -> Config:
    """*config* in what it says of the spans; where they go and how many is the test's."""
    return replace(
        config,
        disabled=False,
        sampler="always_on",
        sampler_arg=None,
        exporters=(),
        exporter_configured=False,
        otlp=OtlpConfig(),
        spool=SpoolConfig(directory="none"),
        config_file=None,
        log_level=None,
        export="auto",
        set_global=False,
        traceparent=None,
        tracestate=None,
        problems=(),
    )


@contextmanager
def recording() -> Iterator[RecordedSpans]:
    """
    ``with flowspan.testing.recording() as spans:`` — the fixture `flowspan_spans` without pytest.

    One at a time in a process. At the end LeakError if anything is still open, naming it; not if
    the block itself raises. Everything is then as it was before.
    """
    if pipeline._stand_in is not None:
        raise RuntimeError("flowspan.testing.recording(): one is open already in this process")
    end_orphans()
    place = here()
    before, recent = pipeline._pipeline, _spans._recent.copy()
    spans_before = before.spans if before is not None else None
    new_run_id, clock = _spans._new_run_id, _spans._clock

    stand_in = _StandIn(before)
    spans = RecordedSpans(stand_in.provider, stand_in.clock.advance, stand_in.end_open)
    stand_in.recorder.spans = spans

    def report(kind: str, error: BaseException | None, advice: str) -> None:
        if kind not in spans.reports:
            logger.warning("%s: %s", kind, advice, exc_info=error)
        spans.reports.append(kind)

    handler = _guard.set_handler(report)
    _spans._recent.clear()
    _spans._new_run_id, _spans._clock = stand_in.ids.generate_run_id, stand_in.clock
    pipeline._stand_in = stand_in.configure
    enter((None, None, trace.set_span_in_context(trace.INVALID_SPAN, place[2])))
    try:
        yield spans
        leaks = [f"{title} is still open: end it" for title in stand_in.recorder.still_open()]
        current: Any = trace.get_current_span()
        if isinstance(current, ReadableSpan):
            leaks.append(f"{_title(current)} is still the current span: detach it")
        if leaks:
            raise LeakError("\n".join(leaks))
    finally:
        stand_in.close()
        pipeline._stand_in, pipeline._pipeline = None, before
        if before is not None and spans_before is not None:
            before.spans = spans_before
        _spans._new_run_id, _spans._clock = new_run_id, clock
        _spans._recent.clear()
        _spans._recent.update(recent)
        _guard.set_handler(handler)
        enter(place)
