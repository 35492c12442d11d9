"""What becomes of one request over HTTP, whatever the collector does with it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collectors import (
    HttpCollector,
    Proxy,
    closing,
    read_request,
    request_of,
    server_context,
    until_closed,
)
from flowspan.delivery import _answers
from flowspan.delivery._transport import Verdict

TIME = 20.0  # seconds, for what answers; nothing waits so long
SHORT = 0.3  # for what never does
PROTOBUF = {"Content-Type": "application/x-protobuf"}
A, U, C = Verdict.ACCEPTED, Verdict.UNAVAILABLE, Verdict.MISCONFIGURED
L, M = Verdict.TOO_LARGE, Verdict.MALFORMED


@pytest.fixture
def collector() -> Iterator[HttpCollector]:
    with closing(HttpCollector()) as collector:
        yield collector


# ---- what is sent


@pytest.mark.parametrize(
    ("compression", "unpack"),
    [("none", bytes), ("gzip", gzip.decompress), ("zstd", zstandard.decompress)],
)
def test_the_body_arrives_as_it_was_given(
    collector: HttpCollector, transport: Any, compression: str, unpack: Callable[[bytes], bytes]
):
    """Byte for byte, compressed as asked; a retry sends the very same bytes."""
    sender = transport(
        collector.url, compression=compression, headers={"Authorization": "Bearer a"}
    )
    body = request_of(100_000)

    answers = [sender.send(body, TIME), sender.send(body, TIME)]

    assert [answer.verdict for answer in answers] == [A, A]
    first, second = collector.bodies
    assert first == second
    assert unpack(first) == body
    sent = collector.headers[0]
    assert sent["content-type"] == "application/x-protobuf"
    assert sent.get("content-encoding", "none") == compression
    assert sent["user-agent"].startswith("OTel-OTLP-Exporter-Python/1.")
    assert sent["authorization"] == "Bearer a"
    assert sent["host"] == f"127.0.0.1:{collector.port}"


def test_user_and_password_of_the_endpoint_authorise(
    collector: HttpCollector, transport: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As basic authorisation; a header that is given wins, and a .netrc over neither."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password wrong\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    url = collector.url.replace("//", "//me:p%40ss%2F@") + "?key=value"

    transport(url).send(b"", TIME)
    transport(url, headers={"authorization": "Bearer a"}).send(b"", TIME)
    transport(collector.url, headers={"authorization": "Bearer b"}).send(b"", TIME)
    transport(collector.url).send(b"", TIME)

    basic = "Basic " + base64.b64encode(b"me:p@ss/").decode()
    sent = [headers.get("authorization") for headers in collector.headers]
    assert sent == [basic, "Bearer a", "Bearer b", None]
    assert collector.paths[0] == "/v1/traces?key=value"
    assert "me" not in collector.headers[0]["host"]


def test_an_ipv6_endpoint(transport: Any):
    """In brackets in the URL and in the Host header."""
    try:
        collector = HttpCollector(host="::1")
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with closing(collector):
        assert transport(collector.url).send(b"", TIME).verdict is A
        assert collector.headers[0]["host"] == f"[::1]:{collector.port}"


# ---- what answers mean


@pytest.mark.parametrize(
    ("verdict", "codes"),
    [
        (A, (200, 202, 204)),
        (M, (400, 422)),
        (C, (301, 302, 307, 308, 401, 402, 403, 404, 405, 406, 407, 410, 415, 431, 451, 501, 511)),
        (L, (413,)),
        (U, (408, 425, 429, 500, 502, 503, 504, 520, 599)),
    ],
)
def test_a_status_is_a_verdict(
    collector: HttpCollector, transport: Any, verdict: Verdict, codes: tuple[int, ...]
):
    """What nobody can change by waiting is not unavailable, and the other way round."""
    sender = transport(collector.url)
    for code in codes:
        collector.answer = (code, {"Content-Type": "text/plain"} if code > 299 else {}, b"")
        answer = sender.send(b"", TIME)

        assert answer.verdict is verdict, code
        if code > 299:
            assert answer.message.startswith(f"{collector.url}: status {code}")


def test_a_partial_success_is_told(collector: HttpCollector, transport: Any):
    """The request is done with; how many spans were refused, and why, is said."""
    sender = transport(collector.url)
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 3
    response.partial_success.error_message = "too old"
    as_json = json.dumps({"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}})

    for kind, body in (
        ("application/x-protobuf", response.SerializeToString()),
        ("application/json", as_json.encode()),
    ):
        collector.answer = (200, {"Content-Type": kind}, body)
        answer = sender.send(b"", TIME)

        assert (answer.verdict, answer.rejected) == (A, 3)
        assert answer.message == f"{collector.url}: rejected 3 spans: too old"


@pytest.mark.parametrize(
    ("kind", "body", "verdict"),
    [
        ("", b"", A),
        ("application/x-protobuf", ExportTraceServiceResponse().SerializeToString(), A),
        ("application/json", b"{}", A),
        ("application/json; charset=utf-8", b'{"partialSuccess":{}}', A),
        ("text/plain; charset=utf-8", b"{}", A),
        ("text/html", b"", C),
        ("text/html; charset=utf-8", b"<html>Log in</html>", C),
        ("", b"\n<!DOCTYPE html><title>Log in</title>", C),
        ("application/json", b"nonsense", C),
        ("application/json", b"[]", C),
        ("application/x-protobuf", b"\xff\xff\xff", C),
        ("text/plain", b"OK\n", A),
        ("", b"ok", A),
        ("text/plain", b"Hello " * 100, C),
        ("application/x-protobuf", b"ok", C),
        ("", b"\xffx" * 100_000, C),
    ],
)
def test_a_success_that_is_not_otlp(
    collector: HttpCollector, transport: Any, kind: str, body: bytes, verdict: Verdict
):
    """The page of a captive network took no spans, whatever its status says."""
    collector.answer = (200, {"Content-Type": kind} if kind else {}, body)

    answer = transport(collector.url).send(b"", TIME)

    assert answer.verdict is verdict
    assert ("not an OTLP receiver" in answer.message) is (verdict is C)


def test_a_page_with_status_400_is_no_judgement_on_spans(collector: HttpCollector, transport: Any):
    """Else every span there is would be taken for poison."""
    collector.answer = (400, {"Content-Type": "text/html"}, b"<html>Bad Request</html>")

    answer = transport(collector.url).send(b"", TIME)

    assert answer.verdict is C
    assert "web page" in answer.message


def test_too_large_by_another_status(collector: HttpCollector, transport: Any):
    """The Collector's word for 413."""
    status = Status(code=3, message="http: request body too large").SerializeToString()
    collector.answer = (400, PROTOBUF, status)

    assert transport(collector.url).send(b"", TIME).verdict is L


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("999999", 3600.0),
        ("in 30 seconds", 30.0),
        ("30 seconds ago", 0.0),
        ("in 3 days", 3600.0),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(
    collector: HttpCollector,
    transport: Any,
    monkeypatch: pytest.MonkeyPatch,
    header: str,
    seconds: float | None,
):
    """Seconds or a date; never negative, never more than an hour, nonsense is none."""
    now = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    monkeypatch.setattr(_answers.time, "time", now.timestamp)
    dates = {"in 30 seconds": 30, "30 seconds ago": -30, "in 3 days": 3 * 86400}
    if header in dates:
        header = format_datetime(now + timedelta(seconds=dates[header]), usegmt=True)
    collector.answer = (503, {"Retry-After": header}, b"")

    assert transport(collector.url).send(b"", TIME).retry_after == seconds


