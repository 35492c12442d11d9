"""Every span is in one account: delivered, waiting, parked, or given up and counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from faults import ACCEPT, Collector, Reply, partly
from flowspan import _guard
from flowspan.delivery import DurableSpanProcessor
from flowspan.delivery._exporter import Exporter
from flowspan.delivery._processor import DeliveryStats
from flowspan.delivery._spool import Spool
from flowspan.delivery._storage import Storage
from flowspan.delivery._transport import Answer, Verdict

Make = Callable[..., DurableSpanProcessor]

pytestmark = pytest.mark.usefixtures("counted_anew")


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


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


def test_a_flush_leaves_a_collector_alone_that_says_when_to_come(collector: Collector, make: Make):
    """Nor does it wait for what cannot be in its time; at exit the spool keeps the spans."""
    processor = make()
    collector.behave(Reply(429, {"Retry-After": "3600"}))
    end_spans(processor, 3)
    collector.wait_for_requests(1)

    while not processor.stats().failing:
        time.sleep(0.01)
    assert [processor.force_flush(60_000) for _ in range(3)] == [False] * 3
    assert processor.close(60.0) is False

    assert len(collector.bodies) == 1
    assert processor.stats().waiting == 3


def test_at_exit_from_memory_it_asks_all_the_same(collector: Collector, make: Make):
    """What waits there would be lost."""
    processor = make(spool_dir="none")
    collector.then.append(Reply(429, {"Retry-After": "3600"}))
    end_spans(processor, 3)
    collector.wait_for_requests(1)
    while not processor.stats().failing:
        time.sleep(0.01)

    assert processor.close(60.0) is True

    assert len(collector.names) == 3


def test_who_computes_does_not_keep_spans_from_the_disk(
    make: Make, monkeypatch: pytest.MonkeyPatch
):
    """The GIL is given up while that is cheap; what is not written yet is lost at a kill."""
    processor = make()
    sleep, given_up = time.sleep, []

    def contested(seconds: float) -> None:
        if seconds == 0:
            given_up.append(seconds)
            sleep(0.02)
        else:
            sleep(seconds)

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    spans = [tracer.start_span(f"span-{number}") for number in range(400)]
    for span in spans:
        span.end()
    monkeypatch.setattr("flowspan.delivery._processor.time.sleep", contested)
    with processor._lock:
        processor._queue.extend(spans)
        processor._drain()

    assert len(given_up) == 1
    assert processor.force_flush(20_000)


# ---- the figures


def test_the_figures_are_of_one_moment(collector: Collector, make: Make):
    """Whoever looks in between finds each span once: queued, waiting, delivered or given up."""
    processor = make(max_queue_size=100, max_export_batch_size=100)

    def answer(request: Any, body: bytes) -> Reply:
        if b"poison" in body:
            return Reply(400)
        return Reply(413) if len(body) > 10_000 else ACCEPT

    collector.behave(answer)
    differences: list[DeliveryStats] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.001):
            stats = processor.stats()
            if stats.ended != accounted(stats):
                differences.append(stats)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for number in range(15):
            end_spans(processor, 1, f"poison{number}")
            end_spans(processor, 200, f"good{number}")
        assert processor.force_flush(60_000)
    finally:
        is_over.set()
        looking.join()

    stats = processor.stats()
    assert (stats.ended, stats.exported, stats.parked) == (3015, 3000, 15)
    assert not differences, differences[:3]


def test_more_rejected_than_sent(collector: Collector, make: Make):
    """A collector that cannot count does not make figures that are below zero."""
    collector.behave(partly(1000, "all of them"))
    processor = make()

    end_spans(processor, 10)

    assert processor.force_flush(20_000)
    stats = processor.stats()
    assert (stats.ended, stats.exported, stats.rejected) == (10, 0, 10)


def test_a_span_that_ends_while_it_closes_is_counted(collector: Collector, make: Make):
    """It saw the processor open, and comes when nothing can be written any more."""
    processor = make()
    end_spans(processor, 1)
    queue = processor._queue

    class Late(type(queue)):  # type: ignore[misc]
        def append(self, span: Any) -> None:
            processor.close()
            super().append(span)

    processor._queue = Late(queue)
    end_spans(processor, 1, "late")

    stats = processor.stats()
    assert (stats.ended, stats.exported, stats.queued) == (2, 1, 0)
    assert stats.dropped == {"after shutdown": 1}
    assert collector.names == ["span-0"]


def test_what_is_lost_at_exit_does_not_wait(collector: Collector, make: Make):
    """Without a disk: lost or waiting, never both."""
    processor = make(spool_dir="none")
    collector.refuse()
    end_spans(processor, 30)

    assert not processor.close(0.3)

    stats = processor.stats()
    assert (stats.ended, stats.waiting, stats.waiting_bytes) == (30, 0, 0)
    assert stats.dropped == {"at exit, from memory": 30}


def test_what_is_being_sent_from_memory_at_the_end_goes_to_a_disk_that_has_room_again(
    tmp_path: Path,
):
    """The answer may come too late: rather twice than not at all."""
    (tmp_path / "real").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "real")
    storage = Storage(tmp_path / "spool", on_dropped=lambda spans, reason: None)
    storage.append(b"waits", 2)
    storage.append(b"waits, too", 3)
    taken = storage.take(1, 1)
    assert taken is not None
    assert storage.is_memory
    (tmp_path / "spool").unlink()

    assert storage.close() == 0
    storage.put_back(taken)

    assert storage.unsent()[0] == 5
    following = Storage(tmp_path / "spool", on_dropped=lambda spans, reason: None)
    assert following.unsent()[0] == 5
    following.close()


@pytest.mark.parametrize("error", [MemoryError(), ValueError("a bug")], ids=repr)
def test_what_fails_on_the_way_back_to_the_disk_waits_in_memory(
    collector: Collector, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any
):
    """Whatever it is; the span written before stays written, and each is in one account."""
    (tmp_path / "link").symlink_to(tmp_path)
    collector.refuse()
    processor = make(spool_dir=str(tmp_path / "link"), durability="strict")
    end_spans(processor, 3, "in memory")
    (tmp_path / "link").unlink()
    assert processor._way is not None
    storage = processor._way.storage
    append, calls = Spool.append, []

    def fails_once(spool: Spool, body: bytes, spans: int) -> None:
        calls.append(body)
        if len(calls) == 2:
            raise error
        append(spool, body, spans)

    monkeypatch.setattr(Spool, "append", fails_once)
    storage._retry_at = 0.0
    end_spans(processor, 1, "on disk")
    stats = processor.stats()
    assert (stats.ended, stats.waiting, stats.dropped, storage.in_memory()) == (4, 4, {}, 3)
    assert stats.spool == "memory"

    storage._retry_at = 0.0
    end_spans(processor, 1, "on disk, too")
    assert (processor.stats().waiting, storage.in_memory()) == (5, 0)
    collector.listen()
    processor.close(5)
    assert len({span.name for span in collector.spans}) == 5


def test_a_metric_that_raises_resends_nothing(collector: Collector, make: Make):
    """The request was accepted, whatever the application's meter makes of its duration."""
    processor = make()

    def record(seconds: float, error_type: str) -> None:
        raise RuntimeError("no metrics today")

    processor.on_request(record)
    end_spans(processor, 5)

    assert processor.force_flush(20_000)
    assert len(collector.bodies) == 1
    assert _guard.counts() == {"could not record how long a request took": 1}


def test_flush_says_false_once_after_what_the_collector_never_took(
    collector: Collector, make: Make
):
    """Without a disk there is no place to set a span aside."""
    processor = make(spool_dir="none", schedule_delay=3600)
    collector.behave(lambda request, body: Reply(400) if b"poison" in body else ACCEPT)
    end_spans(processor, 1, "poison")
    end_spans(processor, 3)

    assert processor.force_flush(20_000) is False
    assert processor.stats().dropped == {"refused by the collector": 1}
    assert processor.force_flush(20_000) is True
