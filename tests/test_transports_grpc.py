"""What becomes of one request over gRPC, whatever the collector does with it."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collectors import (
    GrpcCollector,
    Proxy,
    closing,
    request_of,
    server_context,
    until_closed,
)
from flowspan.delivery._transport import Transport, Verdict

TIME = 20.0  # seconds, for what answers; nothing waits so long
SHORT = 0.3  # for what never does
A, U, C = Verdict.ACCEPTED, Verdict.UNAVAILABLE, Verdict.MISCONFIGURED
L, M = Verdict.TOO_LARGE, Verdict.MALFORMED


@pytest.fixture
def collector() -> Iterator[GrpcCollector]:
    with closing(GrpcCollector()) as collector:
        yield collector


@pytest.fixture
def sender(transport: Any) -> Callable[..., Transport]:
    """`sender(url)`: a gRPC transport."""
    return lambda endpoint, **settings: transport(endpoint, protocol="grpc", **settings)


# ---- what is sent


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("size", [0, 1, 65_000, 66_000, 4_000_000])
def test_the_body_arrives_as_it_was_given(
    collector: GrpcCollector, sender: Any, compression: str, size: int
):
    """Whatever its size is against the windows and frames of HTTP/2."""
    body = request_of(size) if size else b""
    one = sender(collector.url, compression=compression)

    assert [one.send(body, TIME).verdict for _ in range(3)] == [A, A, A]
    assert collector.bodies == [body] * 3
    assert len(collector.peers) == 1


def test_headers_are_metadata(collector: GrpcCollector, sender: Any):
    """In lower case; what belongs to the protocol is not theirs to say."""
    given = {"Authorization": "Bearer a", "X-Key": "b c", "grpc-timeout": "1n", "TE": "x"}
    given |= {"Content-Type": "text/html", "connection": "close", "x-data-bin": "abc"}

    assert sender(collector.url, headers=given).send(b"", TIME).verdict is A

    (headers,) = collector.headers
    assert headers["authorization"] == "Bearer a"
    assert headers["x-key"] == "b c"
    assert headers["x-data-bin"] == b"abc"
    assert headers["user-agent"].startswith("OTel-OTLP-Exporter-Python/1.")


def test_zstd_becomes_gzip(collector: GrpcCollector, sender: Any, caplog: pytest.LogCaptureFixture):
    """gRPC has no zstd: it is said, and the messages are still smaller."""
    with caplog.at_level(logging.WARNING, "flowspan"):
        one = sender(collector.url, compression="zstd")

    assert one.send(request_of(), TIME).verdict is A
    assert collector.bodies == [request_of()]
    (record,) = caplog.records
    assert record.getMessage().endswith("gRPC has no zstd; using gzip")


# ---- what answers mean


@pytest.mark.parametrize(
    ("verdict", "codes"),
    [
        (M, "INVALID_ARGUMENT"),
        (
            C,
            "UNAUTHENTICATED PERMISSION_DENIED UNIMPLEMENTED NOT_FOUND FAILED_PRECONDITION "
            "ALREADY_EXISTS",
        ),
        (
            U,
            "UNAVAILABLE CANCELLED DEADLINE_EXCEEDED ABORTED OUT_OF_RANGE DATA_LOSS UNKNOWN "
            "INTERNAL RESOURCE_EXHAUSTED",
        ),
    ],
)
def test_a_status_is_a_verdict(collector: GrpcCollector, sender: Any, verdict: Verdict, codes: str):
    """By OTLP's table, and careful where a server only failed."""
    one = sender(collector.url)
    for name in codes.split():
        collector.answer = lambda context, name=name: context.abort(
            getattr(grpc.StatusCode, name), "for a reason, 100 %: ü"
        )
        answer = one.send(b"", TIME)

        assert answer.verdict is verdict, name
        assert answer.message.startswith(f"{collector.url}: gRPC status {name}: ")
        assert answer.message.endswith("for a reason, 100 %: ü")


def _details(seconds: float) -> tuple[tuple[str, bytes], ...]:
    info, detail = RetryInfo(), AnyMessage()
    info.retry_delay.FromMilliseconds(int(seconds * 1000))
    detail.Pack(info)
    status = Status(code=8, message="busy", details=[AnyMessage(), detail])
    return (("grpc-status-details-bin", status.SerializeToString()),)


