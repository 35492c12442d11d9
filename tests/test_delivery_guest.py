"""A good guest of the application: asleep when nothing ends, and unharmed by what it is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.trace import SpanContext, TraceFlags

import flowspan
from backends._process import wait_for
from collectors import GrpcCollector, closing
from faults import Collector
from flowspan import _guard
from flowspan.delivery import DurableSpanProcessor, _storage
from logged import said
from processes import in_process

Make = Callable[..., DurableSpanProcessor]


@pytest.fixture
def make(faulty: Collector, tmp_path: Path) -> Iterator[Make]:
    made: list[DurableSpanProcessor] = []
    _guard.reset()

    def make(**settings: Any) -> DurableSpanProcessor:
        processor = DurableSpanProcessor(
            flowspan.Config(),
            endpoint=f"{faulty.url}/v1/traces",
            spool_dir=str(tmp_path / "spool"),
            schedule_delay=0.02,
            **settings,
        )
        made.append(processor)
        return processor

    yield make
    for processor in made:
        processor.close(0.5)
    _guard.reset()


def provider_of(processor: DurableSpanProcessor, **settings: Any) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False, **settings)
    provider.add_span_processor(processor)
    return provider


# ---- idle

SWITCHES = """
import os, time
from opentelemetry.sdk.trace import TracerProvider
from flowspan.delivery import DurableSpanProcessor
processor = DurableSpanProcessor()
provider = TracerProvider()
provider.add_span_processor(processor)
tracer = provider.get_tracer("test")
threads = lambda: sorted(each.name for each in threading.enumerate())
def switches():
    found = {}
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            with open(f"/proc/self/task/{thread.native_id}/status") as file:
                found[thread.name] = [int(line.split()[1]) for line in file if "ctxt" in line]
    return found
before = threads()
waits = tracer.start_span("is open all the while")
for number in range(1000):
    tracer.start_span("span").end()
sent = processor.force_flush()
while not processor._asleep or processor._opened().exporter._until_due() is not None:
    time.sleep(0.01)
time.sleep(0.1)
first = switches()
time.sleep(2)
second = switches()
result = [before, sent, threads(), {name: second[name] == first[name] for name in first}]
print(first, second, file=sys.stderr)
waits.end()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_idle_threads_never_wake_up(faulty: Collector, tmp_path: Path, protocol: str):
    """
    No thread before the first span, then two; and in two seconds without a span, though one is
    open, the kernel switches to neither of them.
    """
    with closing(GrpcCollector()) as collector:
        result = in_process(
            SWITCHES,
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url if protocol == "grpc" else faulty.url,
            FLOWSPAN_SPOOL_DIR=str(tmp_path / "spool"),
        )

    ours = ["flowspan-export", "flowspan-spool"]
    assert result == [["MainThread"], True, ["MainThread", *ours], dict.fromkeys(ours, True)]


# ---- bad input


class Wild:
    """Hostile in every way in which it could be looked at."""

    def _refuse(self, *_: Any) -> Any:
        raise RuntimeError("looked at")

    __repr__ = __str__ = __len__ = __iter__ = __bool__ = __eq__ = __int__ = _refuse  # type: ignore[assignment]
    __hash__ = object.__hash__


class WildText(str):
    __slots__ = ()
    encode = __str__ = __len__ = Wild._refuse  # type: ignore[assignment]


WILD: dict[Any, Any] = {
    "object": Wild(),
    "text": WildText("x"),
    "surrogate": "\ud800",
    "large": 10**40,
    "not a number": float("nan"),
    "bytes": b"\xff\x00",
    "mixed": [1, "a", None, Wild()],
    "nested": {"a": {"b": [Wild()]}},
    "none": None,
    "": "no key",
    "a\ud800": "key",
    5: "five",
    Wild(): "wild",
}


def wild_span(number: int, **fields: Any) -> ReadableSpan:
    """A span that no SDK would make, with *fields* of its own."""
    context = SpanContext(1, number, is_remote=False, trace_flags=TraceFlags(1))
    given = {"name": "wild", "context": context, "start_time": 1, "end_time": 2, "events": ()}
    return ReadableSpan(**(given | fields))


class WildResource(Resource):
    def __init__(self) -> None:
        super().__init__({})
        self._attributes = WILD  # type: ignore[assignment]


