"""One request to a real Collector, which is written in Go: what it says, and what we make of it."""

from __future__ import annotations

from typing import Any

import pytest

from backends import Collector
from collectors import request_of
from flowspan.delivery._transport import Verdict

TIME = 20.0


def endpoint_of(collector: Collector, protocol: str) -> str:
    return collector.otlp_http + "/v1/traces" if protocol != "grpc" else collector.otlp_grpc


@pytest.mark.backends
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_it_accepts(collector: Collector, transport: Any, protocol: str, compression: str) -> None:
    """Small and large, by either protocol, however compressed; one request after another."""
    sender = transport(
        endpoint_of(collector, protocol),
        protocol=protocol,
        insecure=True,
        compression=compression,
    )
    for size in (1, 100_000, 3_000_000, 1):
        answer = sender.send(request_of(size), TIME)
        assert (answer.verdict, answer.message) == (Verdict.ACCEPTED, "")


@pytest.mark.backends
def test_it_refuses(collector: Collector, transport: Any) -> None:
    """Too large, not protobuf, the wrong path, the other protocol's port."""
    grpc = {"protocol": "grpc", "insecure": True}
    http = collector.otlp_http

    def verdict(sender: Any, body: bytes) -> Verdict:
        found: Verdict = sender.send(body, TIME).verdict
        return found

    over_http = transport(f"{http}/v1/traces")
    over_grpc = transport(collector.otlp_grpc, **grpc)
    assert verdict(over_grpc, request_of(70 << 20)) is Verdict.TOO_LARGE
    assert verdict(over_http, request_of(70 << 20)) is Verdict.TOO_LARGE
    assert verdict(over_http, b"\xff\xff") is Verdict.MALFORMED
    assert verdict(over_grpc, b"\xff\xff") is Verdict.MALFORMED
    assert verdict(transport(f"{http}/v1/nothing"), b"") is Verdict.MISCONFIGURED
    assert verdict(transport(http.removeprefix("http://"), **grpc), b"") is Verdict.MISCONFIGURED
    crossed = transport(f"http://{collector.otlp_grpc}/v1/traces").send(b"", TIME)
    assert crossed.verdict is not Verdict.ACCEPTED
    assert verdict(over_http, request_of(1)) is Verdict.ACCEPTED
    assert verdict(over_grpc, request_of(1)) is Verdict.ACCEPTED
