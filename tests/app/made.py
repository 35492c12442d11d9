"""How the programs here end spans: each says the ids of what it has ended, one a line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, Tracer

import flowspan
from flowspan import pipeline
from flowspan.delivery import DurableSpanProcessor


def say(*lines: str) -> None:
    """At one stroke, so that processes can share a pipe."""
    os.write(1, "".join(f"{line}\n" for line in lines).encode())


class Made:
    """
    *kind*: `flowspan`, its own pipeline; `bare`, the SDK's provider and our processor; or `both`.
    """

    def __init__(self, kind: str) -> None:
        self._processor: DurableSpanProcessor | None = None
        self._makers: list[Callable[[str], Span]] = []
        if kind in ("flowspan", "both"):
            flowspan.configure()
            self._makers.append(_run)
        if kind in ("bare", "both"):
            self._processor = DurableSpanProcessor()
            provider = TracerProvider()
            provider.add_span_processor(self._processor)
            self._makers.append(partial(_span, provider.get_tracer("test")))

    def end(self, count: int = 1) -> list[str]:
        ids = []
        for number in range(count):
            for make in self._makers:
                span = make(f"{os.getpid()}-{number}")
                ids.append(format(span.get_span_context().span_id, "016x"))
        say(*ids)
        return ids

    @property
    def processors(self) -> list[DurableSpanProcessor]:
        mine = [self._processor] if self._processor else []
        return [*mine, *pipeline.current_pipeline()._way_out._durable]

    def wait_until_safe(self) -> None:
        """Until what this process has ended is promised: it lies in the spool, or has left it."""
        for processor in self.processors:
            while not _is_written(processor):
                time.sleep(0.002)


def _is_written(processor: DurableSpanProcessor) -> bool:
    with processor._lock:  # whoever takes spans from the queue has it until they are written
        return not processor._queue


def _span(tracer: Tracer, name: str) -> Span:
    span = tracer.start_span(name)
    span.end()
    return span


def _run(name: str) -> Span:
    with flowspan.run(name):
        return trace.get_current_span()
