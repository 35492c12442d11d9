"""
The Collector as this repository configures it, in front of a real Jaeger: what it acknowledges
arrives, whatever is stopped in between. The exporters are the SDK's own.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backends import (
    COLLECTOR_CONFIG,
    Collector,
    Jaeger,
    Span,
    binary,
    running_collector,
    running_jaeger,
)

REPOSITORY = Path(__file__).parents[1]
COMPOSE_FILE = REPOSITORY / "docker-compose.yml"

Protocol = Literal["http", "grpc"]


# Spans through the Collector to Jaeger


@pytest.mark.backends
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_spans_arrive_whole(protocol: Protocol, collector: Collector, jaeger: Jaeger) -> None:
    service = f"arrives-over-{protocol}"
    recorded = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(recorded))
    tracer = provider.get_tracer("tests", "1.0")
    with tracer.start_as_current_span("parent", kind=trace.SpanKind.SERVER) as parent:
        link = trace.Link(parent.get_span_context())
        attributes: dict[str, str | int | float | bool] = {
            "text": "ü",
            "number": 2**62,
            "ratio": 0.5,
            "flag": True,
        }
        with tracer.start_as_current_span("child", attributes=attributes, links=[link]) as child:
            child.add_event("happened", {"times": 3})
            child.set_status(trace.StatusCode.ERROR, "it broke")
    ended_child, ended_parent = recorded.get_finished_spans()

    send([ended_child, ended_parent], collector, protocol)

    trace_id = hex_trace_id(ended_parent)
    arrived_parent, arrived_child = jaeger.trace(trace_id, until=lambda spans: len(spans) == 2)
    assert arrived_child == {
        "name": "child",
        "kind": "INTERNAL",
        "trace_id": trace_id,
        "span_id": hex_span_id(ended_child),
        "parent_span_id": hex_span_id(ended_parent),
        "start_nanos": ended_child.start_time,
        "end_nanos": ended_child.end_time,
        "attributes": attributes,
        "events": [
            {
                "name": "happened",
                "time_nanos": ended_child.events[0].timestamp,
                "attributes": {"times": 3},
            }
        ],
        "links": [
            {
                "trace_id": trace_id,
                "span_id": hex_span_id(ended_parent),
                "attributes": {"opentracing.ref_type": "follows_from"},
            }
        ],
        "status": {"code": "ERROR", "message": "it broke"},
        "resource": {"service.name": service},
        "scope": {"name": "tests", "version": "1.0", "attributes": {}},
    }
    assert (arrived_parent["kind"], arrived_parent["parent_span_id"]) == ("SERVER", "")
    assert arrived_parent["status"] == {"code": "UNSET", "message": ""}
    assert service in jaeger.services()
    assert jaeger.traces(service) == {trace_id: [arrived_parent, arrived_child]}


@pytest.mark.backends
def test_spans_sent_while_jaeger_is_down_arrive_when_it_is_back(tmp_path: Path) -> None:
    with running_jaeger(tmp_path) as jaeger, running_collector(tmp_path, jaeger) as collector:
        jaeger.stop()
        sent = send_batches(collector, count=20)

        jaeger.start()

        assert_arrive(sent, jaeger)


@pytest.mark.backends
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_queue_survives_the_collector(end: Literal["stop", "kill"], tmp_path: Path) -> None:
    """
    Jaeger is down and the Collector ends, by SIGTERM or by SIGKILL right after its last answer.
    """
    with running_jaeger(tmp_path) as jaeger, running_collector(tmp_path, jaeger) as collector:
        jaeger.stop()
        sent = send_batches(collector, count=20)
        collector.stop() if end == "stop" else collector.kill()

        jaeger.start()
        collector.start()

        assert_arrive(sent, jaeger)


@pytest.mark.backends
def test_a_kill_while_sending_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """
    Nothing waits in memory only: the last batch is killed on its way from the queue to Jaeger.
    """
    with running_jaeger(tmp_path) as jaeger, running_collector(tmp_path, jaeger) as collector:
        sent = []
        for _ in range(3):
            sent += send_batches(collector, count=20)
            collector.kill()
            collector.start()

        assert_arrive(sent, jaeger)


@pytest.mark.backends
def test_more_than_jaeger_takes_at_once_is_split(collector: Collector, jaeger: Jaeger) -> None:
    """
    8 MiB in one request, where Jaeger refuses more than 4 MiB for good.
    """
    spans = record("large", count=16, payload="x" * 512 * 1024)

    send(spans, collector, "grpc")

    assert_arrive(spans, jaeger)


# The files an operator starts with


@pytest.mark.backends
def test_the_collector_accepts_its_configuration() -> None:
    """
    With the defaults: nothing of it is set in the environment.
    """
    command = [str(binary("collector")), "validate", "--config", str(COLLECTOR_CONFIG)]
    check = subprocess.run(command, env={}, capture_output=True, text=True)

    assert (check.returncode, check.stderr) == (0, "")


def test_the_compose_file_is_valid() -> None:
    command = compose_command()
    if command is None:
        pytest.skip("Docker Compose is not installed: install it to check docker-compose.yml")
    check = subprocess.run(
        [*command, "-f", str(COMPOSE_FILE), "config", "-q"], capture_output=True, text=True
    )

    assert (check.returncode, check.stderr) == (0, "")


def test_every_published_port_is_on_loopback_only() -> None:
    published = [
        port for service in compose_services().values() for port in service.get("ports", ())
    ]

    assert sorted(published) == [
        "127.0.0.1:13133:13133",
        "127.0.0.1:16686:16686",
        "127.0.0.1:4317:4317",
        "127.0.0.1:4318:4318",
    ]


def test_every_image_is_pinned() -> None:
    images = {service["image"] for service in compose_services().values()}

    assert images == {
        "otel/opentelemetry-collector-contrib:0.155.0",
        "jaegertracing/jaeger:2.20.0",
    }


def test_the_image_is_the_collector_that_is_tested() -> None:
    tested = (REPOSITORY / "tests/backends/collector/go.mod").read_text()
    version = compose_services()["collector"]["image"].rpartition(":")[2]

    assert f"go.opentelemetry.io/collector/otelcol v{version}\n" in tested


def test_the_mounted_configuration_is_the_one_that_is_tested() -> None:
    mounted = {
        REPOSITORY / volume.split(":")[0]
        for service in compose_services().values()
        for volume in service.get("volumes", ())
        if volume.startswith(("./", "/"))
    }

    assert mounted == {COLLECTOR_CONFIG}
    assert COLLECTOR_CONFIG.is_file()


def test_the_queue_is_on_a_volume_that_the_collector_owns() -> None:
    compose = yaml.safe_load(COMPOSE_FILE.read_text())
    directory = yaml.safe_load(COLLECTOR_CONFIG.read_text())["extensions"]["file_storage"][
        "directory"
    ]
    default = directory.removeprefix("${env:COLLECTOR_QUEUE_DIRECTORY:-").removesuffix("}")

    assert f"queue:{default}" in compose["services"]["collector"]["volumes"]
    assert "queue:/queue" in compose["services"]["queue-owner"]["volumes"]
    assert "queue" in compose["volumes"]


# What the tests above say in one line


def record(name: str, *, count: int, payload: str = "") -> list[ReadableSpan]:
    """*count* ended spans of one new trace."""
    recorded = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(recorded))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span(name):
        for number in range(count - 1):
            tracer.start_span(f"{name} {number}", attributes={"payload": payload}).end()
    return list(recorded.get_finished_spans())


def send(spans: list[ReadableSpan], collector: Collector, protocol: Protocol) -> None:
    """Returns when the Collector has acknowledged them."""
    exporter: GrpcExporter | HttpExporter
    if protocol == "grpc":
        exporter = GrpcExporter(endpoint=collector.otlp_grpc, insecure=True)
    else:
        exporter = HttpExporter(endpoint=f"{collector.otlp_http}/v1/traces")
    try:
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    finally:
        exporter.shutdown()


def send_batches(collector: Collector, *, count: int) -> list[ReadableSpan]:
    """*count* requests of a small trace each, over both protocols in turn."""
    sent = []
    for number in range(count):
        spans = record(f"batch {number}", count=9)
        send(spans, collector, "grpc" if number % 2 else "http")
        sent += spans
    return sent


def assert_arrive(sent: list[ReadableSpan], jaeger: Jaeger) -> None:
    """Every span is there; one that is delivered twice is one to whoever looks."""
    expected: dict[str, set[str]] = {}
    for span in sent:
        expected.setdefault(hex_trace_id(span), set()).add(hex_span_id(span))
    for trace_id, span_ids in expected.items():
        jaeger.trace(trace_id, until=partial(are, span_ids))


def are(span_ids: set[str], spans: list[Span]) -> bool:
    return {span["span_id"] for span in spans} == span_ids


def hex_trace_id(span: ReadableSpan) -> str:
    return trace.format_trace_id(span.context.trace_id)


def hex_span_id(span: ReadableSpan) -> str:
    return trace.format_span_id(span.context.span_id)


def compose_services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE_FILE.read_text())["services"]
    return services


def compose_command() -> list[str] | None:
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if (
        shutil.which("docker")
        and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    ):
        return ["docker", "compose"]
    return None
