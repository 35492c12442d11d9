"""
`flowspan doctor` on the way to the collector: every fault made for real, one at a time.

The first red line names the cause, and what comes after it is skipped.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from collectors import GrpcCollector, HttpCollector, Proxy, Raw, closing, server_context
from doctors import HAS_BLACK_HOLES, Report, at, black_hole, examine, silent
from faults import Collector, Reply, partly
from test_cli import closed_port, flowspan_command

pytestmark = pytest.mark.usefixtures("no_proxy_of_the_machine")

PAGE = (200, {"Content-Type": "text/html"}, b"<!doctype html><title>Log in</title>")
NOT_HERE = (404, {"Content-Type": "text/plain"}, b"404 page not found")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with closing(Collector()) as collector:
        yield collector


@pytest.fixture
def receiver() -> Iterator[GrpcCollector]:
    with closing(GrpcCollector()) as receiver:
        yield receiver


def by(endpoint: str, *arguments: str, **variables: str) -> Report:
    """The report with a base endpoint."""
    return examine(*arguments, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **variables)


def by_grpc(endpoint: str, **variables: str) -> Report:
    return by(endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", **variables)


def skipped(report: Report) -> list[str]:
    return [
        line["what"]
        for line in report.lines
        if line["state"] == "skipped" and line["what"] != "collector"
    ]


# ---- all is well


def test_all_is_well(collector: Collector) -> None:
    """A test span arrives, with the service's name and the trace that is told; each step's time."""
    report = by(collector.url, OTEL_SERVICE_NAME="shop")

    assert report.code == 0
    assert collector.names == ["flowspan doctor"]
    assert report.whole["trace"] == collector.spans[0].trace_id.hex()
    assert report.whole["trace"] in report.line("test span")["seen"]
    assert b"shop" in collector.bodies[-1]
    for what in ("name", "connection", "protocol", "test span"):
        assert report.state(what) == "well"
        assert report.line(what)["seconds"] >= 0


def test_all_is_well_by_grpc(receiver: GrpcCollector) -> None:
    """With grpcio's own server."""
    report = by_grpc(receiver.url)

    assert report.code == 0
    assert report.line("protocol")["seen"] == "OTLP by grpc"
    assert len(receiver.bodies) == 2


@pytest.mark.parametrize("mutual", [False, True])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_all_is_well_with_tls(certificates: Path, protocol: str, mutual: bool) -> None:
    """The certificate's names are told, and its end: it is two days from now."""
    server: Any
    if protocol == "grpc":
        server = GrpcCollector(certificates=certificates, mutual=mutual)
    else:
        server = HttpCollector(context=server_context(certificates, mutual))
    ours = {
        "OTEL_EXPORTER_OTLP_CERTIFICATE": "ca.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "client.pem",
        "OTEL_EXPORTER_OTLP_CLIENT_KEY": "client.key",
    }
    with closing(server):
        url = server.url.removesuffix("/v1/traces")
        files = {name: str(certificates / file) for name, file in ours.items()}
        report = by(url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, **files)

    assert report.code == 0, report.text
    tls = report.line("TLS")
    assert tls["state"] == "note"
    assert "TLSv1.3, certificate for 127.0.0.1, localhost until " in tls["seen"]


def test_compressed_as_configured(collector: Collector) -> None:
    """What is tried is what the exporter does."""
    assert by(collector.url, OTEL_EXPORTER_OTLP_COMPRESSION="gzip").code == 0
    assert collector.headers[-1]["content-encoding"] == "gzip"


# ---- no connection


