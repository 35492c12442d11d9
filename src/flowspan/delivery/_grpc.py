"""
OTLP over gRPC: the one unary call Export, on HTTP/2 connections of our own.

Not grpcio: its threads do not survive a fork, and a child that forks while the parent exports
hangs. A connection carries one call at a time, and each sender thread gets one.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import logging
import re
import zlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from h2.exceptions import H2Error

from flowspan.config import OtlpConfig
from flowspan.delivery import _answers, _proxies, _targets, _tls
from flowspan.delivery._compression import compressor
from flowspan.delivery._http import USER_AGENT, Sending
from flowspan.delivery._http import judge as judge_http
from flowspan.delivery._http2 import Headers, Http2, NotTaken, Reply
from flowspan.delivery._sockets import Connections, Resolver, Stream, why
from flowspan.delivery._transport import Answer, Refused, Verdict

logger = logging.getLogger("flowspan")

PATH: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
# Given headers may replace any but these, which belong to HTTP/2 and gRPC.
_NOT_METADATA = re.compile(
    "grpc-.*|te|content-type|content-length|host|connection|keep-alive|proxy-connection"
    "|transfer-encoding|upgrade|user-agent"
)


class GrpcTransport(Sending):
    """A `Transport` to a gRPC target."""

    def __init__(self, otlp: OtlpConfig) -> None:
        super().__init__(otlp)
        self._compress = compressor("gzip") if says_gzip(otlp) else None
        tls = not otlp.insecure
        self._wrong: Exception | None = None
        self._connections: Connections | None = None
        self._resolver: Resolver | None = None
        try:
            target = _targets.parse(otlp.endpoint, tls)
            proxy = None if target.fixed else _proxies.for_grpc(target.host, target.port)
        except (Refused, _proxies.WrongProxy) as error:
            self._wrong = error
            return
        if not target.fixed:
            place = (proxy.host, proxy.port) if proxy else (target.host, target.port)
            self._resolver = Resolver(*place)
        self._connections = Connections(
            self._resolver or (lambda deadline: list(target.fixed)),
            target.host,
            target.port,
            context=(lambda: _tls.context_for(otlp, ["h2"])) if tls else None,
            proxy=proxy,
            tunnel=True,
            is_usable=_is_usable,
        )
        self._headers = _headers(otlp, target.authority, self._compress is not None)

    def close(self) -> None:
        if self._connections is not None:
            self._connections.close()

    def after_fork(self) -> None:
        if self._resolver is not None:
            self._resolver.after_fork()
        if self._connections is not None:
            self._connections.after_fork()

    def _send(self, body: bytes, deadline: float) -> Answer:
        if self._wrong is not None:
            raise self._wrong
        assert self._connections is not None
        if self._compress is not None:
            body = self._compress(body)
        flag = b"\0" if self._compress is None else b"\1"
        prefix = flag + len(body).to_bytes(4, "big")

        def call(stream: Stream) -> tuple[Answer, bool]:
            if stream.attached is None:
                stream.attached = Http2(stream)
            reply = stream.attached.request(self._now(stream), prefix, body)
            return judge(reply), not stream.attached.is_leaving

        return self._connections.exchange(deadline, call)

    def _failed(self, error: Exception) -> Answer:
        return Answer(*why_grpc(error))

    def _now(self, stream: Stream) -> Headers:
        millis = min(int(stream.left() * 1000) + 1, 99999999)  # eight digits at most
        return [*self._headers, ("grpc-timeout", f"{millis}m")]


def _is_usable(stream: Stream) -> bool:
    return stream.attached is not None and bool(stream.attached.is_usable())


def _headers(otlp: OtlpConfig, authority: str, is_packed: bool) -> Headers:
    found = [
        (":method", "POST"),
        (":scheme", "http" if otlp.insecure else "https"),
        (":path", PATH),
        (":authority", otlp.headers.get("host", authority)),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", otlp.headers.get("user-agent", USER_AGENT)),
    ]
    if is_packed:
        found.append(("grpc-encoding", "gzip"))
    for name, value in metadata(otlp):
        if name.endswith("-bin"):  # any bytes to gRPC, which carries them so
            value = base64.b64encode(value.encode()).decode().rstrip("=")
        found.append((name, value))
    return found


def metadata(otlp: OtlpConfig) -> Headers:
    """The given headers that are not for the protocol to say."""
    return [item for item in otlp.headers.items() if not _NOT_METADATA.fullmatch(item[0])]


def says_gzip(otlp: OtlpConfig) -> bool:
    """Whether messages are compressed; zstd, which gRPC has not, becomes gzip and a warning."""
    if otlp.compression == "zstd":
        logger.warning("OTEL_EXPORTER_OTLP_COMPRESSION=zstd: gRPC has no zstd; using gzip")
    return otlp.compression != "none"


# ---- what an answer means

_MALFORMED = (3,)
_MISCONFIGURED = (5, 6, 7, 9, 12, 16)
_NAMES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
_ADVICE = {
    7: "the credentials in OTEL_EXPORTER_OTLP_HEADERS do not allow it",
    12: "it takes no spans, or not this compression",
    16: "the credentials in OTEL_EXPORTER_OTLP_HEADERS are missing or wrong",
}
# How Go, C, Java and Rust say it; of a quota they all say something else.
_TOO_LARGE = re.compile(
    "(?i)message.*(larger than|too large|exceeds)|exceeds (the )?max[a-z]* (message |size)"
)
# A message that the server could not decode is as wrong as one that it refuses.
_NOT_DECODED = re.compile("(?i)unmarshal|deserializ|invalid protobuf|failed to decode Protobuf")


def judge(reply: Reply) -> Answer:
    """The `Answer` that a reply stands for."""
    headers = reply.headers
    code = _number(headers.get("grpc-status"))
    http = _number(headers.get(":status")) or 0
    kind = headers.get("content-type", "")
    if code is None:
        return _not_grpc(http, kind, reply)
    message = unquote(headers.get("grpc-message", ""), errors="replace")
    if code == 0:
        return _accepted(reply)
    detail, delay = _details(headers)
    message = message or detail
    name = _NAMES[code] if code < len(_NAMES) else str(code)
    text = ": ".join(filter(None, (f"gRPC status {name}", _ADVICE.get(code, ""), message)))
    verdict = Verdict.UNAVAILABLE
    if code in (8, 11) and delay is None and _TOO_LARGE.search(message):
        verdict = Verdict.TOO_LARGE
    elif code in _MALFORMED or (code in (2, 13) and _NOT_DECODED.search(message)):
        verdict = Verdict.MALFORMED
    elif code in _MISCONFIGURED:
        verdict = Verdict.MISCONFIGURED
    return Answer(verdict, text, delay)


def _accepted(reply: Reply) -> Answer:
    body = bytes(reply.body)
    if not body:  # no message, but the status says that all is well
        return Answer(Verdict.ACCEPTED)
    message = body[5 : 5 + int.from_bytes(body[1:5], "big")]
    return accepted(_unpacked(message) if body[0] & 1 else message)


def accepted(message: bytes) -> Answer:
    """The `Answer` for the message of a call that went well."""
    found = _answers.partial_success(message)
    if found is None:
        return Answer(Verdict.MISCONFIGURED, "the answer is not OTLP's: not an OTLP receiver")
    rejected, words = found
    if rejected:
        words = f"rejected {rejected} spans" + (f": {words}" if words else "")
    return Answer(Verdict.ACCEPTED, words, rejected=rejected)


def _not_grpc(http: int, kind: str, reply: Reply) -> Answer:
    if 200 <= http < 300:
        if kind.startswith("application/grpc"):
            return Answer(Verdict.UNAVAILABLE, "the answer ended without a gRPC status")
        return Answer(Verdict.MISCONFIGURED, f"status {http} without gRPC: not a gRPC receiver")
    answer = judge_http(http, reply.headers, bytes(reply.body))
    if answer.verdict is Verdict.MALFORMED:  # who does not speak gRPC cannot judge the spans
        return Answer(Verdict.MISCONFIGURED, f"{answer.message}: not a gRPC receiver")
    return answer


def _details(headers: Mapping[str, str]) -> tuple[str, float | None]:
    """Message and retry delay, from where servers put them."""
    message, delay = _answers.status(_binary(headers.get("grpc-status-details-bin", "")))
    if delay is None and (info := _binary(headers.get("google.rpc.retryinfo-bin", ""))):
        with contextlib.suppress(ValueError):
            delay = _answers.retry_info(info)
    return message, delay


def _binary(text: str) -> bytes:
    text = text.partition(",")[0]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return b""


def _unpacked(message: bytes) -> bytes:
    try:
        return zlib.decompressobj(47).decompress(message, 65536)
    except zlib.error:
        return b"\xff"


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[0-9]{1,3}", text) else None


def why_grpc(error: Exception) -> tuple[Verdict, str]:
    """What *error* of a call means for the request, and for a person."""
    if isinstance(error, NotTaken):
        return Verdict.UNAVAILABLE, str(error)
    if isinstance(error, H2Error):
        return Verdict.UNAVAILABLE, f"the answer is not sound HTTP/2 ({type(error).__name__})"
    return why(error)