@pytest.mark.parametrize(
    ("words", "details", "verdict", "delay"),
    [
        ("quota exceeded", (), U, None),
        ("quota exceeded", _details(2.5), U, 2.5),
        ("message larger than max", _details(1), U, 1.0),
        ("busy", _details(99999), U, 3600.0),
        ("busy", (("grpc-status-details-bin", b"\xff\xffnonsense"),), U, None),
        ("busy", (("google.rpc.retryinfo-bin", b"\x0a\x02\x08\x07"),), U, 7.0),
        ("grpc: received message larger than max (5 vs. 4)", (), L, None),
        ("SERVER: Received message larger than max (5 vs. 4)", (), L, None),
        ("grpc: received message after decompression larger than max 5 vs. 4", (), L, None),
        ("gRPC message exceeds maximum size 4: 5", (), L, None),
    ],
)
def test_resource_exhausted(
    collector: GrpcCollector,
    sender: Any,
    words: str,
    details: Any,
    verdict: Verdict,
    delay: float | None,
):
    """Too large if it says so; with a time to wait, it is a matter of time."""

    def answer(context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata(details)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, words)
        raise AssertionError

    collector.answer = answer

    found = sender(collector.url).send(b"", TIME)
    assert (found.verdict, found.retry_after) == (verdict, delay)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_message_over_the_servers_limit(collector: GrpcCollector, sender: Any, compression: str):
    """grpcio's own 4 MiB, sent or unpacked; the connection goes on."""
    one = sender(collector.url, compression=compression)

    assert one.send(request_of(4_300_000), TIME).verdict is L
    assert one.send(request_of(4_000_000), TIME).verdict is A


def test_a_message_that_cannot_be_decoded(collector: GrpcCollector, sender: Any):
    """Servers call it their internal error; it is something in the request."""
    collector.answer = lambda context: context.abort(
        grpc.StatusCode.INTERNAL, "grpc: error unmarshalling request: invalid UTF-8"
    )

    assert sender(collector.url).send(b"", TIME).verdict is M


def test_a_partial_success_is_told(collector: GrpcCollector, sender: Any):
    """The request is done with; how many spans were refused, and why, is said."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 3
    response.partial_success.error_message = "too old"
    collector.answer = lambda context: response.SerializeToString()

    answer = sender(collector.url).send(b"", TIME)

    assert (answer.verdict, answer.rejected) == (A, 3)
    assert answer.message == f"{collector.url}: rejected 3 spans: too old"


def test_an_answer_that_is_not_otlp(collector: GrpcCollector, sender: Any):
    """Some other service of that name."""
    collector.answer = lambda context: b"\xff\xff\xff"

    assert sender(collector.url).send(b"", TIME).verdict is C


def test_a_server_without_the_service(sender: Any):
    """It says so, and so do we."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    answer = sender(f"http://127.0.0.1:{port}").send(b"", TIME)
    server.stop(None).wait()

    assert answer.verdict is C
    assert "UNIMPLEMENTED: it takes no spans" in answer.message


# ---- connections


def test_several_senders_at_once(collector: GrpcCollector, sender: Any):
    """Each has a connection of its own, and no request gets another's body."""
    one = sender(collector.url)
    bodies = [request_of(200_000, name) for name in "abcdefgh"] * 4

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda body: one.send(body, TIME), bodies))

    assert {answer.verdict for answer in answers} == {A}
    assert sorted(collector.bodies) == sorted(bodies)
    assert len(collector.peers) <= 8


def test_a_server_that_restarts(sender: Any):
    """Unavailable while it is away, then a new connection to the same place."""
    with closing(GrpcCollector()) as collector:
        one = sender(collector.url)
        assert one.send(b"", TIME).verdict is A
    answer = one.send(b"", TIME)
    assert (answer.verdict, answer.message) == (U, f"{collector.url}: connection refused")
    with closing(GrpcCollector(port=collector.port)):
        assert one.send(b"", TIME).verdict is A


def test_a_server_that_restarts_between_two_requests(sender: Any):
    """The closed connection is noticed before it is used."""
    with closing(GrpcCollector()) as collector:
        one = sender(collector.url)
        assert one.send(b"", TIME).verdict is A
    with closing(GrpcCollector(port=collector.port)):
        assert one.send(request_of(1_000_000), TIME).verdict is A


@pytest.mark.parametrize("scheme", ["", "dns:///", "dns:", "ipv4:"])
def test_targets(collector: GrpcCollector, sender: Any, scheme: str):
    """As grpc names them."""
    one = sender(f"{scheme}127.0.0.1:{collector.port}", insecure=True)

    assert one.send(b"", TIME).verdict is A


