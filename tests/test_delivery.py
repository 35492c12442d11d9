"""Nothing lost and nothing slowed: the processor against collectors that have bad days."""

from __future__ import annotations

import email.utils
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

import flowspan
from backends._process import wait_for
from faults import (
    CUT,
    GARBAGE,
    HANG,
    LOST_ACKNOWLEDGEMENT,
    Collector,
    Reply,
    partly,
)
from flowspan.delivery import DurableSpanProcessor
from logged import said

Make = Callable[..., DurableSpanProcessor]

pytestmark = pytest.mark.usefixtures("counted_anew")


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def provider_of(processor: DurableSpanProcessor) -> TracerProvider:
    provider = TracerProvider(resource=Resource({"service.name": "test"}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


def end_spans(processor: DurableSpanProcessor, count: int, name: str = "span") -> list[str]:
    """*count* spans with a payload; their names."""
    tracer = provider_of(processor).get_tracer("test")
    names = [f"{name}-{number}" for number in range(count)]
    for each in names:
        tracer.start_span(each, attributes={"input.value": '{"question": "where"}' * 10}).end()
    return sorted(names)


# ---- the ordinary day


def test_spans_arrive(collector: Collector, make: Make):
    """Each once, with the resource, and the figures say so."""
    processor = make()

    names = end_spans(processor, 1000)

    assert processor.force_flush()
    assert collector.names == names
    stats = processor.stats()
    assert (stats.ended, stats.exported, stats.waiting, stats.waiting_bytes) == (1000, 1000, 0, 0)
    assert not stats.dropped
    assert collector.connections == 1, "the connection is kept alive"


def test_a_request_is_sent_after_the_delay(collector: Collector, make: Make):
    """Nobody has to flush."""
    end_spans(make(), 3)

    collector.wait_for(3)


def test_a_full_batch_does_not_wait_for_the_delay(collector: Collector, make: Make):
    """As in the SDK: a batch is sent when it is full."""
    processor = make(schedule_delay=3600, max_export_batch_size=100)

    end_spans(processor, 250)

    collector.wait_for(100)


def test_unsampled_spans_cost_nothing(collector: Collector, make: Make):
    """They are not counted, not kept and not sent."""
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    processor = make()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("test").start_span("unsampled").end()

    assert processor.force_flush()
    assert processor.stats().ended == 0
    assert not collector.bodies


def test_nothing_is_opened_before_the_first_span(make: Make, tmp_path: Path):
    """No thread, no file, no socket."""
    threads = threading.active_count()

    make(endpoint="http://127.0.0.1:9/v1/traces")

    assert threading.active_count() == threads
    assert not (tmp_path / "spool").exists()


def test_many_threads_at_once(collector: Collector, make: Make):
    """A burst from four threads: more than the queue holds, and nothing is lost."""
    processor = make(max_queue_size=256)
    threads = [
        threading.Thread(target=end_spans, args=(processor, 5000, f"thread{number}"))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert processor.force_flush(60_000)
    assert len(collector.ids) == len(set(collector.ids)) == 20_000
    assert processor.stats().exported == 20_000


# ---- bad days: what comes back


ANSWERS = {
    "cut": CUT,
    "garbage": GARBAGE,
    "400": Reply(400),
    "401": Reply(401),
    "403": Reply(403),
    "404": Reply(404),
    "413": Reply(413),
    "429": Reply(429),
    "500": Reply(500),
    "502": Reply(502),
    "503": Reply(503),
    "503 with Retry-After": Reply(503, {"Retry-After": "0"}),
    "a page": Reply(200, {"Content-Type": "text/html"}, b"<html>log in</html>"),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_nothing_is_lost_while_the_collector_answers(
    collector: Collector, make: Make, answer: Reply, caplog: pytest.LogCaptureFixture
):
    """Every answer that is not an acceptance; then it comes back, and each span arrives once."""
    processor = make()
    collector.behave(answer)
    before = end_spans(processor, 40, "before")
    collector.wait_for_requests(2)
    assert not processor.force_flush(100)
    later = end_spans(processor, 40, "later")

    collector.behave(Reply(kept=True))

    assert processor.force_flush(20_000)
    assert collector.names == sorted(before + later)
    stats = processor.stats()
    assert (stats.exported, stats.waiting, stats.parked) == (80, 0, 0)
    assert not stats.dropped
    assert len(said(caplog)) <= 5


def test_nothing_is_lost_while_the_collector_refuses(
    collector: Collector, make: Make, caplog: pytest.LogCaptureFixture
):
    """The port is closed, and opens again."""
    processor = make()
    names = end_spans(processor, 10)
    assert processor.force_flush()
    collector.refuse()
    names += end_spans(processor, 500, "during")
    assert not processor.force_flush(200)
    assert processor.stats().failing
    assert processor.stats().last_error

    collector.listen()

    assert processor.force_flush(20_000)
    assert collector.names == sorted(names)
    lines = said(caplog)
    assert len(lines) == 2, lines
    assert "spans wait in" in lines[0]
    assert "takes spans again" in lines[1]


def test_nothing_is_lost_while_the_collector_hangs(collector: Collector, make: Make):
    """It takes the connection and the request, and is silent; a request has its timeout."""
    processor = make(timeout=0.3)
    collector.behave(HANG)
    names = end_spans(processor, 10)
    assert not processor.force_flush(500)
    collector.behave(Reply(kept=True))

    assert processor.force_flush(20_000)
    assert collector.names == names


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(collector: Collector, make: Make, form: str):
    """Not sooner than the collector says."""
    in_two = email.utils.formatdate(time.time() + 2, usegmt=True)
    wait = Reply(503, {"Retry-After": "1" if form == "seconds" else in_two})
    collector.then.append(wait)

    end_spans(make(), 1)

    collector.wait_for_requests(2)
    waited = collector.times[1] - collector.times[0]
    assert waited >= (1 if form == "seconds" else 0.9)


def test_backoff_grows(collector: Collector, make: Make):
    """Few requests in an outage: each waits about twice as long as the one before."""
    collector.behave(Reply(503))

    end_spans(make(), 1)

    collector.wait_for_requests(6)
    waits = [b - a for a, b in zip(collector.times, collector.times[1:], strict=False)]
    assert waits[4] > waits[0]


def test_partial_success_is_counted_and_said(
    collector: Collector, make: Make, caplog: pytest.LogCaptureFixture
):
    """What the collector rejects is lost, and not silently."""
    processor = make(schedule_delay=3600)
    collector.behave(partly(3, "too old"))

    end_spans(processor, 10)

    assert processor.force_flush()
    stats = processor.stats()
    assert (stats.exported, stats.rejected, stats.waiting) == (7, 3, 0)
    assert "too old" in caplog.text


def test_a_lost_acknowledgement_resends_the_same_bytes(collector: Collector, make: Make):
    """So that Jaeger sees the second for what it is."""
    processor = make(schedule_delay=3600)
    collector.then.append(LOST_ACKNOWLEDGEMENT)

    end_spans(processor, 20)

    assert processor.force_flush(20_000)
    first, second = collector.bodies
    assert first == second


def test_the_span_that_poisons_a_request_is_parked(
    collector: Collector, make: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    """400: it is isolated and set aside, and the others arrive."""
    processor = make(schedule_delay=3600)
    collector.behave(
        lambda request, body: (
            Reply(400, body=b"bad span") if b"poison" in body else Reply(kept=True)
        )
    )
    names = (
        end_spans(processor, 100)
        + end_spans(processor, 1, "poison")
        + end_spans(processor, 100, "after")
    )

    assert processor.force_flush(20_000)
    assert collector.names == sorted(name for name in names if "poison" not in name)
    stats = processor.stats()
    assert (stats.exported, stats.parked, stats.waiting) == (200, 1, 0)
    wait_for(lambda: "set aside" in caplog.text, timeout=10)  # said after the flush
    assert any(b"poison-0" in path.read_bytes() for path in (tmp_path / "spool").rglob("*.*"))


def test_more_poison_than_patience(collector: Collector, make: Make):
    """Requests full of it at the head of the queue hold up nobody."""
    processor = make(schedule_delay=3600, max_export_batch_size=50)
    collector.behave(
        lambda request, body: (
            Reply(400, body=b"bad span") if b"poison" in body else Reply(kept=True)
        )
    )
    collector.refuse()
    end_spans(processor, 90, "poison")  # whole requests of it
    names = end_spans(processor, 20, "good")
    collector.listen()

    assert processor.force_flush(30_000)
    assert collector.names == names
    stats = processor.stats()
    assert (stats.parked, stats.waiting) == (90, 0)


def test_flush_says_false_if_a_part_of_a_request_still_waits(collector: Collector, make: Make):
    """What is left of a divided request is not delivered yet."""
    processor = make(schedule_delay=3600)
    collector.then.extend([Reply(413), Reply(kept=True)])
    collector.behave(Reply(503))
    end_spans(processor, 10)

    assert processor.force_flush(500) is False
    assert processor.stats().waiting == 5


def test_flush_says_false_if_spans_were_lost(collector: Collector, make: Make):
    """Nobody is told that what memory could not hold has arrived."""
    processor = make(spool_dir="none")
    collector.refuse()
    tracer = provider_of(processor).get_tracer("test")
    for number in range(400):
        tracer.start_span(f"s{number}", attributes={"input.value": "x" * 100_000}).end()
    collector.listen()

    assert processor.force_flush(20_000) is False
    assert processor.stats().waiting == 0
    assert processor.force_flush(20_000) is True


def test_a_collector_that_comes_and_goes_is_said_once_in_a_while(
    collector: Collector, make: Make, caplog: pytest.LogCaptureFixture
):
    """Every second request is refused: two lines, not two for each."""
    processor = make(schedule_delay=0.01, max_export_batch_size=5)
    for _ in range(20):
        collector.then.extend([Reply(429, {"Retry-After": "0"}), Reply(kept=True)])

    end_spans(processor, 100)

    assert processor.force_flush(20_000)
    assert len(said(caplog)) <= 3


def test_a_log_handler_may_make_spans(
    collector: Collector, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nothing is logged under a lock: a log shipper over an instrumented client goes on."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    processor = make(spool_dir=str(tmp_path / "link"), durability="strict")
    tracer = provider_of(processor).get_tracer("test")
    lines: list[str] = []

    class Shipper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())
            thread = threading.Thread(target=lambda: tracer.start_span("shipped").end())
            thread.start()
            thread.join(10)
            assert not thread.is_alive()

    shipper = Shipper()
    logging.getLogger("flowspan").addHandler(shipper)
    try:
        tracer.start_span("work").end()
        assert processor.force_flush(20_000)
    finally:
        logging.getLogger("flowspan").removeHandler(shipper)

    assert "spans wait in memory" in lines[0]
    assert collector.names == ["shipped", "work"]


def test_spans_that_come_while_nothing_is_found_are_sent(
    collector: Collector, make: Make, monkeypatch: pytest.MonkeyPatch
):
    """A sender that has just found nothing does not forget what was appended meanwhile."""
    processor = make()
    assert processor.force_flush()
    end_spans(processor, 1)
    collector.wait_for(1)
    storage = processor._opened().storage
    take = storage.take

    def late(max_bytes: int, max_spans: int) -> Any:
        taken = take(max_bytes, max_spans)
        if taken is None:
            monkeypatch.undo()
            end_spans(processor, 1, "meanwhile")
            processor._drain()
        return taken

    monkeypatch.setattr(storage, "take", late)
    processor.force_flush()

    collector.wait_for(2)


def test_a_request_that_is_too_large_is_split(collector: Collector, make: Make):
    """413: in halves, until they fit; and what was learned counts from then on."""
    processor = make(schedule_delay=3600)
    collector.behave(lambda request, body: Reply(413) if len(body) > 20_000 else Reply(kept=True))

    names = end_spans(processor, 400)

    assert processor.force_flush(20_000)
    assert collector.names == names
    too_large = sum(len(body) > 20_000 for body in collector.bodies)
    end_spans(processor, 400, "later")
    assert processor.force_flush(20_000)
    assert sum(len(body) > 20_000 for body in collector.bodies) <= too_large + 1


def test_a_limit_that_is_gone_is_forgotten(collector: Collector, make: Make):
    """What a proxy refused for a while does not make requests small for ever."""
    processor = make(schedule_delay=3600)
    collector.behave(lambda request, body: Reply(413) if len(body) > 20_000 else Reply(kept=True))
    end_spans(processor, 400)
    assert processor.force_flush(20_000)
    collector.behave(Reply(kept=True))

    for number in range(10):
        end_spans(processor, 1000, f"later{number}")
        assert processor.force_flush(20_000)

    sizes = [len(body) for body in collector.bodies]
    assert max(sizes[-20:]) > 40_000


def test_a_single_span_that_is_too_large_is_cut(collector: Collector, make: Make):
    """Its payload is cut further and marked; the span arrives."""
    processor = make()
    collector.behave(lambda request, body: Reply(413) if len(body) > 20_000 else Reply(kept=True))
    tracer = provider_of(processor).get_tracer("test")
    tracer.start_span("large", attributes={"input.value": '["' + "x" * 100_000 + '"]'}).end()
    tracer.start_span("small").end()

    assert processor.force_flush(20_000)
    assert collector.names == ["large", "small"]
    (large,) = (span for span in collector.spans if span.name == "large")
    assert "flowspan.truncated" in {attribute.key for attribute in large.attributes}


def test_requests_are_bounded_in_bytes(collector: Collector, make: Make):
    """10 kB spans: 512 of them would be more than a gRPC receiver takes."""
    processor = make(schedule_delay=3600)
    tracer = provider_of(processor).get_tracer("test")
    for number in range(1000):
        tracer.start_span(f"s{number}", attributes={"input.value": "x" * 10_000}).end()

    assert processor.force_flush(30_000)
    assert len(set(collector.ids)) == 1000
    assert max(map(len, collector.bodies)) < 3_670_016


def test_a_slow_collector_gets_several_requests_at_once(collector: Collector, make: Make):
    """One at a time would take longer than spans come."""
    processor = make(max_export_batch_size=50, schedule_delay=0.05, timeout=60)
    collector.then.append(Reply(kept=True, after=0.3))  # it is slow
    collector.behave(HANG)

    names = end_spans(processor, 1500)

    collector.wait_for_requests(1 + 8)  # none of the eight has its answer
    collector.refuse()
    collector.behave(Reply(kept=True))
    collector.listen()
    assert processor.force_flush(30_000)
    assert collector.names == names


def test_the_queue_is_bounded_in_bytes(collector: Collector, make: Make):
    """Large spans are encoded sooner, by whoever ends them."""
    processor = make(spool_max_bytes=1 << 30)
    tracer = provider_of(processor).get_tracer("test")
    longest = 0
    for number in range(300):
        tracer.start_span(f"s{number}", attributes={"input.value": "x" * 200_000}).end()
        longest = max(longest, len(processor._queue))

    assert longest <= 64
    assert processor._limit < 64
    assert processor.force_flush(30_000)
    assert len(set(collector.ids)) == 300


# ---- time that is given


def test_flush_says_false_and_keeps_its_time(collector: Collector, make: Make):
    """With a collector that hangs: it does not wait for the end of the request."""
    processor = make(timeout=60)
    collector.behave(HANG)
    end_spans(processor, 5)

    assert processor.force_flush(400) is False
    assert len(collector.bodies) == 1
    assert processor.stats().inflight == 5


def test_close_leaves_the_rest_for_the_next_process(
    collector: Collector, make: Make, tmp_path: Path
):
    """Down at exit: nothing is lost, and the next one delivers it."""
    processor = make()
    collector.refuse()
    names = end_spans(processor, 300)
    assert processor.close(2.0) is False
    assert processor.stats().waiting == 300
    collector.listen()

    names += end_spans(make(), 1, "next")

    assert collector.wait_for(301) == sorted(names)


def test_spans_that_end_after_the_shutdown_are_counted(make: Make):
    """They have nowhere to go."""
    processor = make()
    tracer = provider_of(processor).get_tracer("test")
    span = tracer.start_span("late")
    processor.shutdown()

    span.end()
    processor.shutdown()

    assert processor.stats().dropped == {"after shutdown": 1}
    assert processor.force_flush()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_thread_that_died_is_started_again(
    collector: Collector, make: Make, monkeypatch: pytest.MonkeyPatch
):
    """The next span starts another."""
    processor = make()
    end_spans(processor, 1)
    collector.wait_for(1)
    thread = processor._thread
    assert thread is not None
    with monkeypatch.context() as patch:
        patch.setattr(processor, "_tick", lambda: (_ for _ in ()).throw(SystemExit))
        end_spans(processor, 1, "second")
        thread.join(10)
    assert not thread.is_alive()

    end_spans(processor, 1, "third")

    assert collector.wait_for(3) == ["second-0", "span-0", "third-0"]


def test_idle_threads_sleep_without_a_timer(collector: Collector, make: Make):
    """Nothing polls: both threads wait for a signal, for as long as it takes."""
    processor = make()
    end_spans(processor, 5)
    assert processor.force_flush()
    deadline = time.monotonic() + 10
    while not processor._asleep and time.monotonic() < deadline:
        time.sleep(0.01)

    assert processor._asleep
    assert processor._opened().exporter._until_due() is None


# ---- memory instead of a disk


def test_without_a_disk_it_works_from_memory(collector: Collector, make: Make):
    """`FLOWSPAN_SPOOL_DIR=none`: an outage is survived, a crash is not."""
    processor = make(spool_dir="none")
    collector.refuse()
    names = end_spans(processor, 300)
    assert not processor.force_flush(200)
    collector.listen()

    assert processor.force_flush(20_000)
    assert collector.names == names
    assert processor.stats().spool == "memory"


def test_what_memory_cannot_hold_is_counted(collector: Collector, make: Make):
    """Bounded in bytes; the oldest go."""
    processor = make(spool_dir="none")
    collector.refuse()
    tracer = provider_of(processor).get_tracer("test")
    for number in range(400):
        tracer.start_span(f"s{number}", attributes={"input.value": "x" * 100_000}).end()
    assert not processor.force_flush(200)
    stats = processor.stats()
    lost = sum(stats.dropped.values())
    assert 0 < lost < 400
    assert stats.waiting == 400 - lost
    assert stats.waiting_bytes <= 17_000_000
    collector.listen()

    assert processor.force_flush(20_000)
    assert "s399" in collector.names
    assert len(collector.names) == 400 - lost


# ---- what it says of itself


def test_the_metrics_of_the_sdk(collector: Collector, make: Make):
    """Under the names of the SDK's own, and only read when somebody collects."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    processor = make(meter_provider=meters)
    end_spans(processor, 7)
    assert processor.force_flush()

    data = reader.get_metrics_data()

    assert data is not None
    figures = {
        metric.name: sum(
            getattr(p, "value", getattr(p, "count", 0)) for p in metric.data.data_points
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    duration = figures.pop("otel.sdk.exporter.operation.duration")
    assert duration == len(collector.bodies)
    assert figures == {
        "otel.sdk.processor.span.processed": 7,
        "otel.sdk.processor.span.queue.size": 0,
        "otel.sdk.processor.span.queue.capacity": 2048,
        "otel.sdk.exporter.span.exported": 7,
        "otel.sdk.exporter.span.inflight": 0,
        "flowspan.spool.spans": 0,
        "flowspan.spool.bytes": 0,
    }
    meters.shutdown()


# ---- settings


def test_all_from_the_environment_and_arguments_win(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Nothing else of flowspan is in use."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=one")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("FLOWSPAN_SPOOL_DIR", str(tmp_path / "from-environment"))
    processor = DurableSpanProcessor(compression="gzip")

    end_spans(processor, 1)

    assert processor.force_flush()
    assert collector.headers[0]["x-tenant"] == "one"
    assert collector.headers[0]["content-encoding"] == "gzip"
    assert (tmp_path / "from-environment").is_dir()
    assert processor.close()


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, "http://localhost:4317"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:1234"},
            "http://collector:1234/v1/traces",
        ),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://localhost:4317"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/"}, "http://c:1/"),
    ],
)
def test_an_exporter_s_protocol_has_a_port_of_its_own(environment: dict[str, str], endpoint: str):
    """`otlp_proto_grpc`, where the rest of the environment means HTTP."""
    config = flowspan.Config.from_env(environment | {"OTEL_TRACES_EXPORTER": "otlp_proto_grpc"})

    processor = DurableSpanProcessor(config, protocol="grpc")

    assert (processor.config.otlp.protocol, processor.config.otlp.endpoint) == ("grpc", endpoint)
    processor.close()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"endpoint": "collector:4318"}, "OtlpConfig.endpoint='collector:4318': expected an http"),
        ({"endpoint": 5}, "OtlpConfig.endpoint=5"),
        ({"protocol": "http/json"}, "protocol='http/json': expected http/protobuf or grpc"),
        ({"headers": {"a": "b\nc"}}, "OtlpConfig.headers"),
        ({"timeout": 0}, "OtlpConfig.timeout=0: expected seconds"),
        ({"certificate": "/nowhere.pem"}, "OtlpConfig.certificate='/nowhere.pem'"),
        ({"max_queue_size": 0}, "BatchConfig.max_queue_size=0"),
        ({"spool_dir": __file__}, "SpoolConfig.directory="),
        ({"spool_max_bytes": 5}, "SpoolConfig.max_bytes=5: expected bytes"),
        ({"spool_max_age": -1}, "SpoolConfig.max_age=-1"),
        (
            {"durability": "paranoid"},
            "SpoolConfig.durability='paranoid': expected normal or strict",
        ),
    ],
)
def test_a_wrong_argument_is_an_error_at_setup(settings: dict[str, Any], sentence: str):
    """It names the setting, the value and what is accepted."""
    with pytest.raises(flowspan.ConfigError, match=sentence.replace("(", r"\(")):
        DurableSpanProcessor(flowspan.Config(), **settings)


def test_a_certificate_that_is_none_is_an_error_at_setup(tmp_path: Path):
    """Not at the first request."""
    nonsense = tmp_path / "ca.pem"
    nonsense.write_text("nonsense")

    for settings in ({"certificate": str(nonsense)}, {"client_certificate": str(nonsense)}):
        with pytest.raises(flowspan.ConfigError) as error:
            DurableSpanProcessor(
                flowspan.Config(),
                endpoint="https://127.0.0.1:1/v1/traces",
                **settings,  # type: ignore[arg-type]
            )
        sentence = str(error.value)
        assert sentence.count(str(nonsense)) == 1, sentence
        assert sentence.endswith("; expected certificates and a key in PEM")


def test_the_loggers_stay_as_they_are(make: Make):
    """A processor alone is a guest: no level, no handler, no global provider is touched."""
    before = [
        (logging.getLogger(n).level, logging.getLogger(n).handlers[:]) for n in ("flowspan", "")
    ]

    end_spans(make(), 1)

    after = [
        (logging.getLogger(n).level, logging.getLogger(n).handlers[:]) for n in ("flowspan", "")
    ]
    assert before == after
