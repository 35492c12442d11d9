"""`flowspan doctor` with a real Jaeger and a real Collector."""

from __future__ import annotations

import json
import urllib.request

import pytest

from backends import Collector, Jaeger
from doctors import examine

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("no_proxy_of_the_machine")]


def test_the_span_is_found_behind_the_collector(collector: Collector, jaeger: Jaeger) -> None:
    """Accepted by the Collector, found in Jaeger: the link leads to that trace."""
    report = examine(
        "--jaeger",
        f"{jaeger.query}/",
        "--timeout",
        "30",  # for Jaeger as well
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.otlp_http,
        OTEL_SERVICE_NAME="examined",
    )

    assert report.code == 0, report.cause
    assert report.state("in Jaeger") == "well"
    assert report.whole["url"] == f"{jaeger.query}/trace/{report.whole['trace']}"
    (span,) = jaeger.trace(report.whole["trace"])
    assert span["name"] == "flowspan doctor"
    assert span["resource"]["service.name"] == "examined"


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_jaeger_itself_takes_it(jaeger: Jaeger, protocol: str) -> None:
    """It is a receiver of its own, by both protocols."""
    endpoint = jaeger.otlp_http if protocol == "http/protobuf" else f"http://{jaeger.otlp_grpc}"

    report = examine(
        "--jaeger",
        jaeger.query,
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )

    assert report.code == 0, report.text


def test_what_a_real_collector_says_to_a_doubled_path(collector: Collector) -> None:
    """Its 404, and the base that was tried."""
    report = examine(OTEL_EXPORTER_OTLP_ENDPOINT=f"{collector.otlp_http}/v1/traces")

    assert report.wrong["what"] == "protocol"
    assert report.wrong["do"].startswith(f"OTEL_EXPORTER_OTLP_ENDPOINT={collector.otlp_http}: ")


@pytest.mark.parametrize("given", ["http/protobuf", "grpc"])
def test_what_a_real_collector_says_to_the_other_protocol(collector: Collector, given: str) -> None:
    """HTTP on its gRPC port, and gRPC on its HTTP port."""
    http = given == "http/protobuf"
    endpoint = f"http://{collector.otlp_grpc}" if http else collector.otlp_http

    report = examine(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL=given)

    other = "grpc" if http else "http/protobuf"
    assert report.wrong["what"] == "protocol"
    assert f"OTEL_EXPORTER_OTLP_PROTOCOL={other}" in report.wrong["do"]


def test_the_query_port_is_no_receiver(jaeger: Jaeger) -> None:
    """16686 instead of 4318: a page, or 404."""
    report = examine(OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.query)

    assert report.wrong["what"] == "protocol"
    with urllib.request.urlopen(f"{jaeger.query}/api/v3/services") as answer:
        assert "flowspan doctor" not in json.dumps(json.load(answer))