def test_a_name_that_nobody_knows() -> None:
    """The host, and the variable that names it."""
    report = by("http://no-such-host.invalid:4318")

    assert report.code == 1
    assert report.wrong["what"] == "name"
    assert "no-such-host.invalid" in report.wrong["seen"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in report.wrong["do"]
    assert skipped(report) == ["connection", "protocol", "test span"]


def test_a_port_where_nobody_listens() -> None:
    """The address and the system's words."""
    port = closed_port()

    report = by(f"http://127.0.0.1:{port}")

    assert report.wrong["what"] == "connection"
    assert report.wrong["seen"] == f"127.0.0.1:{port}: connection refused"
    assert skipped(report) == ["protocol", "test span"]


@pytest.mark.skipif(not HAS_BLACK_HOLES, reason="a full queue drops packets on Linux")
def test_a_port_that_swallows_connections() -> None:
    """As behind a firewall: the deadline ends it."""
    with black_hole() as port:
        report = by(f"http://127.0.0.1:{port}", "--timeout", "3")

    assert report.wrong["what"] == "connection"
    assert report.wrong["seen"].endswith("no answer within 3 s")
    assert "firewall" in report.wrong["do"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_server_that_says_nothing(raw: Callable[..., Raw], protocol: str) -> None:
    """It takes the connection; the deadline ends it in the next step."""
    url = raw(silent).url

    report = by(url, "--timeout", "3", OTEL_EXPORTER_OTLP_PROTOCOL=protocol)

    assert report.state("connection") == "well"
    assert report.wrong["what"] == "protocol"
    assert report.wrong["seen"] == "no answer within 3 s"
    assert "says nothing" in report.wrong["do"]


def test_a_server_that_says_nothing_to_tls(raw: Callable[..., Raw]) -> None:
    """The same before TLS is through."""
    url = raw(silent).url.replace("http:", "https:")

    report = by(url, "--timeout", "3")

    assert report.wrong["what"] == "TLS"
    assert "says nothing" in report.wrong["seen"]


def test_a_request_may_take_less_than_it_did(raw: Callable[..., Raw]) -> None:
    """`OTEL_EXPORTER_OTLP_TIMEOUT` holds here as for the exporter."""
    report = by(raw(silent).url, OTEL_EXPORTER_OTLP_TIMEOUT="0.2")

    assert "timed out after the 0.2 s that a request may take" in report.wrong["seen"]


# ---- TLS


@pytest.mark.parametrize(
    ("certificate", "trusted", "seen", "do"),
    [
        ("expired", "ca", "has expired, on ", "renew it"),
        (
            "elsewhere",
            "ca",
            "is for collector.example, not for 127.0.0.1",
            "write one of its names in OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        ("server", "", "issued by ca, is not trusted", "set OTEL_EXPORTER_OTLP_CERTIFICATE"),
        ("server", "other", "issued by ca, is not trusted", "does not hold its CA"),
    ],
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_certificate_that_is_not_good(
    certificates: Path, certificate: str, trusted: str, seen: str, do: str, protocol: str
) -> None:
    """Why, from the certificate itself; what to do about that."""
    context = server_context(certificates, certificate=certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    variables = {"OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    if trusted:
        variables["OTEL_EXPORTER_OTLP_CERTIFICATE"] = str(certificates / f"{trusted}.pem")
    with closing(HttpCollector(context=context)) as server:
        report = by(server.url.removesuffix("/v1/traces"), **variables)

    assert report.wrong["what"] == "TLS"
    assert seen in report.wrong["seen"]
    assert do in report.wrong["do"]
    assert skipped(report) == ["protocol", "test span"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("ours", "seen", "do"),
    [
        ("", "wants a client certificate, and none is set", "_CLIENT_CERTIFICATE"),
        ("stranger", "does not accept our client certificate", "issued by the server's CA"),
    ],
)
def test_a_client_certificate_is_wanted(
    certificates: Path, version: ssl.TLSVersion, ours: str, seen: str, do: str
) -> None:
    """With TLS 1.3 the server says so only when the handshake seemed done: the step is TLS."""
    context = server_context(certificates, mutual=True)
    context.minimum_version = context.maximum_version = version
    variables = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificates / "ca.pem")}
    if ours:
        variables["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] = str(certificates / f"{ours}.pem")
        variables["OTEL_EXPORTER_OTLP_CLIENT_KEY"] = str(certificates / "client.key")
    with closing(HttpCollector(context=context)) as server:
        report = by(server.url.removesuffix("/v1/traces"), **variables)

    assert report.wrong["what"] == "TLS"
    assert seen in report.wrong["seen"]
    assert do in report.wrong["do"]


def test_a_client_certificate_is_wanted_by_grpc(certificates: Path) -> None:
    """grpcio's server says it in its own way."""
    with closing(GrpcCollector(certificates=certificates, mutual=True)) as server:
        report = by_grpc(server.url, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificates / "ca.pem"))

    assert report.wrong["what"] == "TLS"
    assert "client certificate" in report.wrong["seen"]


def test_a_key_that_does_not_fit(certificates: Path) -> None:
    """Our own file is named."""
    with closing(HttpCollector(context=server_context(certificates))) as server:
        report = by(
            server.url.removesuffix("/v1/traces"),
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificates / "ca.pem"),
            OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=str(certificates / "client.pem"),
            OTEL_EXPORTER_OTLP_CLIENT_KEY=str(certificates / "server.key"),
        )

    assert report.wrong["what"] == "TLS"
    assert "our certificate in" in report.wrong["seen"]
    assert "client.pem" in report.wrong["seen"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_no_tls_where_it_is_expected(
    collector: Collector, receiver: GrpcCollector, protocol: str
) -> None:
    """`https://` to a port without TLS: what to write was tried."""
    place = receiver.url if protocol == "grpc" else collector.url
    url = place.replace("http:", "https:")

    report = by(url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)

    assert report.wrong["what"] == "TLS"
    assert report.wrong["seen"] == "the port does not speak TLS"
    assert report.wrong["do"].startswith(f"OTEL_EXPORTER_OTLP_ENDPOINT={place}: ")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_tls_where_none_is_expected(certificates: Path, protocol: str) -> None:
    """`http://` to a port with TLS: whatever the server makes of it, https:// was tried."""
    server: Any
    if protocol == "grpc":
        server = GrpcCollector(certificates=certificates)
    else:
        server = HttpCollector(context=server_context(certificates))
    with closing(server):
        place = server.url.removesuffix("/v1/traces")
        report = by(
            place.replace("https:", "http:"),
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificates / "ca.pem"),
        )

    assert report.wrong["what"] == "protocol"
    assert report.wrong["do"].startswith(f"OTEL_EXPORTER_OTLP_ENDPOINT={place}: ")


# ---- another protocol, another path


def test_http_on_a_grpc_port(receiver: GrpcCollector) -> None:
    """The protocol to set was tried."""
    report = by(receiver.url)

    assert report.wrong["what"] == "protocol"
    assert "HTTP/2" in report.wrong["seen"]
    assert report.wrong["do"].startswith("OTEL_EXPORTER_OTLP_PROTOCOL=grpc: ")


@pytest.mark.parametrize("certificates_of", ["", "ca.pem"])
def test_http_on_a_grpc_port_with_tls(certificates: Path, certificates_of: str) -> None:
    """A gRPC server lets nobody in who does not speak HTTP/2, or hangs up."""
    with closing(GrpcCollector(certificates=certificates)) as server:
        report = by(server.url, OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificates / "ca.pem"))

    assert report.wrong["what"] in ("TLS", "protocol")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: " in report.wrong["do"]


def test_grpc_on_an_http_port(collector: Collector) -> None:
    """The other way round."""
    report = by_grpc(collector.url)

    assert report.wrong["what"] == "protocol"
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in report.wrong["do"]


def test_a_path_that_is_missing() -> None:
    """The variable for spans is used as it is; a collector has nothing at its root."""
    with closing(at("/v1/traces", NOT_HERE)) as there:
        base = there.url.removesuffix("/v1/traces")
        report = examine(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=base)

    assert report.wrong["what"] == "protocol"
    assert "status 404" in report.wrong["seen"]
    assert report.wrong["do"].startswith(f"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT={base}/v1/traces: ")


def test_a_path_that_is_doubled() -> None:
    """`/v1/traces` in the base endpoint, to which it is appended."""
    with closing(at("/v1/traces", NOT_HERE)) as there:
        base = there.url.removesuffix("/v1/traces")
        report = by(there.url)

    assert report.wrong["what"] == "protocol"
    assert "status 404" in report.wrong["seen"]
    assert report.wrong["do"].startswith(f"OTEL_EXPORTER_OTLP_ENDPOINT={base}: ")


@pytest.mark.parametrize(
    ("variables", "do"),
    [
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ""}, "append /v1/traces in"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "/v1/traces"}, "take /v1/traces out of"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "check host, port and path in"),
    ],
)
def test_nothing_takes_spans_anywhere(variables: dict[str, str], do: str) -> None:
    """No path helps: what is known of the path that is used."""
    with closing(at("/nowhere", NOT_HERE)) as there:
        base = there.url.removesuffix("/v1/traces")
        report = examine(**{name: base + path for name, path in variables.items()})

    assert report.wrong["what"] == "protocol"
    assert do in report.wrong["do"]
    assert next(iter(variables)) in report.wrong["do"]


