"""`flowspan view --listen`: a receiver that every exporter takes for a collector."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import zstandard
from h2.connection import H2Connection
from h2.events import ResponseReceived
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

from flowspan.cli.view import _live, _receiver, _receiver_grpc
from flowspan.cli.view._asked import Asked
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._model import Span
from flowspan.cli.view._receiver import JSON, PROTOBUF, Receiver
from flowspan.cli.view._show import Page
from flowspan.cli.view._stored import Store
from flowspan.delivery import DurableSpanProcessor
from view_traces import request, span, support_bot, view

COMMAND = str(Path(sys.executable).parent / "flowspan")


class Listening:
    """A receiver on a free port, and what it took."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.came = threading.Event()
        self.receiver = Receiver("127.0.0.1", 0, self._take, Store())
        self.port = self.receiver.port
        self.url = f"http://127.0.0.1:{self.port}"

    def _take(self, spans: list[Span]) -> None:
        self.spans += spans
        self.came.set()

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.spans]

    def post(
        self, body: Any, path: str = "/v1/traces", *, method: str = "POST", **headers: str
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        given = {"content-type": JSON} | {k.replace("_", "-"): v for k, v in headers.items()}
        try:
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return answer.status, answer.getheader("content-type", ""), answer.read()
        finally:
            connection.close()


@pytest.fixture
def listening() -> Iterator[Listening]:
    there = Listening()
    yield there
    there.receiver.close()


BODY = json.dumps(support_bot()).encode()
NAMES = ["Support bot", "Search", "Model"]


def protobuf(*names: str) -> bytes:
    made = ExportTraceServiceRequest()
    spans = made.resource_spans.add().scope_spans.add().spans
    for number, name in enumerate(names, 1):
        one = spans.add()
        one.name = name
        one.trace_id, one.span_id = b"t" * 16, number.to_bytes(8, "big")
    return made.SerializeToString()


# ---- every exporter


def exported(exporter: SpanExporter) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("app").start_as_current_span("outer"):
        provider.get_tracer("app").start_span("inner", attributes={"a": [1, 2]}).end()
    provider.shutdown()


def test_the_stock_exporter_over_http(listening: Listening):
    """Protobuf, packed."""
    endpoint = f"{listening.url}/v1/traces"

    exported(OverHttp(endpoint=endpoint, compression=Compression.Gzip))

    assert listening.names == ["inner", "outer"]
    assert listening.spans[0].attributes == {"a": [1, 2]}


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_the_stock_exporter_over_grpc(listening: Listening, compression: grpc.Compression):
    """On the same port."""
    exported(OverGrpc(endpoint=listening.url, insecure=True, compression=compression))

    assert listening.names == ["inner", "outer"]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_our_own_exporter(listening: Listening, protocol: str, tmp_path: Path):
    """It counts them as delivered."""
    endpoint = listening.url + ("" if protocol == "grpc" else "/v1/traces")
    processor = DurableSpanProcessor(
        endpoint=endpoint, protocol=protocol, spool_dir=str(tmp_path / "spool")
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)

    provider.get_tracer("app").start_span("one").end()

    assert processor.force_flush(20_000)
    processor.shutdown()
    assert processor.stats().exported == 1
    assert listening.names == ["one"]


def test_a_large_request_over_grpc(listening: Listening):
    """More than a window: the receiver lets go of what it has read."""
    channel = grpc.insecure_channel(f"127.0.0.1:{listening.port}")
    export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")

    for _ in range(3):
        export(protobuf("x" * 6_000_000), timeout=60)

    channel.close()
    assert [len(name) for name in listening.names] == [6_000_000] * 3


# ---- answers


def test_protobuf_gets_an_empty_response(listening: Listening):
    """Success is nothing at all, of the right type."""
    assert listening.post(protobuf("a"), content_type=PROTOBUF) == (200, PROTOBUF, b"")
    assert listening.names == ["a"]


def test_json_gets_json(listening: Listening):
    """Also with a charset."""
    assert listening.post(BODY) == (200, JSON, b"{}")
    assert listening.post(BODY, content_type="application/json; charset=utf-8")[0] == 200
    assert listening.names == NAMES * 2


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd)]
)
def test_packed_requests(listening: Listening, encoding: str, pack: Any):
    """As a collector takes them; what is damaged or cut is said."""
    assert listening.post(pack(BODY), content_encoding=encoding)[0] == 200
    status, _, said = listening.post(b"xx" + pack(BODY), content_encoding=encoding)
    assert (status, json.loads(said)["message"]) == (
        400,
        f"content-encoding {encoding}: the data are damaged",
    )
    assert listening.names == NAMES


