"""
OTLP over gRPC on a connection that was accepted: h2 for the protocol, gRPC's few bytes by hand.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from flowspan.cli.view._receiver import MAX_BODY, PROTOBUF, Take, TooLarge, read, response
from flowspan.cli.view._stored import Store

_SERVICES: Final = "/opentelemetry.proto.collector."
_TRACES: Final = f"{_SERVICES}trace.v1.TraceService/Export"
_IGNORED: Final = ("metrics.v1.MetricsService", "logs.v1.LogsService")
_WINDOW: Final = 4 << 20
_OK, _INVALID, _EXHAUSTED, _UNIMPLEMENTED, _UNAVAILABLE = 0, 3, 8, 12, 14


@dataclass(slots=True)
class _Request:
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


def serve(reader: BufferedIOBase, connection: socket.socket, take: Take, store: Store) -> None:
    """Until either side closes."""
    try:
        _Connection(connection, take, store).serve(reader)
    except (OSError, H2Error):
        return  # the client went away, or is none


class _Connection:
    def __init__(self, connection: socket.socket, take: Take, store: Store) -> None:
        self._socket, self._take, self._store = connection, take, store
        self._requests: dict[int, _Request] = {}
        config = H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = H2Connection(config)
        # As its first values: h2 announces what holds, not what was changed since.
        self._h2.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                SettingCodes.MAX_CONCURRENT_STREAMS: 100,
                SettingCodes.MAX_HEADER_LIST_SIZE: 1 << 16,
            },
        )

    def serve(self, reader: BufferedIOBase) -> None:
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_WINDOW)
        self._flush()
        while data := reader.read1(1 << 16):
            for event in self._h2.receive_data(data):
                if isinstance(event, ConnectionTerminated):
                    self._flush()
                    return
                self._on(event)
            self._flush()

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._socket.sendall(data)

    def _on(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            assert event.stream_id is not None
            headers = {str(name): str(value) for name, value in event.headers or ()}
            self._requests[event.stream_id] = _Request(headers)
        elif isinstance(event, DataReceived):
            assert event.stream_id is not None
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
            request = self._requests.get(event.stream_id)
            if request is None:
                return
            request.body += event.data or b""
            if len(request.body) > MAX_BODY + 5:
                said = f"a request of more than {MAX_BODY:,} bytes"
                self._give_up(event.stream_id, _EXHAUSTED, said)
            elif sum(len(each.body) for each in self._requests.values()) > 2 * MAX_BODY:
                said = f"requests of more than {2 * MAX_BODY:,} bytes at once"
                self._give_up(event.stream_id, _UNAVAILABLE, said)
        elif isinstance(event, StreamEnded):
            assert event.stream_id is not None
            request = self._requests.pop(event.stream_id, None)
            if request is not None:
                self._answer(event.stream_id, request)
        elif isinstance(event, StreamReset):
            assert event.stream_id is not None
            self._requests.pop(event.stream_id, None)
        elif isinstance(event, WindowUpdated):
            pass  # answers are smaller than any window

    def _answer(self, stream: int, request: _Request) -> None:
        path = request.headers.get(":path", "")
        name = path.removeprefix(_SERVICES).removesuffix("/Export")
        if path != _TRACES and name not in _IGNORED:
            self._refuse(stream, _UNIMPLEMENTED, f"nothing takes {path}")
            return
        message = b""
        if path == _TRACES:
            try:
                body, encoding = _message(request)
                spans, rejected = read(body, encoding, PROTOBUF, self._store)
            except ValueError as error:
                code = _EXHAUSTED if isinstance(error, TooLarge) else _INVALID
                self._refuse(stream, code, str(error))
                return
            self._take(spans)
            message = response(rejected)
        self._h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        self._h2.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message)
        self._h2.send_headers(stream, [("grpc-status", str(_OK))], end_stream=True)

    def _give_up(self, stream: int, code: int, message: str) -> None:
        """Of a request that is not read to its end."""
        del self._requests[stream]
        self._refuse(stream, code, message)
        self._h2.reset_stream(stream, ErrorCodes.NO_ERROR)

    def _refuse(self, stream: int, code: int, message: str) -> None:
        said = "".join(c if " " <= c <= "~" and c != "%" else "?" for c in message)
        headers = [
            (":status", "200"),
            ("content-type", "application/grpc"),
            ("grpc-status", str(code)),
            ("grpc-message", said),
        ]
        self._h2.send_headers(stream, headers, end_stream=True)


def _message(request: _Request) -> tuple[bytes, str]:
    """The one message of a call, and how it is packed."""
    framed = bytes(request.body)
    if len(framed) < 5 or int.from_bytes(framed[1:5], "big") != len(framed) - 5:
        raise ValueError("not one gRPC message")
    return framed[5:], request.headers.get("grpc-encoding", "") if framed[0] else ""
