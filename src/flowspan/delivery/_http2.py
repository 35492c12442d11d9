"""
One HTTP/2 connection that carries one request at a time, over a `Stream`.

The protocol is h2's, but for GOAWAY: h2 reads nothing after it, and a server that is about to
restart still answers what it has taken. So frames are parted here, and that one is kept from h2.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes

from flowspan.delivery._sockets import Stream
from flowspan.delivery._transport import Refused, Verdict

MAX_REPLY: Final = 65536
"""Bytes of an answer's body that are kept."""
_BURST: Final = 65536
"""Bytes that are sent between two looks at what the server says."""
_MAX_FRAME: Final = 16384  # what we allow the server, by leaving that setting as it is
_SETTINGS, _GOAWAY = 4, 7

Headers = list[tuple[str, str]]


class NotTaken(ConnectionError):
    """The server says that it did not look at the request: another connection may have it."""


@dataclass(slots=True)
class Reply:
    """What came back for one request."""

    headers: dict[str, str] = field(default_factory=dict)
    """Headers and trailers, the later ones winning."""
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False


class Http2:
    """Attach one to each stream. Not thread-safe, as its stream is not."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        config = H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self._h2 = H2Connection(config)
        self._h2.local_settings[SettingCodes.ENABLE_PUSH] = 0
        self._h2.initiate_connection()  # sent with the first request
        self._buffer = b""
        self._heard = False
        self._id = 0
        self._reply = Reply(ended=True)
        self._reset: int | None = None
        self.is_leaving = False
        """The server takes no further request on this connection."""

    def request(self, headers: Headers, prefix: bytes, body: bytes) -> Reply:
        """
        Send *prefix* and *body*, and wait for the end of the answer until the stream's deadline.

        Raises OSError, H2Error, and `NotTaken` where another connection may be tried at once.
        """
        self._reply, self._reset = Reply(), None
        self._id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(self._id, headers)
        self._send(prefix, memoryview(body))
        while not self._is_over():
            self._hear(self._stream.recv())
        if not self._reply.ended:
            raise _broken_off(self._reset)
        return self._reply

    def is_usable(self) -> bool:
        """Whether another request can be sent, after all that has arrived meanwhile."""
        try:
            while not self.is_leaving:
                data = self._stream.recv_now()
                if data is None:
                    return True
                self._hear(data)
        except (OSError, H2Error):
            pass
        return False

    def _is_over(self) -> bool:
        return self._reply.ended or self._reset is not None

    def _send(self, prefix: bytes, rest: memoryview) -> None:
        h2 = self._h2
        while True:
            burst = 0
            while (prefix or rest) and burst < _BURST:
                window = h2.local_flow_control_window(self._id)
                size = min(window, h2.max_outbound_frame_size, len(prefix) + len(rest))
                if size <= 0:
                    break
                first, prefix = prefix[:size], prefix[size:]
                data = first + rest[: size - len(first)]
                rest = rest[size - len(first) :]
                h2.send_data(self._id, data, end_stream=not (prefix or rest))
                burst += size
            self._flush()
            if not (prefix or rest):
                return
            heard = self._stream.recv_now() if burst else self._stream.recv()
            while heard is not None:
                self._hear(heard)
                if self._is_over():  # refused before all was sent
                    self._stop_sending()
                    return
                heard = self._stream.recv_now()

    def _stop_sending(self) -> None:
        if self._reset is None:
            with contextlib.suppress(OSError, H2Error):
                self._h2.reset_stream(self._id, ErrorCodes.CANCEL)
                self._flush()
                return
        self.is_leaving = True

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._stream.send_all(data)

    def _hear(self, data: bytes) -> None:
        if not data:
            hint = ": does the server want a certificate of ours?"
            asks = self._stream.is_secured and not self._heard
            raise ConnectionResetError(
                f"the connection was closed without an answer{hint if asks else ''}"
            )
        buffer = self._buffer + data
        if not self._heard:
            _check_first(buffer)
            self._heard = len(buffer) > 3
        start = done = 0
        while len(buffer) - start >= 9:
            size = int.from_bytes(buffer[start : start + 3], "big")
            if size > _MAX_FRAME:
                raise ProtocolError("a frame larger than allowed")
            end = start + 9 + size
            if end > len(buffer):
                break
            if buffer[start + 3] == _GOAWAY:
                self._take(buffer[done:start])
                self._leave(buffer[start + 9 : end])
                done = end
            start = end
        self._buffer = buffer[start:]
        self._take(buffer[done:start])

    def _take(self, frames: bytes) -> None:
        if not frames:
            return
        for event in self._h2.receive_data(frames):
            self._on(event)
        try:
            self._flush()  # what h2 answers by itself
        except OSError:
            self.is_leaving = True
            if not self._reply.ended:
                raise

    def _on(self, event: Event) -> None:
        if getattr(event, "stream_id", None) != self._id:
            return
        reply = self._reply
        if isinstance(event, (ResponseReceived, TrailersReceived)):
            for name, value in event.headers or ():
                reply.headers[_text(name)] = _text(value)
        elif isinstance(event, DataReceived):
            size = event.flow_controlled_length or 0
            reply.body += (event.data or b"")[: MAX_REPLY - len(reply.body)]
            with contextlib.suppress(H2Error):
                self._h2.acknowledge_received_data(size, self._id)
        elif isinstance(event, StreamEnded):
            reply.ended = True
        elif isinstance(event, StreamReset) and not reply.ended:
            self._reset = int(event.error_code or 0)

    def _leave(self, goaway: bytes) -> None:
        self.is_leaving = True
        last = int.from_bytes(goaway[:4], "big") & 0x7FFFFFFF
        if self._id > last and not self._is_over():
            said = goaway[8:].decode("latin-1")
            raise NotTaken("the server closes its connections" + (f": {said}" if said else ""))


def _check_first(data: bytes) -> None:
    """Raise `Refused` where a server's first bytes show another protocol."""
    if data.startswith(b"\x15\x03") or (data[:5] == b"HTTP/" and b"HTTPS server" in data):
        raise Refused(Verdict.MISCONFIGURED, "the port speaks TLS: it takes https://")
    if data.startswith(b"HTTP/") or data.lstrip().startswith(b"<"):
        raise Refused(
            Verdict.MISCONFIGURED,
            "the port looks like HTTP/1, not gRPC: OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf?",
        )
    if len(data) > 3 and data[3] != _SETTINGS:
        raise ProtocolError("not HTTP/2")


def _broken_off(code: int | None) -> OSError:
    if code == ErrorCodes.REFUSED_STREAM:
        return NotTaken("the server has no room for another request")
    if code == ErrorCodes.HTTP_1_1_REQUIRED:
        return Refused(Verdict.MISCONFIGURED, "the server wants HTTP/1 here, not gRPC")
    name = ErrorCodes(code).name if code in set(ErrorCodes) else str(code)
    return Refused(Verdict.UNAVAILABLE, f"the server broke the request off ({name})")


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
