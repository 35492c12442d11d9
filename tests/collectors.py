"""Collectors on sockets: one that answers as told over HTTP, one over gRPC, and raw ones."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def request_of(size: int = 100, name: str = "x") -> bytes:
    """A valid request of about *size* bytes."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.name = name * size
    return request.SerializeToString()


def server_context(
    certificates: Path, mutual: bool = False, certificate: str = "server"
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{certificate}.pem", certificates / "server.key")
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates / "ca.pem")
    return context


class HttpCollector:
    """Answers every POST with `answer` and remembers what came, and on how many connections."""

    def __init__(
        self, *, port: int = 0, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
        self.before: Callable[[bytes], None] = lambda body: None
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.connections = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                if context is not None:  # here, so that a failing handshake holds up nobody
                    self.request = context.wrap_socket(self.request, server_side=True)
                collector.connections += 1
                super().setup()

            def finish(self) -> None:
                super().finish()
                self.request.close()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.bodies.append(body)
                collector.paths.append(self.path)
                collector.headers.append({k.lower(): v for k, v in self.headers.items()})
                collector.before(body)
                status, headers, content = collector.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True
            block_on_close = False

            def __init__(self) -> None:
                self.open: set[socket.socket] = set()
                super().__init__((host, port), Handler)

            def get_request(self) -> Any:
                connection, address = super().get_request()
                self.open.add(connection)
                return connection, address

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that hangs up, or does not trust us

        self._server = Server()
        self.port = self._server.server_port
        place = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if context else 'http'}://{place}:{self.port}/v1/traces"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def connections_so_far(self) -> int:
        """How many connections there have been."""
        return self.connections

    def drop_connections(self) -> None:
        """Close every connection, as an idle timeout does."""
        for connection in list(self._server.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.drop_connections()
        for connection in list(self._server.open):
            connection.close()
        self._thread.join()


class GrpcCollector:
    """The same with grpcio: `answer` makes the reply's bytes, or aborts by the context."""

    def __init__(
        self,
        *,
        port: int = 0,
        address: str = "",
        certificates: Path | None = None,
        mutual: bool = False,
    ) -> None:
        self.answer: Callable[[grpc.ServicerContext], bytes] = lambda context: (
            ExportTraceServiceResponse().SerializeToString()
        )
        self.before: Callable[[bytes], None] = lambda body: None
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.peers: set[str] = set()
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.unary_unary_rpc_method_handler(self._export)
        service, method = EXPORT[1:].split("/")
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, {method: handler})]
        )
        place = address or f"127.0.0.1:{port}"
        if certificates is None:
            self.port = self._server.add_insecure_port(place)
        else:
            pair = [(certificates / f"server.{end}").read_bytes() for end in ("key", "pem")]
            credentials = grpc.ssl_server_credentials(
                [tuple(pair)],
                (certificates / "ca.pem").read_bytes() if mutual else None,
                mutual,
            )
            self.port = self._server.add_secure_port(place, credentials)
        self.url = f"{'https' if certificates else 'http'}://127.0.0.1:{self.port}"
        self._server.start()

    def _export(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.bodies.append(request)
        self.headers.append(dict(context.invocation_metadata()))
        self.peers.add(context.peer())
        self.before(request)
        return self.answer(context)

    def connections_so_far(self) -> int:
        """How many connections there have been."""
        return len(self.peers)

    def close(self) -> None:
        self._server.stop(None).wait()


class Raw:
    """Accepts connections and lets *talk* do with each what it likes; closes it afterwards."""

    def __init__(self, talk: Callable[[socket.socket], None], *, port: int = 0) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", port))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.connections = 0
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._talk(connection)

    def close(self) -> None:
        for sock in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join()


def read_head(connection: socket.socket) -> bytes:
    """A request's head, byte by byte."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError
        head += byte
    return head


def read_request(connection: socket.socket) -> tuple[bytes, bytes]:
    """Head and body of an HTTP/1 request."""
    head = read_head(connection)
    (length,) = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    body = b""
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


def until_closed(connection: socket.socket) -> None:
    """Read until the other end closes."""
    while connection.recv(65536):
        pass


class Proxy(Raw):
    """An HTTP proxy that tunnels by CONNECT and passes absolute requests on."""

    def __init__(self, refusal: bytes = b"", context: ssl.SSLContext | None = None) -> None:
        self.heads: list[bytes] = []
        self._refusal = refusal
        self._context = context
        super().__init__(self._begin)
        if context is not None:
            self.url = self.url.replace("http:", "https:")

    def _begin(self, connection: socket.socket) -> None:
        if self._context is None:
            self._pass(connection)
            return
        with self._context.wrap_socket(connection, server_side=True) as secured:
            self._open.append(secured)
            self._pass(secured)

    def _pass(self, connection: socket.socket) -> None:
        head = read_head(connection)
        self.heads.append(head)
        if self._refusal:
            connection.sendall(self._refusal)
            return
        method, target, _ = head.split(b" ", 2)
        place = target.decode().removeprefix("http://").partition("/")[0]
        host, _, port = place.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port))) as there:
            self._open.append(there)
            if method == b"CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                there.sendall(head)
            self._start(_copy, there, connection)
            _copy(connection, there)
            with contextlib.suppress(OSError):  # or the other thread reads from it for ever
                there.shutdown(socket.SHUT_RDWR)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def closing(*things: Any) -> Iterator[Any]:
    """Close *things*, the last first."""
    with contextlib.ExitStack() as stack:
        for thing in things:
            stack.callback(thing.close)
        yield things[0] if len(things) == 1 else things