def test_a_delay_in_the_body(collector: HttpCollector, transport: Any):
    """OTLP's errors are google.rpc.Status, which may hold a RetryInfo."""
    info, detail = RetryInfo(), AnyMessage()
    info.retry_delay.FromMilliseconds(2500)
    detail.Pack(info)
    status = Status(code=14, message="overloaded", details=[detail]).SerializeToString()
    collector.answer = (503, PROTOBUF, status)

    answer = transport(collector.url).send(b"", TIME)

    assert answer.retry_after == 2.5
    assert answer.message == f"{collector.url}: status 503: overloaded"


@pytest.mark.parametrize(
    "body", [b"token sesame-open is wrong\nline " + b"x" * 999, b'{"message": "sesame-open"}']
)
def test_a_message_is_short_and_tells_no_secret(
    collector: HttpCollector, transport: Any, body: bytes
):
    """Whatever the server repeats of what it was sent."""
    collector.answer = (401, {"Content-Type": "text/plain"}, body)
    url = collector.url.replace("//", "//me:pass-word@") + "?key=sesame-key"
    sender = transport(url, headers={"Authorization": "Bearer sesame-open", "x-key": "sesame-key"})

    message = sender.send(b"", TIME).message

    assert message.startswith(f"{collector.url}: status 401: the credentials in OTEL_")
    assert len(message) <= 200
    assert message.isprintable()
    assert "sesame" not in message
    assert "pass-word" not in message


