"""
An OTLP receiver on one port: HTTP with protobuf and JSON here, gRPC in `_receiver_grpc`.

It answers as a collector does, so that exporters need no setting but the address. Metrics and logs
are taken and forgotten: an application that sends them as well is not to retry for ever.
"""

from __future__ import annotations

import re
import socket
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

import orjson

from flowspan.cli.view import _protobuf
from flowspan.cli.view._documents import batches_of
from flowspan.cli.view._model import Span
from flowspan.cli.view._source import Unreadable
from flowspan.cli.view._stored import Store
from flowspan.cli.view._values import origin_of, span_of
from flowspan.delivery._wire import framed, tag, varint

MAX_BODY: Final = 64 << 20
_MAX_UNPACKED: Final = MAX_BODY
_IDLE: Final = 600.0  # seconds that a connection may say nothing
_PREFACE: Final = b"PRI * HTTP/2"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
_CHUNK_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,16}")
_IGNORED: Final = ("/v1/metrics", "/v1/logs", "/v1development/profiles")

_reading: Final = threading.Lock()

Take = Callable[[list[Span]], None]


class Rejected(NamedTuple):
    """Spans of a request that are none, and the reason of the first."""

    spans: int = 0
    why: str = ""


_NONE: Final = Rejected()


class Receiver:
    """
    Listens from the start until `close`, which also ends what is connected.

    *take* gets the spans of each request, on threads of ours. Raises OSError if the address
    cannot be had.
    """

    def __init__(self, host: str, port: int, take: Take, store: Store) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET

        class Server(_Server):
            address_family = family

        self._server = Server((host, port), _Handler)
        self._server.take, self._server.store = take, store
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="flowspan-view-receiver"
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.disconnect()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined by server_close()
    request_queue_size = 128
    take: Take
    store: Store

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._connected: set[Any] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the name service what this machine is called.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._connected.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connected.discard(request)
        super().shutdown_request(request)

    def disconnect(self) -> None:
        with self._lock:
            for connection in self._connected:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # noqa: PERF203 - it has gone by itself
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away; nothing to say."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE
    rbufsize = 1 << 16
    server: _Server

    def handle(self) -> None:
        start = self.rfile.peek(1)  # type: ignore[attr-defined]
        if start[: len(_PREFACE)] and _PREFACE.startswith(start[: len(_PREFACE)]):
            from flowspan.cli.view._receiver_grpc import serve

            serve(self.rfile, self.connection, self.server.take, self.server.store)
        else:
            super().handle()

    def do_GET(self) -> None:
        """For who looks with a browser whether somebody is there."""
        self._answer(405, "flowspan view takes OTLP by POST at /v1/traces", JSON)

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def do_POST(self) -> None:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        path = self.path.partition("?")[0].rstrip("/")
        try:
            body = self._body()
        except ValueError as error:
            self.close_connection = True
            self._answer(_status_of(error), str(error), kind)
            return
        if path in _IGNORED:
            self._answer(200, "", kind)
        elif path != "/v1/traces":
            self._answer(404, f"nothing takes {path or '/'}: traces go to /v1/traces", kind)
        elif kind not in (PROTOBUF, JSON):
            self._answer(415, f"content-type {kind!r}: expected {PROTOBUF} or {JSON}", kind)
        else:
            try:
                encoding = self.headers.get("content-encoding", "").strip().lower()
                spans, rejected = read(body, encoding, kind, self.server.store)
            except ValueError as error:
                self._answer(_status_of(error), str(error), kind)
                return
            self.server.take(spans)
            self._answer(200, "", kind, rejected)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            body = self._chunks()
        else:
            given = self.headers.get("content-length") or "0"
            if not (given.isascii() and given.isdigit()):
                raise ValueError(f"content-length {given!r}: expected a number of bytes")
            size = int(given[:20])
            if size > MAX_BODY:
                raise TooLarge(f"a request of {size:,} bytes: expected at most {MAX_BODY:,}")
            body = self.rfile.read(size)
            if len(body) < size:
                raise ValueError("the request ends in the middle")
        return body

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := self._chunk_size():
            if len(body) + size > MAX_BODY:
                raise TooLarge(f"a request of more than {MAX_BODY:,} bytes")
            body += self.rfile.read(size)
            self.rfile.readline(64)
        while self.rfile.readline(1 << 16).strip():  # trailers
            pass
        return bytes(body)

    def _chunk_size(self) -> int:
        line = self.rfile.readline(1 << 10)
        digits = line.partition(b";")[0].strip()
        if not line.endswith(b"\n") or not _CHUNK_SIZE.fullmatch(digits):
            raise ValueError("the request ends in the middle, or its chunks are none")
        return int(digits, 16)

    def _answer(self, status: int, message: str, kind: str, rejected: Rejected = _NONE) -> None:
        """With OTLP's response, or google.rpc.Status for what went wrong, as it was asked."""
        if kind != PROTOBUF:
            kind = JSON
            if status != 200:
                content = orjson.dumps({"code": 3, "message": message})
            elif rejected.spans:
                partial = {"rejectedSpans": str(rejected.spans), "errorMessage": rejected.why}
                content = orjson.dumps({"partialSuccess": partial})
            else:
                content = b"{}"
        else:
            content = status_message(3, message) if status != 200 else response(rejected)
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def version_string(self) -> str:
        return "flowspan"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal shows traces."""


class TooLarge(ValueError):
    """A request beyond what is taken at once."""


def _status_of(error: ValueError) -> int:
    return 413 if isinstance(error, TooLarge) else 400


def unpacked(body: bytes, encoding: str) -> bytes:
    """Raises ValueError."""
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "x-gzip", "deflate"):
        unpack = zlib.decompressobj(47)  # either
        try:
            data = unpack.decompress(body, _MAX_UNPACKED)
        except zlib.error:
            raise ValueError(f"content-encoding {encoding}: the data are damaged") from None
        if unpack.unconsumed_tail:
            raise TooLarge(f"a request of more than {_MAX_UNPACKED:,} bytes, unpacked")
        if not unpack.eof:
            raise ValueError(f"content-encoding {encoding}: the data end in the middle")
        return data
    if encoding == "zstd":
        try:
            import zstandard
        except ImportError:
            raise ValueError("content-encoding zstd: flowspan[zstd] is not installed") from None
        try:
            with zstandard.ZstdDecompressor().stream_reader(body) as reader:
                data = reader.read(_MAX_UNPACKED + 1)
        except zstandard.ZstdError:
            raise ValueError("content-encoding zstd: the data are damaged") from None
        if len(data) > _MAX_UNPACKED:
            raise TooLarge(f"a request of more than {_MAX_UNPACKED:,} bytes, unpacked")
        return data
    raise ValueError(f"content-encoding {encoding!r}: expected gzip, deflate, zstd or none")


def read(body: bytes, encoding: str, kind: str, store: Store) -> tuple[list[Span], Rejected]:
    """
    The spans of a request. Raises ValueError if it is none; one bad span is only rejected.

    One at a time: what a request becomes in memory may be many times as large as it came.
    """
    with _reading:
        return _read(unpacked(body, encoding), kind, store)


def _read(body: bytes, kind: str, store: Store) -> tuple[list[Span], Rejected]:
    if kind == PROTOBUF:
        return list(_protobuf.spans_of(body, store)), _NONE
    try:
        document = orjson.loads(body)
        found = list(batches_of(document))
    except (orjson.JSONDecodeError, Unreadable) as error:
        raise ValueError(f"not a request of OTLP's: {error}") from None
    spans: list[Span] = []
    rejected, why = 0, ""
    for batch in found:
        try:
            origin = origin_of(batch.resource, batch.scope)
        except (AttributeError, TypeError):
            raise ValueError("not a request of OTLP's: a resource that is none") from None
        for raw in batch.spans:
            try:
                spans.append(span_of(raw, origin, store))
            except ValueError as error:  # noqa: PERF203 - each span for itself
                rejected, why = rejected + 1, why or str(error)
    return spans, Rejected(rejected, why)


def response(rejected: Rejected) -> bytes:
    """ExportTraceServiceResponse; nothing at all if nothing was rejected."""
    if not rejected.spans:
        return b""
    said = tag(1, 0) + varint(rejected.spans) + framed(2, rejected.why.encode())
    return framed(1, said)


def status_message(code: int, message: str) -> bytes:
    """google.rpc.Status."""
    return tag(1, 0) + varint(code) + framed(2, message.encode("utf-8", "replace"))