def test_the_next_address_is_tried(collector: GrpcCollector, sender: Any):
    """One address that refuses does not cost the request."""
    one = sender(f"ipv4:127.0.0.1:9,127.0.0.1:{collector.port}", insecure=True)

    assert one.send(b"", TIME).verdict is A


def test_ipv6_targets(sender: Any):
    """In brackets, with or without a resolver's name."""
    with closing(GrpcCollector(address="[::1]:0")) as collector:
        if not collector.port:
            pytest.skip("no IPv6 on this machine")
        for target in (f"[::1]:{collector.port}", f"ipv6:[::1]:{collector.port}"):
            assert sender(target, insecure=True).send(b"", TIME).verdict is A


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets here")
@pytest.mark.parametrize("scheme", ["unix:", "unix://"])
def test_a_unix_socket(sender: Any, tmp_path: Path, scheme: str):
    """A path instead of a host."""
    path = tmp_path / "c.sock"
    with closing(GrpcCollector(address=f"unix:{path}")):
        assert sender(f"{scheme}{path}", insecure=True).send(b"", TIME).verdict is A


def test_xds_cannot_be_used(sender: Any):
    """It is said with each attempt; the spans wait."""
    answer = sender("xds:///collector", insecure=True).send(b"", TIME)

    assert (answer.verdict, "xds" in answer.message) == (C, True)


def test_close_wakes_who_waits(raw: Any, sender: Any):
    """A sender that waits for an answer ends at once, and nothing is sent from then on."""
    asked = threading.Event()

    def hang(connection: socket.socket) -> None:
        connection.recv(100)
        asked.set()
        until_closed(connection)

    one = sender(raw(hang).url)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(one.send(b"", 3600)))
    thread.start()
    assert asked.wait(TIME)
    one.close()
    thread.join()

    assert answers[0].verdict is U
    one.close()
    assert one.send(b"", TIME).message.endswith("the transport is closed")


# ---- TLS


def test_tls(certificates: Path, sender: Any):
    """With the CA it is trusted, by a large body too, and the connection is kept."""
    with closing(GrpcCollector(certificates=certificates)) as collector:
        one = sender(collector.url, certificate=str(certificates / "ca.pem"))
        body = request_of(3_000_000)
        assert [one.send(body, TIME).verdict for _ in range(3)] == [A] * 3
        assert len(collector.peers) == 1
        # without a scheme TLS is the default
        one = sender(f"localhost:{collector.port}", certificate=str(certificates / "ca.pem"))
        assert one.send(b"", TIME).verdict is A


def test_a_certificate_that_is_not_trusted(certificates: Path, sender: Any):
    """By the system's CAs, or by another: a person has to change something."""
    with closing(GrpcCollector(certificates=certificates)) as collector:
        for settings in ({}, {"certificate": str(certificates / "other.pem")}):
            answer = sender(collector.url, **settings).send(b"", TIME)
            assert answer.verdict is C
            assert "the server's certificate is not trusted" in answer.message


def test_mutual_tls(certificates: Path, sender: Any, monkeypatch: pytest.MonkeyPatch):
    """With our certificate, without, and with the system's CAs."""
    with closing(GrpcCollector(certificates=certificates, mutual=True)) as collector:
        ours = {
            "client_key": str(certificates / "client.key"),
            "client_certificate": str(certificates / "client.pem"),
        }
        authority = str(certificates / "ca.pem")
        assert sender(collector.url, certificate=authority, **ours).send(b"", TIME).verdict is A
        without = sender(collector.url, certificate=authority).send(b"", TIME)
        assert without.verdict is not A  # grpcio hangs up without a word
        assert "certificate" in without.message
        monkeypatch.setenv("SSL_CERT_FILE", authority)
        assert sender(collector.url, **ours).send(b"", TIME).verdict is A


def test_tls_on_one_side_only(certificates: Path, collector: GrpcCollector, sender: Any):
    """Neither is accepted, and neither hangs."""
    with closing(GrpcCollector(certificates=certificates)) as secure:
        plain = sender(secure.url.replace("https:", "http:")).send(b"", TIME)
        assert plain.verdict in (U, C)
    secured = sender(collector.url.replace("http:", "https:")).send(b"", TIME)
    assert secured.verdict in (U, C)


# ---- proxies


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_a_proxy_of_the_environment(
    collector: GrpcCollector, sender: Any, monkeypatch: pytest.MonkeyPatch, variable: str
):
    """A tunnel, with TLS or without, as grpc makes it."""
    with closing(Proxy()) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert sender(collector.url).send(request_of(500_000), TIME).verdict is A
        assert (
            sender(f"ipv4:127.0.0.1:{collector.port}", insecure=True).send(b"", TIME).verdict is A
        )
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert sender(collector.url).send(b"", TIME).verdict is A
        (head,) = proxy.heads
        assert head.startswith(f"CONNECT 127.0.0.1:{collector.port} HTTP/1.1\r\n".encode())