def test_chunks(listening: Listening):
    """A client that does not know how long it will be."""
    parts = (BODY[at : at + 100] for at in range(0, len(BODY), 100))

    assert listening.post(parts)[0] == 200
    assert listening.names == NAMES


def test_a_span_that_is_none_is_rejected(listening: Listening):
    """In a partial success; the others are taken."""
    body = json.dumps(request(span(1, "good"), span(2, "bad", traceId="x"))).encode()

    status, _, said = listening.post(body)

    assert (status, listening.names) == (200, ["good"])
    assert json.loads(said) == {
        "partialSuccess": {
            "rejectedSpans": "1",
            "errorMessage": "an id that is neither hex nor base64",
        }
    }


def test_a_partial_success_in_protobuf():
    """As the stock classes read it."""
    said = _receiver.response(_receiver.Rejected(300, "no"))

    partial = ExportTraceServiceResponse.FromString(said).partial_success

    assert (partial.rejected_spans, partial.error_message) == (300, "no")


@pytest.mark.parametrize(
    ("body", "given", "status", "message"),
    [
        (b"{", {}, 400, "not a request of OTLP's: "),
        (b'{"a":1}', {}, 400, "not a request of OTLP's: JSON, but no traces"),
        (b"[[[", {"content_type": PROTOBUF}, 400, ""),
        (b"x", {"content_type": "text/plain"}, 415, "content-type 'text/plain': expected"),
        (b"x", {"path": "/"}, 404, "nothing takes /: traces go to /v1/traces"),
        (b"x", {"path": "/v1/traces/v1/traces"}, 404, "nothing takes /v1/traces/v1/traces: "),
        (b"x", {"method": "GET"}, 405, "flowspan view takes OTLP by POST"),
        (b"x", {"content_encoding": "br"}, 400, "content-encoding 'br': expected gzip"),
        (b"", {"content_length": "99999999999"}, 413, "a request of 99,999,999,999 bytes"),
        (b"", {"content_length": "many"}, 400, "content-length 'many': expected a number"),
    ],
)
def test_what_is_wrong_is_answered(
    listening: Listening, body: bytes, given: dict[str, str], status: int, message: str
):
    """With a status that an exporter understands, and google.rpc.Status."""
    found, kind, said = listening.post(body, **given)

    assert found == status
    if kind == JSON:
        assert json.loads(said)["message"].startswith(message)
    assert listening.spans == []
    assert listening.post(BODY)[0] == 200, "it goes on"


def test_a_bomb_is_not_unpacked(listening: Listening, monkeypatch: pytest.MonkeyPatch):
    """Beyond the bound it is refused."""
    monkeypatch.setattr(_receiver, "_MAX_UNPACKED", 10_000)

    status, _, said = listening.post(gzip.compress(b" " * 20_000), content_encoding="gzip")

    assert status == 413
    assert json.loads(said)["message"] == "a request of more than 10,000 bytes, unpacked"


@pytest.mark.parametrize("size", [b"-1", b"0x10", b"", b"1_0", b"f" * 17])
def test_a_chunk_of_no_size_is_refused(listening: Listening, size: bytes):
    """At once: nothing behind it is read, were it without an end."""
    with socket.create_connection(("127.0.0.1", listening.port), timeout=20) as odd:
        odd.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n" + size + b"\r\n"
        )
        assert odd.recv(4096).startswith(b"HTTP/1.1 400 ")
    assert listening.post(BODY)[0] == 200