# ---- answers that are none


@pytest.mark.parametrize(
    ("answer", "seen", "do"),
    [
        (PAGE, "not OTLP's", "check host, port and path"),
        ((200, {"Content-Type": "application/json"}, b'["x"]'), "not OTLP's", "check host"),
        ((301, {"Location": "https://x.example/v1/traces"}, b""), "https://x.example", "redirect"),
        ((401, {}, b""), "status 401", "set OTEL_EXPORTER_OTLP_HEADERS"),
        ((403, {}, b"no such tenant"), "no such tenant", "the tenant or project"),
        ((405, {}, b""), "status 405", "check host, port and path"),
        ((413, {}, b""), "status 413", "client_max_body_size"),
        ((415, {}, b""), "status 415", "OTLP receiver"),
        ((429, {}, b""), "status 429", "quota"),
        ((500, {}, b"boom"), "boom", "collector's log"),
        ((502, {}, b""), "status 502", "a proxy or balancer"),
        ((503, {}, b""), "status 503", "overloaded"),
    ],
    ids=lambda given: str(given[0]) if isinstance(given, tuple) else None,
)
def test_an_answer_that_is_no_yes(
    answer: tuple[int, dict[str, str], bytes], seen: str, do: str
) -> None:
    """What it means, and what to do."""
    with closing(HttpCollector()) as there:
        there.answer = answer
        report = by(there.url.removesuffix("/v1/traces"))

    assert report.code == 1
    assert report.wrong["what"] == "protocol"
    assert seen in report.wrong["seen"]
    assert do in report.wrong["do"]
    assert skipped(report) == ["test span"]