WILD_SPANS: dict[str, dict[str, Any]] = {
    "name": {"name": Wild()},
    "attributes": {"attributes": WILD},
    "no attributes": {"attributes": Wild()},
    "events": {"events": [Wild(), Event("e", attributes=WILD, timestamp=1)]},
    "no events": {"events": Wild()},
    "links": {"links": [Wild()]},
    "times": {"start_time": Wild(), "end_time": -1},
    "kind": {"kind": Wild()},
    "status": {"status": Wild()},
    "parent": {"parent": Wild()},
    "resource": {"resource": Wild()},
    "resource's attributes": {"resource": WildResource()},
    "scope": {"instrumentation_scope": Wild()},
}


@pytest.mark.parametrize("durability", ["normal", "strict"])
def test_spans_of_wild_shape_cost_nobody_else(faulty: Collector, make: Make, durability: str):
    """None raises into the application; each arrives, cut to what it has, or is counted."""
    processor = make(durability=durability)
    tracer = provider_of(processor).get_tracer("test")

    for number, fields in enumerate(WILD_SPANS.values(), 1):
        tracer.start_span("before").end()
        processor.on_end(wild_span(number, **fields))
        span = tracer.start_span("by the SDK", attributes={"a": 1})
        for key, value in WILD.items():
            if type(key) is str and type(value) not in (Wild, dict, list, WildText):
                span.set_attribute(key, value)  # what the SDK itself lives through
        span.end()

    flushed = processor.force_flush(10_000)
    lost = processor.stats().dropped.get("not encoded", 0)
    assert flushed is not bool(lost)
    assert len(faulty.ids) == 3 * len(WILD_SPANS) - lost
    assert {"before", "by the SDK"} <= set(faulty.names)
    assert processor.stats().exported + lost == processor.stats().ended


def test_very_large_spans_arrive(faulty: Collector, make: Make):
    """10 MB of attributes; 100,000 events, where somebody allows them; a resource of 1 MB."""
    limits = SpanLimits(max_events=SpanLimits.UNSET)
    processor = make()
    large = Resource({f"key-{number}": "x" * 1000 for number in range(1000)})
    tracer = provider_of(processor, span_limits=limits, resource=large).get_tracer("test")
    tracer.start_span("10 MB", attributes={"input.value": "x" * 10_000_000}).end()
    span = tracer.start_span("100,000 events")
    for number in range(100_000):
        span.add_event("event", {"number": number})
    span.end()
    tracer.start_span("small").end()

    assert processor.force_flush(60_000), processor.stats()
    assert faulty.names == ["10 MB", "100,000 events", "small"]
    assert not processor.stats().dropped
    events = {span.name: len(span.events) + span.dropped_events_count for span in faulty.spans}
    assert events["100,000 events"] == 100_000
    assert max(map(len, faulty.bodies)) < 20_000_000


# ---- a failure of ours


@pytest.mark.parametrize(
    ("durability", "method"),
    [
        *(("normal", method) for method in ("append", "opened", "unsent", "take", "mark")),
        *(("strict", method) for method in ("append", "opened", "closed", "unsent")),
    ],
)
def test_a_store_that_fails_harms_nobody(
    faulty: Collector,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    durability: str,
    method: str,
):
    """Start, end and flush never raise; spans that are lost are counted; it goes on."""
    processor = make(durability=durability)
    tracer = provider_of(processor).get_tracer("test")
    tracer.start_span("before").end()
    assert processor.force_flush(10_000)
    failed = threading.Event()

    def fails(*_: Any, **__: Any) -> Any:
        failed.set()
        raise RuntimeError("unexpected")

    with monkeypatch.context() as patch:
        patch.setattr(_storage.Storage, method, fails)
        waits = tracer.start_span("is open")
        for _ in range(10):
            tracer.start_span("during").end()
        processor.force_flush(50)
        assert failed.wait(10)
    waits.end()
    tracer.start_span("after").end()

    assert processor.force_flush(10_000)
    lost = processor.stats().dropped.get("not written", 0)
    assert lost == (10 if method == "append" else 0)
    assert len(set(faulty.ids)) == 13 - lost
    # by the thread that failed, when it has let the lock go: maybe later than the flush
    wait_for(lambda: said(caplog), timeout=10)
    processor.close(1)
    assert len(said(caplog)) <= 5