def test_requests_at_once_have_a_bound_over_grpc(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
):
    """Many streams that never end hold no more than two requests may."""
    monkeypatch.setattr(_receiver_grpc, "MAX_BODY", 10_000)
    client = H2Connection()
    client.initiate_connection()
    for stream in range(1, 9, 2):
        client.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "x"),
                (":path", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
                ("content-type", "application/grpc"),
            ],
        )
        client.send_data(stream, b"\0" + b"x" * 8_000)
    with socket.create_connection(("127.0.0.1", listening.port), timeout=20) as odd:
        odd.sendall(client.data_to_send())
        refused = set()
        while len(refused) < 2:
            for event in client.receive_data(odd.recv(65536)):
                if isinstance(event, ResponseReceived):
                    assert (b"grpc-status", b"14") in event.headers
                    refused.add(event.stream_id)
    assert refused == {5, 7}


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/logs"])
def test_other_signals_are_taken_and_forgotten(listening: Listening, path: str):
    """An application that sends them is not to fill its log."""
    assert listening.post(b"", path, content_type=PROTOBUF) == (200, PROTOBUF, b"")
    assert listening.spans == []


GRPC_ANSWERS = [
    ("trace.v1.TraceService", protobuf("a"), grpc.StatusCode.OK),
    ("metrics.v1.MetricsService", b"", grpc.StatusCode.OK),
    ("trace.v1.TraceService", b"[[[", grpc.StatusCode.INVALID_ARGUMENT),
    ("nobody.v1.NoService", b"", grpc.StatusCode.UNIMPLEMENTED),
]


@pytest.mark.parametrize(("service", "body", "code"), GRPC_ANSWERS)
def test_grpc_answers(listening: Listening, service: str, body: bytes, code: grpc.StatusCode):
    """With gRPC's codes."""
    channel = grpc.insecure_channel(f"127.0.0.1:{listening.port}")
    export = channel.unary_unary(f"/opentelemetry.proto.collector.{service}/Export")
    found = grpc.StatusCode.OK
    try:
        export(body, timeout=20)
    except grpc.RpcError as error:
        found = error.code()  # type: ignore[attr-defined]
    finally:
        channel.close()

    assert found == code


def test_connections_that_say_nothing_or_nonsense(listening: Listening):
    """They harm nobody, and end with the receiver."""
    silent = socket.create_connection(("127.0.0.1", listening.port))
    for nonsense in (b"\x16\x03\x01hello", b"PRI * HTTP/2.0\r\n\r\nxx", b"PRI", b"\0" * 30):
        with socket.create_connection(("127.0.0.1", listening.port)) as odd:
            odd.sendall(nonsense)
            odd.shutdown(socket.SHUT_WR)
            while odd.recv(4096):
                pass

    assert listening.post(BODY)[0] == 200
    listening.receiver.close()
    assert silent.recv(1) == b""
    silent.close()


# ---- the command