def test_a_redirect_is_not_followed(collector: HttpCollector, transport: Any):
    """The credentials were meant for one host."""
    with closing(HttpCollector()) as other:
        collector.answer = (307, {"Location": f"{other.url}?key=sesame"}, b"")
        answer = transport(collector.url, headers={"authorization": "Bearer a"}).send(b"", TIME)

        assert answer.verdict is C
        assert f"redirects to {other.url}; name the final address" in answer.message
        assert other.bodies == []


@given(st.binary(max_size=200), st.booleans(), st.text(max_size=60))
@example(b'{"partialSuccess": {"rejectedSpans": []}}', True, "Wed, 99 Jan 2030 99:99:99 GMT")
@example(b'{"partialSuccess": {"rejectedSpans": Infinity}}', True, "9" * 400)
@example(b"[" * 50_000, True, "Sat, 01 Jan 99999 00:00:00 GMT")
def test_no_answer_is_too_strange(body: bytes, is_json: bool, text: str):
    """Whatever the bytes are, they are read or they are not, and nothing is raised."""
    found = _answers.partial_success(body, is_json)
    assert found is None or (found[0] >= 0 and isinstance(found[1], str))
    message, delay = _answers.status(body)
    assert isinstance(message, str)
    for seconds in (delay, _answers.retry_after(text)):
        assert seconds is None or 0 <= seconds <= 3600
    assert len(_answers.one_line(_answers.words(body, text) + text, ["a"])) <= 200


# ---- connections


def test_a_connection_is_kept(collector: HttpCollector, transport: Any):
    """Many requests, one connection."""
    sender = transport(collector.url)

    assert {sender.send(request_of(), TIME).verdict for _ in range(20)} == {A}
    assert collector.connections == 1


def test_several_senders_at_once(collector: HttpCollector, transport: Any):
    """Each has a connection of its own, and no request gets another's answer or body."""
    sender = transport(collector.url)
    bodies = [request_of(50_000, name) for name in "abcdefgh"] * 4

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda body: sender.send(body, TIME), bodies))

    assert {answer.verdict for answer in answers} == {A}
    assert sorted(collector.bodies) == sorted(bodies)
    assert collector.connections <= 8


def test_an_idle_connection_that_was_closed_costs_nothing(collector: HttpCollector, transport: Any):
    """The next request takes a new one, and nobody hears of it."""
    sender = transport(collector.url)
    for _ in range(3):
        assert sender.send(b"", TIME).verdict is A
        collector.drop_connections()

    assert collector.connections == 3