def test_a_proxy_and_tls(certificates: Path, sender: Any, monkeypatch: pytest.MonkeyPatch):
    """TLS is with the collector."""
    with closing(GrpcCollector(certificates=certificates), Proxy()) as both:
        collector, proxy = both
        monkeypatch.setenv("https_proxy", proxy.url)
        one = sender(collector.url, certificate=str(certificates / "ca.pem"))
        assert one.send(request_of(500_000), TIME).verdict is A
        assert len(proxy.heads) == 1


# ---- faults


def _nothing(connection: socket.socket) -> None:
    until_closed(connection)


def _closed(connection: socket.socket) -> None:
    connection.recv(65536)


def _garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x7f" * 5000)


def _garbage_later(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(_frame(4, 0, 0, b"") + _frame(1, 4, 1, os.urandom(50)) + b"\x7f" * 5000)


def _a_frame_too_large(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(_frame(4, 0, 0, b"") + b"\xff\xff\xff\0\0\0\0\0\1")
    until_closed(connection)


def _cut_in_a_frame(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(_frame(4, 0, 0, b"") + _frame(1, 4, 1, b"x" * 100)[:50])


def _drips(connection: socket.socket) -> None:
    connection.sendall(_frame(4, 0, 0, b""))
    while True:
        for byte in _frame(6, 0, 0, b"8 octets"):
            connection.sendall(bytes([byte]))
            time.sleep(0.005)


def _goes_away(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(_frame(4, 0, 0, b"") + _frame(7, 0, 0, struct.pack(">II", 0, 11) + b"calm"))
    until_closed(connection)


def _resets(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(_frame(4, 0, 0, b"") + _frame(3, 0, 1, struct.pack(">I", 2)))
    until_closed(connection)


def _has_no_room(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(_frame(4, 0, 0, b"") + _frame(3, 0, 1, struct.pack(">I", 7)))
    until_closed(connection)


def _no_window(connection: socket.socket) -> None:
    connection.sendall(_frame(4, 0, 0, struct.pack(">HI", 4, 0)))
    until_closed(connection)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


@pytest.mark.parametrize(
    ("talk", "time_given", "says"),
    [
        (_nothing, SHORT, "timed out"),
        (_drips, SHORT, "timed out"),
        (_no_window, SHORT, "timed out"),
        (_closed, TIME, ""),
        (_garbage, TIME, "not sound HTTP/2"),
        (_garbage_later, TIME, "not sound HTTP/2"),
        (_a_frame_too_large, TIME, "not sound HTTP/2"),
        (_cut_in_a_frame, TIME, ""),
        (_goes_away, TIME, "the server closes its connections: calm"),
        (_resets, TIME, "broke the request off (INTERNAL_ERROR)"),
        (_has_no_room, TIME, "no room for another request"),
    ],
)
def test_a_fault_is_unavailable(
    raw: Any,
    sender: Any,
    talk: Callable[[socket.socket], None],
    time_given: float,
    says: str,
):
    """No exception, no more than the time given."""
    answer = sender(raw(talk).url).send(request_of(8_000_000), time_given)

    assert (answer.verdict, answer.rejected) == (U, 0)
    assert answer.message
    assert says in answer.message


def _http1(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def _page(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"<!DOCTYPE HTML>\n<html>Bad request version</html>")


def _go_tls(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(
        b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server."
    )


def _alert(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x15\x03\x01\x00\x02\x02\x46")


@pytest.mark.parametrize(
    ("talk", "says"),
    [
        (_http1, "looks like HTTP/1, not gRPC: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf?"),
        (_page, "looks like HTTP/1"),
        (_go_tls, "speaks TLS: it takes https://"),
        (_alert, "speaks TLS: it takes https://"),
    ],
)
def test_another_protocol_on_that_port(
    raw: Any, sender: Any, talk: Callable[[socket.socket], None], says: str
):
    """What to change is said."""
    answer = sender(raw(talk).url).send(b"", TIME)

    assert answer.verdict is C
    assert says in answer.message


# ---- HTTP/2 by the letter


class _Peer:
    """An HTTP/2 server that answers each request by `act(h2, stream_id)`."""

    def __init__(
        self,
        *acts: Callable[[H2Connection, int], bool],
        heard: Callable[[bytes], None] = lambda data: None,
    ) -> None:
        self._acts = list(acts)
        self._heard = heard

    def __call__(self, connection: socket.socket) -> None:
        h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        h2.initiate_connection()
        connection.sendall(h2.data_to_send())
        while data := connection.recv(65536):
            for event in h2.receive_data(data):
                if isinstance(event, DataReceived):
                    self._heard(event.data)
                    h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, StreamEnded):
                    act = self._acts.pop(0) if self._acts else answer_ok
                    if act(h2, event.stream_id):
                        connection.sendall(h2.data_to_send())
                        return
            connection.sendall(h2.data_to_send())


def answer_ok(h2: H2Connection, stream: int, code: str = "0") -> bool:
    h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    h2.send_data(stream, b"\0\0\0\0\0")
    h2.send_headers(stream, [("grpc-status", code)], end_stream=True)
    return False


def test_an_answer_after_the_goodbye(raw: Any, sender: Any):
    """A server that restarts in order answers what it took; the next request goes elsewhere."""

    def leave(h2: H2Connection, stream: int) -> bool:
        goodbye = _frame(7, 0, 0, struct.pack(">II", stream, 0))
        answer_ok(h2, stream)
        answer = h2.data_to_send()
        h2._data_to_send = bytearray(goodbye + answer)
        return False

    server = raw(_Peer(leave))
    one = sender(server.url)

    assert [one.send(b"", TIME).verdict for _ in range(3)] == [A, A, A]
    assert server.connections == 2


def test_a_request_that_was_not_looked_at_goes_to_another_connection(raw: Any, sender: Any):
    """The goodbye of an idle connection crosses the next request."""

    def leave(h2: H2Connection, stream: int) -> bool:
        h2.close_connection(last_stream_id=stream - 2)
        return True

    server = raw(_Peer(answer_ok, leave))
    one = sender(server.url)

    assert [one.send(b"", TIME).verdict for _ in range(2)] == [A, A]
    assert server.connections == 2


def test_an_answer_of_something_else(raw: Any, sender: Any):
    """A web server, or a proxy that found nobody behind it."""

    def web(status: str, **headers: str) -> Callable[[H2Connection, int], bool]:
        def act(h2: H2Connection, stream: int) -> bool:
            h2.send_headers(stream, [(":status", status), *headers.items()])
            h2.send_data(stream, b"<html>", end_stream=True)
            return False

        return act

    def cut(h2: H2Connection, stream: int) -> bool:
        h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        h2.end_stream(stream)
        return False

    statuses = ("200", "404", "400", "413", "503", "502")
    one = sender(raw(_Peer(*map(web, statuses), cut)).url)
    verdicts = [one.send(b"", TIME).verdict for _ in statuses]

    assert dict(zip(statuses, verdicts, strict=True)) == {
        "200": C,
        "404": C,
        "400": C,
        "413": L,
        "503": U,
        "502": U,
    }
    assert one.send(b"", TIME).verdict is U


def test_pings_between_requests(raw: Any, sender: Any):
    """An idle connection on which the server has spoken is still good."""

    def ping(h2: H2Connection, stream: int) -> bool:
        answer_ok(h2, stream)
        h2.ping(b"8 octets")
        h2.update_settings({4: 100_000})
        return False

    server = raw(_Peer(ping, ping, ping))
    one = sender(server.url)

    assert [one.send(request_of(300_000), TIME).verdict for _ in range(3)] == [A, A, A]
    assert server.connections == 1


@pytest.mark.parametrize("window", [1, 3, 7, 1000])
def test_a_narrow_window(raw: Any, sender: Any, window: int):
    """The server opens it byte by byte, and the message arrives in order."""
    got: list[bytes] = []

    def keep(h2: H2Connection, stream: int) -> bool:
        h2.update_settings({4: window})
        return answer_ok(h2, stream)

    peer = _Peer(keep, heard=got.append)
    one = sender(raw(peer).url)
    bodies = [b"", request_of(500), request_of(5)]

    assert [one.send(body, TIME).verdict for body in bodies] == [A] * 3
    sent = b"".join(b"\0" + struct.pack(">I", len(body)) + body for body in bodies)
    assert b"".join(got) == sent


def test_http2_without_alpn(raw: Any, sender: Any, certificates: Path):
    """A server that does not name its protocol in TLS may still speak it."""
    context = server_context(certificates)
    peer = _Peer()

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            peer(secured)

    url = raw(talk).url.replace("http:", "https:")
    one = sender(url, certificate=str(certificates / "ca.pem"))

    assert one.send(request_of(200_000), TIME).verdict is A
