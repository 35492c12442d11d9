"""Every span is in one account: delivered, waiting, parked, or dropped and counted; never nowhere."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import flowspan
from faults import ACCEPT, HANG, Collector, Reply, partly
from flowspan import _guard
from flowspan.delivery import DurableSpanProcessor
from flowspan.delivery._exporter import Exporter
from flowspan.delivery._processor import DeliveryStats
from flowspan.delivery._storage import Storage
from flowspan.delivery._transport import Answer, Verdict

Make = Callable[..., DurableSpanProcessor]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(autouse=True)
def counted_anew() -> Iterator[None]:
    _guard.reset()
    yield
    _guard.reset()


@pytest.fixture
def make(collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """`make(...)`: a processor that sends to *collector* and spools into a directory of its own."""
    made: list[DurableSpanProcessor] = []
    monkeypatch.setattr("flowspan.delivery._exporter._FIRST_BACKOFF", 0.05)

    def make(**settings: Any) -> DurableSpanProcessor:
        given = {
            "endpoint": f"{collector.url}/v1/traces",
            "spool_dir": str(tmp_path / "spool"),
            "schedule_delay": 0.02,
        }
        processor = DurableSpanProcessor(flowspan.Config(), **(given | settings))
        made.append(processor)
        return processor

    yield make
    for processor in made:
        processor.close(0.5)


def tracer_of(processor: DurableSpanProcessor) -> Any:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("test")


def end_spans(processor: DurableSpanProcessor, count: int, name: str = "span") -> None:
    tracer = tracer_of(processor)
    for number in range(count):
        tracer.start_span(f"{name}-{number}", attributes={"input.value": "x" * 100}).end()


def accounted(stats: DeliveryStats) -> int:
    """Spans that are in one of the accounts."""
    gone = stats.exported + stats.rejected + stats.parked + sum(stats.dropped.values())
    return gone + stats.waiting + stats.queued


def test_a_log_handler_that_raises_never_reaches_the_application(
    make: Make, tmp_path: Path, collector: Collector
):
    """It is the application's own, but not at the end of a span of its."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    processor = make(spool_dir=str(tmp_path / "link"), durability="strict")

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no log today")

    broken = Broken()
    logging.getLogger("flowspan").addHandler(broken)
    try:
        end_spans(processor, 1)
        assert processor.force_flush(20_000)
    finally:
        logging.getLogger("flowspan").removeHandler(broken)

    assert collector.names == ["span-0"]