def test_a_connection_that_closes_as_it_is_used_is_replaced(raw: Any, transport: Any):
    """The server took it for idle while the request was under way: that was no answer."""

    def once(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.recv(1)  # the second request has begun

    server = raw(once)
    sender = transport(server.url)

    assert sender.send(b"", TIME).verdict is A
    assert sender.send(b"", TIME).verdict is A
    assert server.connections == 2


def test_a_server_that_restarts(transport: Any):
    """Unavailable while it is away, then a new connection to the same place."""
    with closing(HttpCollector()) as collector:
        sender = transport(collector.url)
        assert sender.send(b"", TIME).verdict is A
    answer = sender.send(b"", TIME)
    assert (answer.verdict, answer.message) == (U, f"{collector.url}: connection refused")
    with closing(HttpCollector(port=collector.port)):
        assert sender.send(b"", TIME).verdict is A


def test_close_wakes_who_waits(raw: Any, transport: Any):
    """A sender that waits for an answer ends at once, and nothing is sent from then on."""
    asked = threading.Event()

    def hang(connection: socket.socket) -> None:
        read_request(connection)
        asked.set()
        until_closed(connection)

    sender = transport(raw(hang).url)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(sender.send(b"", 3600)))
    thread.start()
    assert asked.wait(TIME)
    sender.close()
    thread.join()

    assert answers[0].verdict is U
    sender.close()
    after = sender.send(b"", TIME)
    assert (after.verdict, after.message.partition(": ")[2]) == (U, "the transport is closed")


# ---- faults


def _nothing(connection: socket.socket) -> None:
    until_closed(connection)


def _closed(connection: socket.socket) -> None:
    read_request(connection)


