"""A collector on a real socket that does what collectors do on bad days."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass
class Reply:
    """An answer that is not the usual one. A request is *kept* if its spans have arrived."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    kept: bool = False
    after: float = 0.0  # seconds


ACCEPT = Reply(kept=True)
CUT = Reply(status=0)  # the connection ends without an answer
LOST_ACKNOWLEDGEMENT = Reply(status=0, kept=True)
GARBAGE = Reply(status=-1)
HANG = Reply(status=-2)


def partly(rejected: int, message: str) -> Reply:
    """Partial success."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return Reply(body=response.SerializeToString(), kept=True)


Behaviour = Callable[[ExportTraceServiceRequest, bytes], Reply]


class Collector:
    """
    Takes OTLP over HTTP. `behave(reply)` changes how it answers from now on; `then` is a list of
    answers for the next requests. `refuse()` closes its port, `listen()` opens the same again.
    """

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.bodies: list[bytes] = []  # of all requests, also of those that were not kept
        self.times: list[float] = []
        self.headers: list[dict[str, str]] = []
        self.then: deque[Reply] = deque()
        self.changed = threading.Condition()
        self.connections = 0
        self._behaviour: Behaviour = lambda request, body: ACCEPT
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._open: set[socket.socket] = set()
        self.stopping = threading.Event()
        self.port = 0
        self.listen()
        self.url = f"http://127.0.0.1:{self.port}"

    def behave(self, reply: Reply | Behaviour) -> None:
        self._behaviour = reply if callable(reply) else lambda request, body: reply

    def listen(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                collector.connections += 1
                collector._open.add(self.connection)

            def finish(self) -> None:
                collector._open.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector._answer(self, body)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = False

            def handle_error(self, request: Any, address: Any) -> None:
                pass  # a client that was killed

        self.stopping.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def refuse(self) -> None:
        """Connections are refused, and those that were open are cut."""
        assert self._server is not None
        assert self._thread is not None
        self.stopping.set()
        self._server.shutdown()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()
        self._server = None

    def close(self) -> None:
        if self._server is not None:
            self.refuse()

    def _answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if handler.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        elif handler.headers["Content-Encoding"] == "zstd":
            import zstandard

            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        with self.changed:
            reply = self.then.popleft() if self.then else self._behaviour(request, body)
            self.bodies.append(body)
            self.times.append(time.monotonic())
            self.headers.append({k.lower(): v for k, v in handler.headers.items()})
            if reply.kept and not reply.after:
                self.spans.extend(_spans_of(request))
            self.changed.notify_all()
        if reply.after:
            self.stopping.wait(reply.after)
            with self.changed:
                if reply.kept:
                    self.spans.extend(_spans_of(request))
                self.changed.notify_all()
        if reply is HANG:
            self.stopping.wait()
        if reply.status == GARBAGE.status:
            handler.wfile.write(b"\x00\x01SSH-2.0-what\r\n\r\n")
        if reply.status <= 0:
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body)

    # ---- what has arrived

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.spans)

    @property
    def ids(self) -> list[bytes]:
        """Of the spans that arrived, each as often as it did."""
        return [span.span_id for span in self.spans]

    def wait_for(self, count: int, timeout: float = 30) -> list[str]:
        """The names, once *count* different spans have arrived."""
        with self.changed:
            arrived = self.changed.wait_for(lambda: len(set(self.ids)) >= count, timeout)
            assert arrived, f"{len(set(self.ids))} of {count} spans arrived"
            return self.names

    def wait_for_requests(self, count: int, timeout: float = 30) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.bodies) >= count, timeout), len(
                self.bodies
            )


def _spans_of(request: ExportTraceServiceRequest) -> Iterator[Any]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans
