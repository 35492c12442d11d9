"""How the programs here end spans: each says the ids of what it has ended, one a line."""

from __future__ import annotations

import os
import time

from opentelemetry.sdk.trace import TracerProvider

import flowspan
from flowspan import pipeline
from flowspan.delivery import DeliveryStats, DurableSpanProcessor


def say(*lines: str) -> None:
    """At one stroke, so that processes can share a pipe."""
    os.write(1, "".join(f"{line}\n" for line in lines).encode())


class Made:
    """*kind*: `flowspan`, its own pipeline; or `bare`, the SDK's provider and our processor."""

    def __init__(self, kind: str) -> None:
        self._counted = os.getpid(), 0
        self._provider = None
        if kind == "flowspan":
            flowspan.configure()
        else:
            self._processor = DurableSpanProcessor()
            self._provider = TracerProvider()
            self._provider.add_span_processor(self._processor)

    def end(self, count: int = 1) -> None:
        ids = [self._one(number) for number in range(count)]
        pid, before = self._counted
        self._counted = os.getpid(), len(ids) + (before if pid == os.getpid() else 0)
        say(*ids)

    def _one(self, number: int) -> str:
        name = f"{os.getpid()}-{number}"
        if self._provider is not None:
            span = self._provider.get_tracer("test").start_span(name)
            span.end()
        else:
            with flowspan.run(name):
                from opentelemetry import trace

                span = trace.get_current_span()
        return format(span.get_span_context().span_id, "016x")

    def stats(self) -> DeliveryStats:
        if self._provider is not None:
            return self._processor.stats()
        (stats,) = pipeline.current_pipeline().stats().delivery
        return stats

    def wait_until_safe(self) -> None:
        """Until what this process has ended is promised: it lies in the spool or has arrived."""
        while (stats := self.stats()).waiting + stats.exported < self._counted[1]:
            time.sleep(0.002)