def _cut_in_the_head(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")


def _cut_in_the_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")


def _garbage(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(os.urandom(5) + b"\x7f" * 2000 + b"\n" * 10)


def _long_line(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 " + b"x" * 100_000)


def _wrong_length(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
    until_closed(connection)


def _drips_its_head(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


def _drips_its_body(connection: socket.socket) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.01)


def _reads_nothing(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.recv(1, socket.MSG_PEEK)
    while connection.recv(1):
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("talk", "time_given", "says"),
    [
        (_nothing, SHORT, "timed out"),
        (_drips_its_head, SHORT, "timed out"),
        (_drips_its_body, SHORT, "timed out"),
        (_reads_nothing, SHORT, "timed out"),
        (_closed, TIME, "closed without an answer"),
        (_cut_in_the_head, TIME, "broken"),
        (_cut_in_the_body, TIME, "broken"),
        (_garbage, TIME, "not HTTP"),
        (_long_line, TIME, "broken HTTP"),
        (_wrong_length, TIME, "broken HTTP"),
    ],
)
def test_a_fault_is_unavailable(
    raw: Any,
    transport: Any,
    talk: Callable[[socket.socket], None],
    time_given: float,
    says: str,
):
    """No exception, no more than the time given, and never accepted without a whole answer."""
    answer = transport(raw(talk).url).send(request_of(8_000_000), time_given)

    assert (answer.verdict, answer.rejected) == (U, 0)
    assert says in answer.message


def test_no_time_and_no_host(transport: Any):
    """What cannot even begin."""
    assert transport("http://127.0.0.1:9").send(b"", 0).verdict is U
    answer = transport("http://name.invalid:4318").send(b"", TIME)
    assert answer.verdict is U
    assert "not found" in answer.message
    assert transport("http://" + "x" * 70 + ".invalid").send(b"", TIME).verdict is U


def test_a_lookup_that_hangs_keeps_the_time(transport: Any, monkeypatch: pytest.MonkeyPatch):
    """It cannot be interrupted; nobody waits for it longer than given, or starts another."""
    lookups, go_on = [], threading.Event()
    real = socket.getaddrinfo

    def slow(host: str, *arguments: Any, flags: int = 0, **how: Any) -> Any:
        if flags == 0:
            lookups.append(host)
            go_on.wait(TIME)
        return real(host, *arguments, flags=flags, **how)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    sender = transport("http://localhost:9")
    answers = [sender.send(b"", 0.05), sender.send(b"", 0.05)]
    go_on.set()

    assert {answer.verdict for answer in answers} == {U}
    assert "still being looked up" in answers[0].message
    assert lookups == ["localhost"]
    assert "refused" in sender.send(b"", TIME).message


def test_an_answer_before_all_was_sent(raw: Any, transport: Any):
    """A server that refuses a large body early is understood, not just broken."""

    def refuse(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        connection.recv(1)
        until_closed(connection)

    assert transport(raw(refuse).url).send(request_of(30_000_000), TIME).verdict is L


def test_another_protocol_on_that_port(raw: Any, transport: Any, certificates: Path):
    """gRPC, or TLS: what to change is said."""

    def grpc_like(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\0" * 18)

    answer = transport(raw(grpc_like).url).send(b"", TIME)
    assert answer.verdict is C
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in answer.message

    def go(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        )

    answer = transport(raw(go).url).send(b"", TIME)
    assert (answer.verdict, "https://" in answer.message) == (C, True)

    def alert(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46\n")

    answer = transport(raw(alert).url).send(b"", TIME)
    assert (answer.verdict, "https://" in answer.message) == (C, True)

    def plain(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    answer = transport(raw(plain).url.replace("http:", "https:")).send(b"", TIME)
    assert (answer.verdict, "does not speak TLS" in answer.message) == (C, True)


# ---- TLS


def test_tls(certificates: Path, transport: Any):
    """With the CA it is trusted, a large body too, and the connection is kept."""
    with closing(HttpCollector(context=server_context(certificates))) as collector:
        sender = transport(collector.url, certificate=str(certificates / "ca.pem"))
        body = request_of(3_000_000)
        assert [sender.send(body, TIME).verdict for _ in range(3)] == [A] * 3
        assert collector.bodies == [body] * 3
        assert collector.connections == 1


def test_a_certificate_that_is_not_trusted(certificates: Path, transport: Any):
    """By the system's CAs, or by another: a person has to change something."""
    with closing(HttpCollector(context=server_context(certificates))) as collector:
        for settings in ({}, {"certificate": str(certificates / "other.pem")}):
            answer = transport(collector.url, **settings).send(b"", TIME)
            assert answer.verdict is C
            assert "the server's certificate is not trusted" in answer.message
        assert collector.bodies == []


def test_mutual_tls(certificates: Path, transport: Any):
    """A server that wants to know us: with our certificate, and without."""
    context = server_context(certificates, mutual=True)
    with closing(HttpCollector(context=context)) as collector:
        ours = {
            "certificate": str(certificates / "ca.pem"),
            "client_key": str(certificates / "client.key"),
            "client_certificate": str(certificates / "client.pem"),
        }
        assert transport(collector.url, **ours).send(b"", TIME).verdict is A
        without = transport(collector.url, certificate=ours["certificate"]).send(b"", TIME)
        assert without.verdict is C
        assert "refuses our TLS or certificate" in without.message
        wrong = ours | {"client_key": str(certificates / "server.key")}
        answer = transport(collector.url, **wrong).send(b"", TIME)
        assert answer.verdict is C
        assert "our certificate in" in answer.message
        nothing = transport(collector.url, certificate=__file__).send(b"", TIME)
        assert nothing.verdict is C
        assert "cannot be used" in nothing.message


def test_mutual_tls_with_the_cas_of_the_system(
    certificates: Path, transport: Any, monkeypatch: pytest.MonkeyPatch
):
    """A client's certificate needs no CA file beside it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    context = server_context(certificates, mutual=True)
    with closing(HttpCollector(context=context)) as collector:
        sender = transport(
            collector.url,
            client_key=str(certificates / "client.key"),
            client_certificate=str(certificates / "client.pem"),
        )
        assert sender.send(b"", TIME).verdict is A


# ---- proxies


def test_a_proxy_of_the_environment(
    collector: HttpCollector, transport: Any, monkeypatch: pytest.MonkeyPatch
):
    """The whole address in the request, and the proxy's own credentials."""
    with closing(Proxy()) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//p:q%40@"))
        assert transport(collector.url).send(request_of(), TIME).verdict is A
        (head,) = proxy.heads
        assert head.startswith(f"POST {collector.url} HTTP/1.1\r\n".encode())
        assert base64.b64encode(b"p:q@") in head


def test_a_tunnel_for_https(certificates: Path, transport: Any, monkeypatch: pytest.MonkeyPatch):
    """CONNECT, then TLS with the collector itself; the proxy sees no header of ours."""
    with closing(HttpCollector(context=server_context(certificates)), Proxy()) as both:
        collector, proxy = both
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        sender = transport(collector.url, certificate=str(certificates / "ca.pem"))
        assert [sender.send(request_of(500_000), TIME).verdict for _ in range(2)] == [A, A]
        (head,) = proxy.heads
        assert head.startswith(f"CONNECT 127.0.0.1:{collector.port} HTTP/1.1\r\n".encode())


def test_a_proxy_that_speaks_tls(
    certificates: Path, transport: Any, collector: HttpCollector, monkeypatch: pytest.MonkeyPatch
):
    """To an http:// endpoint; TLS inside TLS is more than there is, and it is said."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ca.pem"))
    with closing(Proxy(context=server_context(certificates))) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert transport(collector.url).send(request_of(), TIME).verdict is A
        assert len(proxy.heads) == 1
        answer = transport("https://127.0.0.1:9").send(b"", TIME)
        assert answer.verdict is C
        assert "a proxy by https:// cannot carry TLS" in answer.message


@pytest.mark.parametrize(
    ("no_proxy", "is_used"),
    [
        ("", True),
        ("*", False),
        ("127.0.0.1", False),
        ("example.com, 127.0.0.1:{port}", False),
        ("127.0.0.1:1", True),
        ("127.0.0.0/8", False),
        ("10.0.0.0/8,.1", True),
        ("27.0.0.1", True),
    ],
)
def test_no_proxy(
    collector: HttpCollector,
    transport: Any,
    monkeypatch: pytest.MonkeyPatch,
    no_proxy: str,
    is_used: bool,
):
    """Names, addresses, networks and ports that are left out."""
    with closing(Proxy()) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", no_proxy.format(port=collector.port))
        assert transport(collector.url).send(b"", TIME).verdict is A
        assert bool(proxy.heads) is is_used


@pytest.mark.parametrize(
    ("answer", "verdict", "says"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", C, "other credentials"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", C, "status 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", U, "status 502"),
        (b"garbage\r\n\r\n", U, "status 0"),
        (b"HTTP/1.1 200", U, "no HTTP answer"),
    ],
)
def test_a_proxy_that_refuses(
    transport: Any,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    verdict: Verdict,
    says: str,
):
    """Whose fault it is, and without the proxy's password."""
    with closing(Proxy(refusal=answer)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//me:sesame@"))
        found = transport("https://127.0.0.1:9").send(b"", TIME)
    assert found.verdict is verdict
    assert says in found.message
    assert "sesame" not in found.message


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://me:sesame@[", "://"])
def test_a_proxy_that_cannot_be_used(transport: Any, monkeypatch: pytest.MonkeyPatch, proxy: str):
    """Said with each attempt; the spans wait."""
    monkeypatch.setenv("http_proxy", proxy)

    answer = transport("http://127.0.0.1:9").send(b"", TIME)

    assert answer.verdict is C
    assert "proxy" in answer.message
    assert "sesame" not in answer.message