def test_a_compression_that_is_not_taken() -> None:
    """The variable that asks for it."""
    with closing(HttpCollector()) as there:
        there.answer = (415, {}, b"")
        report = by(there.url.removesuffix("/v1/traces"), OTEL_EXPORTER_OTLP_COMPRESSION="gzip")

    assert report.wrong["do"] == "OTEL_EXPORTER_OTLP_COMPRESSION=none (now gzip)"


def test_credentials_that_are_wrong() -> None:
    """By name; the value is not shown, also where the server repeats it."""
    with closing(HttpCollector()) as there:
        there.answer = (401, {}, b"Bearer abcdefgh is not known here")
        report = by(
            there.url.removesuffix("/v1/traces"),
            OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abcdefgh",
        )

    assert "(authorization)" in report.wrong["do"]
    assert "abcdefgh" not in report.text
    assert there.headers[0]["authorization"] == "Bearer abcdefgh"


@pytest.mark.parametrize(
    ("code", "words", "seen", "do"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "", "UNAUTHENTICATED", "OTEL_EXPORTER_OTLP_HEADERS"),
        (grpc.StatusCode.PERMISSION_DENIED, "", "PERMISSION_DENIED", "the rights"),
        (grpc.StatusCode.UNIMPLEMENTED, "", "UNIMPLEMENTED", "check host, port and path"),
        (grpc.StatusCode.UNAVAILABLE, "", "UNAVAILABLE", "collector's log"),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (9 vs. 4)",
            "larger than max",
            "max_recv_msg_size_mib",
        ),
    ],
)
def test_a_grpc_status_that_is_no_yes(
    receiver: GrpcCollector, code: grpc.StatusCode, words: str, seen: str, do: str
) -> None:
    """The same by gRPC."""
    receiver.answer = lambda context: context.abort(code, words)

    report = by_grpc(receiver.url)

    assert report.wrong["what"] == "protocol"
    assert seen in report.wrong["seen"]
    assert do in report.wrong["do"]