@contextmanager
def running(*arguments: str, **variables: str) -> Iterator[tuple[Any, int]]:
    """`flowspan view --listen 0`, its process and its port. Killed at the end if it still runs."""
    process = subprocess.Popen(
        [COMMAND, "view", "--listen", "0", *arguments],
        env={**os.environ, "PYTHONUTF8": "1", "COLUMNS": "80", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.match(r"Listening on http://127\.0\.0\.1:(\d+) \(OTLP, HTTP and gRPC\)", line)
        assert found is not None, line
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def send(port: int, document: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/v1/traces", json.dumps(document), {"content-type": JSON})
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_runs_are_shown_as_they_end(end: signal.Signals, tmp_path: Path):
    """A tree each; Ctrl-C ends it well, and what was asked for is written then."""
    page, copy = tmp_path / "page.html", tmp_path / "copy.json"

    with running("--html", str(page), "--otlp-json", str(copy)) as (process, port):
        send(port, support_bot())
        seen = ""
        while not seen.endswith("run run-1\n"):
            seen += process.stdout.readline()
        process.send_signal(end)
        rest, said = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "Support bot " in seen
    assert "└─ Model" in seen
    assert f"Wrote 1 trace, 3 spans to {copy}\n" in rest
    assert page.read_text().startswith("<!")
    assert view(str(copy), "--json").exit_code == 0
    assert said == "1 trace, 3 spans\n"


def test_a_run_whose_spans_come_late(tmp_path: Path):
    """It waits for the root; later ones show it again; at the end, what was not shown yet."""
    whole = support_bot()["resourceSpans"][0]["scopeSpans"][0]["spans"]

    with running("--json") as (process, port):
        send(port, request(whole[1]))
        send(port, request(whole[0]))
        first = json.loads(process.stdout.readline())
        send(port, request(whole[2]))
        second = json.loads(process.stdout.readline())
        send(port, request(span(9, "open", trace_id="1" * 32, parent=8)))
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)

    assert (first["name"], first["spans"], second["spans"]) == ("Support bot", 2, 3)
    assert json.loads(rest)["name"] == "open"


def test_a_port_in_use():
    """One sentence that says what to do, exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = view("--listen", str(port))

    assert done.exit_code == 1
    assert done.stderr == (
        f"127.0.0.1:{port} cannot be listened on (address already in use): "
        "does a collector run there? --listen PORT takes another port\n"
    )


@pytest.mark.parametrize("address", ["no", "99999", "1.2.3.4:", "::1:4318", "[x]:1"])
def test_no_address(address: str):
    """It names the value and what is accepted, exit code 2."""
    done = view(f"--listen={address}")

    assert done.exit_code == 2
    assert done.stderr == (
        f"--listen={address!r}: expected a port, such as 4318, or 127.0.0.1:4318\n"
    )


def test_a_host_that_is_not_this_machine():
    """Exit code 1."""
    done = view("--listen=192.0.2.1:4318")

    assert done.exit_code == 1
    assert done.stderr.startswith("192.0.2.1:4318 cannot be listened on (")


def test_listening_takes_no_files(tmp_path: Path):
    """Nor a spool."""
    for others in (["x.json"], ["--spool"], ["--span", "1"]):
        done = view("--listen=0", *others)
        assert done.exit_code == 2
        assert done.stderr == "--listen takes neither files nor --spool nor --span\n"


# ---- what waits to be drawn


def watching(max_spans: int) -> _live._Watch:
    return _live._Watch(Asked(max_spans=max_spans, as_json=True), Collection(max_spans), Page())


def root(number: int, trace: int) -> Span:
    return Span(
        trace_id=f"{trace:032x}", span_id=f"{number:016x}", name="a", start=trace + 1, end=trace + 2
    )


def test_what_waits_is_bounded():
    """While nobody reads the terminal; what does not fit is counted."""
    watch = watching(100)

    for number in range(1000):
        watch.take([root(1, number)])

    assert len(watch.open) <= 100
    assert len(watch.known) <= 100
    assert watch.collection.left_out + watch.collection.spans == 1000


def test_a_span_that_comes_while_another_trace_is_drawn_is_drawn_once(
    monkeypatch: pytest.MonkeyPatch,
):
    """With its trace, which is not shown again for it."""
    watch = watching(100)
    watch.take([root(1, 1), root(1, 2)])
    drawn: list[tuple[str, int]] = []

    def line(trace: dict[str, Any]) -> None:
        if not drawn:
            watch.take([root(2, 2)])
        drawn.append((trace["trace_id"][-1], trace["spans"]))

    monkeypatch.setattr(watch.page, "json_line", line)

    watch._draw(float("inf"))
    watch._draw(float("inf"))

    assert drawn == [("1", 1), ("2", 2)]
