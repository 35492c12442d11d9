"""Every span is in one account: delivered, waiting, parked, or dropped and counted; never nowhere."""

from __future__ import annotations

import logging
import os
import threading
import time
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


def test_what_is_tried_in_between_is_being_sent(collector: Collector, make: Make):
    """Requests that show whether a collector takes any span are in flight like all others."""
    processor = make(schedule_delay=3600, max_export_batch_size=40)
    seen: list[tuple[int, int]] = []

    def refuse(request: Any, body: bytes) -> Reply:
        spans = sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
        seen.append((spans, processor.stats().inflight))
        return Reply(400)

    collector.behave(refuse)
    collector.refuse()
    end_spans(processor, 140)
    collector.listen()

    assert not processor.force_flush(1000)
    assert max(spans for spans, _ in seen) == 100, "the younger ones were tried"
    assert all(spans <= inflight for spans, inflight in seen)


class Scripted:
    """A transport that answers what it is told to."""

    def __init__(self, answer: Callable[[bytes], Answer]) -> None:
        self.answer = answer
        self.sent = threading.Semaphore(0)

    def send(self, body: bytes, timeout: float) -> Answer:
        answer = self.answer(body)
        self.sent.release()
        return answer

    def close(self) -> None:
        return None

    after_fork = close


@pytest.fixture
def exporters() -> Iterator[Callable[..., Exporter]]:
    made: list[Exporter] = []

    def make(storage: Storage, transport: Any, **settings: Any) -> Exporter:
        made.append(Exporter(storage, transport, name="collector", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close(time.monotonic() + 60)


def test_whoever_waits_for_a_flush_does_not_keep_the_sender_asleep(
    exporters: Callable[..., Exporter], monkeypatch: pytest.MonkeyPatch
):
    """All of them wait on one condition, and the sender has to hear of what is new."""
    storage = Storage(None, on_dropped=lambda spans, reason: None)
    transport = Scripted(lambda body: Answer(Verdict.ACCEPTED))
    exporter = exporters(storage, transport, delay=0.0)
    monkeypatch.setattr(exporter, "_adopt", lambda: time.sleep(0.1))  # so that the others are first
    is_over = threading.Event()
    waiting = [
        threading.Thread(target=exporter.wait, args=(is_over.is_set, 60.0)) for _ in range(20)
    ]
    for thread in waiting:
        thread.start()

    try:
        for number in range(3):
            storage.append(b"%d" % number, 1)
            exporter.appended()
            assert transport.sent.acquire(timeout=10), "the sender sleeps"
            assert exporter.wait(lambda: not storage.unsent()[0], 10.0)
            time.sleep(0.3)  # until the sender waits behind all others
    finally:
        is_over.set()
        with exporter._condition:
            exporter._condition.notify_all()
        for thread in waiting:
            thread.join()