def test_a_test_span_that_is_refused(collector: Collector) -> None:
    """A request without a span was taken, so that the span itself is what is wrong."""
    collector.behave(
        lambda request, body: (
            Reply(400, body=b"no such service") if request.resource_spans else Reply()
        )
    )

    report = by(collector.url)

    assert report.state("protocol") == "well"
    assert report.wrong["what"] == "test span"
    assert "no such service" in report.wrong["seen"]


def test_a_request_without_a_span_that_is_refused(collector: Collector) -> None:
    """Some want one in it: no fault."""
    collector.behave(
        lambda request, body: Reply(kept=True) if request.resource_spans else Reply(400)
    )

    report = by(collector.url)

    assert report.code == 0
    assert report.state("protocol") == "note"


def test_partial_success(collector: Collector) -> None:
    """Accepted and yet not: the collector's words."""
    collector.behave(
        lambda request, body: partly(1, "too old") if request.resource_spans else Reply()
    )

    report = by(collector.url)

    assert report.wrong["what"] == "test span"
    assert report.wrong["seen"] == "rejected 1 spans: too old"


def test_a_warning_is_told(collector: Collector) -> None:
    """A partial success that rejects nothing."""
    collector.behave(partly(0, "soon gone"))

    report = by(collector.url)

    assert report.code == 0
    assert "accepted, with a warning: soon gone; trace " in report.line("test span")["seen"]


# ---- a proxy in between


def test_through_a_proxy(certificates: Path) -> None:
    """A tunnel: the proxy is a step of its own, and the name is the proxy's."""
    server = HttpCollector(context=server_context(certificates))
    with closing(Proxy(), server) as (proxy, _):  # the server first: the tunnel waits for it
        report = by(
            server.url.removesuffix("/v1/traces"),
            HTTPS_PROXY=f"http://maria:hunter2222@127.0.0.1:{proxy.port}",
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificates / "ca.pem"),
        )

    assert report.code == 0, report.text
    assert report.line("proxy")["seen"] == f"127.0.0.1:{proxy.port} (HTTPS_PROXY) lets us through"
    assert "of the proxy in HTTPS_PROXY" in report.line("name")["seen"]
    assert "hunter2222" not in report.text


@pytest.mark.parametrize(
    ("refusal", "seen", "do"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407", "user and password"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403", "no_proxy"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502", "no_proxy"),
        (b"SSH-2.0-what\r\n\r\n", "refuses the tunnel", "no_proxy"),
    ],
)
def test_a_proxy_that_refuses(refusal: bytes, seen: str, do: str) -> None:
    """It is the proxy that says it, and the collector was never asked."""
    with closing(Proxy(refusal)) as proxy:
        report = by("https://collector.example", HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}")

    assert report.wrong["what"] == "proxy"
    assert seen in report.wrong["seen"]
    assert do in report.wrong["do"]
    assert "HTTPS_PROXY" in report.wrong["do"]


def test_a_proxy_that_is_not_there() -> None:
    """The address that refuses is the proxy's."""
    port = closed_port()

    report = by("http://collector.example", HTTP_PROXY=f"http://127.0.0.1:{port}")

    assert report.wrong["what"] in ("connection", "protocol")
    assert f"the proxy 127.0.0.1:{port}: connection refused" in report.wrong["seen"]


def test_a_proxy_that_cannot_be_used(collector: Collector) -> None:
    """SOCKS."""
    report = by(collector.url, http_proxy="socks5://127.0.0.1:1080", NO_PROXY="")

    assert report.wrong["what"] == "proxy"
    assert "socks5" in report.wrong["seen"]
    assert "http_proxy" in report.wrong["do"]


def test_a_proxy_that_answers_for_the_collector() -> None:
    """Without TLS it is spoken to; its 503 is said to come from the way, perhaps."""
    with closing(HttpCollector()) as proxy:
        proxy.answer = (503, {}, b"")
        report = by("http://collector.example", http_proxy=proxy.url.removesuffix("/v1/traces"))

    assert report.wrong["what"] == "protocol"
    assert "no_proxy=collector.example goes past it" in report.wrong["do"]


# ---- Jaeger


class FakeJaeger(HttpCollector):
    """Answers its query API; has what it is told to have."""


def jaeger(traces: int, services: bytes = b'{"services": []}') -> Raw:
    """A query API that answers each trace with status *traces*."""

    def talk(connection: Any) -> None:
        head = connection.recv(65536)
        status, body = (200, services) if b"/services" in head else (traces, b"{}")
        connection.sendall(
            f"HTTP/1.1 {status} x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )

    return Raw(talk)


def test_a_jaeger_that_has_not_got_it(collector: Collector, monkeypatch: Any) -> None:
    """The collector took it, and sends it elsewhere."""
    with closing(jaeger(404)) as there:
        report = by(collector.url, "--jaeger", there.url, "--timeout", "1")

    assert report.code == 1
    assert report.wrong["what"] == "in Jaeger"
    assert "no such trace" in report.wrong["seen"]
    assert report.whole["trace"] in report.wrong["expected"]
    assert "collector's exporters" in report.wrong["do"]


def test_a_jaeger_that_is_none(collector: Collector) -> None:
    """Something else answers there."""
    with closing(jaeger(404, b"<html>")) as there:
        report = by(collector.url, "--jaeger", f"http://me:secret99@127.0.0.1:{there.port}")

    assert report.wrong["what"] == "in Jaeger"
    assert "does not answer as Jaeger's query API" in report.wrong["seen"]
    assert "secret99" not in report.text


def test_a_jaeger_that_is_not_there(collector: Collector) -> None:
    """Named by hand, so it is a fault."""
    report = by(collector.url, "--jaeger", f"http://127.0.0.1:{closed_port()}")

    assert report.wrong["what"] == "in Jaeger"
    assert "connection refused" in report.wrong["seen"]


def test_a_jaeger_address_that_is_none() -> None:
    """A wrong argument."""
    done = flowspan_command("doctor", "--jaeger", "localhost:16686")

    assert done.returncode == 2
    assert done.stderr == (
        "--jaeger='localhost:16686': expected an http:// or https:// URL, or none\n"
    )


# ---- several exporters


def test_each_exporter_is_tried(receiver: GrpcCollector) -> None:
    """`otlp_proto_http` beside `otlp_proto_grpc`: both ways, one of them wrong."""
    report = by(receiver.url, OTEL_TRACES_EXPORTER="otlp_proto_grpc,otlp_proto_http")

    ways = [line for line in report.lines if line["what"] == "protocol"]
    assert [way["state"] for way in ways] == ["well", "wrong"] or report.code == 1
    assert len(ways) >= 2


def test_json_holds_what_the_page_says(collector: Collector) -> None:
    """The shape of `--json`."""
    report = by(collector.url)

    assert set(report.whole) == {"flowspan", "well", "trace", "url", "lines"}
    keys = {"section", "what", "state", "seen", "expected", "do", "seconds", "variable"}
    assert all(set(line) == keys for line in report.lines)
    assert json.dumps(report.whole)
