"""
OTLP over HTTP/1.1 with protobuf bodies.

On connections of `_sockets`, so that the time given holds for all of it and a fork only closes
descriptors. Where a credential provider hands out a `requests.Session`, `_session` sends instead.
Redirects are not followed: the headers may be credentials, and they were meant for one host.
"""

from __future__ import annotations

import re
import ssl
import time
import zlib
from collections.abc import Mapping
from dataclasses import replace
from http.client import (
    BadStatusLine,
    HTTPException,
    HTTPResponse,
    IncompleteRead,
    RemoteDisconnected,
)
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from opentelemetry.sdk.version import __version__ as sdk_version

from flowspan._version import __version__
from flowspan.config import OtlpConfig
from flowspan.delivery import _answers, _proxies, _tls
from flowspan.delivery._compression import compressor
from flowspan.delivery._sockets import Connections, Resolver, Stream, ascii_host, why
from flowspan.delivery._transport import Answer, Verdict

MAX_BODY: Final = 65536
"""Bytes of an answer's body that are read."""
USER_AGENT: Final = f"OTel-OTLP-Exporter-Python/{sdk_version} flowspan/{__version__}"
# Given headers may replace any but these, which say how the body is written.
_OURS = frozenset(
    ["content-type", "content-encoding", "content-length", "transfer-encoding", "connection"]
)


class Sending:
    """What every transport does around a request: it raises nothing, and tells no secret."""

    def __init__(self, otlp: OtlpConfig) -> None:
        self._shown, self._secrets = otlp.shown_endpoint, secrets_of(otlp)

    def send(self, body: bytes, timeout: float) -> Answer:
        try:
            answer = self._send(body, time.monotonic() + timeout)
        except Exception as error:  # noqa: BLE001 - whatever it is, the spans are kept
            answer = self._failed(error)
        return said(answer, self._shown, self._secrets)

    def _send(self, body: bytes, deadline: float) -> Answer:
        raise NotImplementedError

    def _failed(self, error: Exception) -> Answer:
        raise NotImplementedError


class HttpTransport(Sending):
    """A `Transport` to an http:// or https:// endpoint."""

    def __init__(self, otlp: OtlpConfig) -> None:
        super().__init__(otlp)
        self._compress = compressor(otlp.compression)
        self._wrong: _proxies.WrongProxy | None = None
        url = urlsplit(otlp.endpoint)
        host = ascii_host(url.hostname or "")
        tls = url.scheme == "https"
        port = url.port or (443 if tls else 80)
        proxy = None
        try:
            proxy = _proxies.for_http(url.scheme, host, port)
        except _proxies.WrongProxy as error:
            self._wrong = error
        self._resolver = Resolver(*((proxy.host, proxy.port) if proxy else (host, port)))
        self._connections = Connections(
            self._resolver,
            host,
            port,
            context=(lambda: _tls.context_for(otlp, ["http/1.1"])) if tls else None,
            proxy=proxy,
            tunnel=tls,
        )
        self._head = _head(otlp, host, None if tls else proxy)

    def close(self) -> None:
        self._connections.close()

    def way(self) -> Connections:
        """The connections that requests go by, to be looked at. Raises why there are none."""
        if self._wrong is not None:
            raise self._wrong
        return self._connections

    def after_fork(self) -> None:
        self._resolver.after_fork()
        self._connections.after_fork()

    def _send(self, body: bytes, deadline: float) -> Answer:
        if self._wrong is not None:
            raise self._wrong
        if self._compress is not None:
            body = self._compress(body)
        head = b"%sContent-Length: %d\r\n\r\n" % (self._head, len(body))
        return self._connections.exchange(deadline, lambda stream: _exchange(stream, head, body))

    def _failed(self, error: Exception) -> Answer:
        return Answer(*_why(error))


def _exchange(stream: Stream, head: bytes, body: bytes) -> tuple[Answer, bool]:
    """The answer, and whether the connection can serve another request."""
    try:
        if len(body) < MAX_BODY:
            is_sent = stream.send_unless_answered(head + body)
        else:  # without a copy of it
            is_sent = stream.send_unless_answered(head) and stream.send_unless_answered(body)
    except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
        is_sent = False  # it may have said why before it hung up
    response = HTTPResponse(stream, method="POST")  # type: ignore[arg-type]
    try:
        response.begin()
        if stream.at_end:  # http.client takes a head that is cut off for a whole one
            raise IncompleteRead(b"")
        content = response.read(MAX_BODY)
        if len(content) < MAX_BODY and response.length:
            raise IncompleteRead(content, response.length)
        is_whole = response.isclosed() or not response.read(1)
        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = judge(response.status, headers, content)
        return answer, is_sent and is_whole and not response.will_close
    finally:
        response.close()


def _head(otlp: OtlpConfig, host: str, proxy: _proxies.Proxy | None) -> bytes:
    """The request up to Content-Length. *proxy* is one that is spoken to, not tunnelled through."""
    url = urlsplit(otlp.endpoint)
    place = f"[{host}]" if ":" in host else host
    if url.port:
        place = f"{place}:{url.port}"
    target = quote(url.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if url.query:
        target += "?" + quote(url.query, safe="/%:@!$&'()*+,;=~-._?")
    headers = {"host": place}
    if proxy is not None:
        target = f"http://{place}{target}"
        if proxy.authorization:
            headers["proxy-authorization"] = proxy.authorization
    headers.update(request_headers(otlp))
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def request_headers(otlp: OtlpConfig) -> dict[str, str]:
    """All headers but those that depend on the host and on the body."""
    headers = {
        "user-agent": USER_AGENT,
        "accept": "application/x-protobuf, application/json;q=0.5, */*;q=0.1",
    }
    url = urlsplit(otlp.endpoint)
    if url.username is not None:
        user, password = unquote(url.username), unquote(url.password or "")
        headers["authorization"] = _proxies.basic(user, password)
    headers.update({name: value for name, value in otlp.headers.items() if name not in _OURS})
    headers["content-type"] = "application/x-protobuf"
    if otlp.compression != "none":
        headers["content-encoding"] = otlp.compression
    return headers


def bare_url(endpoint: str) -> str:
    """*endpoint* without user and password, which are in the headers."""
    url = urlsplit(endpoint)
    return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()


# ---- what an answer means

_CODES = {
    **dict.fromkeys((400, 422), Verdict.MALFORMED),
    413: Verdict.TOO_LARGE,
    **dict.fromkeys((408, 409, 425, 429), Verdict.UNAVAILABLE),
    **dict.fromkeys((501, 505, 511), Verdict.MISCONFIGURED),
}
_ADVICE = {
    401: "the credentials in OTEL_EXPORTER_OTLP_HEADERS are missing or wrong",
    403: "the credentials in OTEL_EXPORTER_OTLP_HEADERS do not allow it",
    404: "nothing takes spans at this address; a collector does, at /v1/traces",
    405: "nothing takes spans at this address; a collector does, at /v1/traces",
    407: "the proxy wants other credentials",
    415: "it does not take protobuf, or not this compression",
}
# The Collector says it with status 400: "http: request body too large".
_TOO_LARGE = re.compile("(?i)(body|request|payload|entity|message)( is| was)? too large")
_TLS_WANTED = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")


def judge(code: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """The `Answer` that a response stands for. *headers* have lower-case names."""
    kind = headers.get("content-type", "").lower()
    if headers.get("content-encoding", "").lower() == "gzip":
        body = _unpacked(body)
    if 200 <= code < 300:
        return _accepted(code, kind, body)
    words = _answers.words(body, kind)
    if code < 400:
        place = headers.get("location", "").partition("?")[0].rpartition("@")[2]
        text = f"status {code}: it redirects" + (f" to {place}" if place else "")
        text += "; name the final address in the endpoint"
        return Answer(Verdict.MISCONFIGURED, text, status=str(code))
    otherwise = Verdict.MISCONFIGURED if code < 500 else Verdict.UNAVAILABLE
    verdict = _CODES.get(code, otherwise)
    advice = _ADVICE.get(code, "")
    if code == 400 and any(text in body for text in _TLS_WANTED):
        verdict, words = Verdict.MISCONFIGURED, "the port speaks TLS: it takes https://"
    elif code == 400 and _TOO_LARGE.search(words):
        verdict = Verdict.TOO_LARGE
    elif verdict is Verdict.MALFORMED and ("html" in kind or _answers.is_page(body)):
        verdict, advice = Verdict.MISCONFIGURED, "a web page answers, not an OTLP receiver"
    text = ": ".join(filter(None, (f"status {code}", advice, words)))
    retry_after = _answers.retry_after(headers.get("retry-after"))
    if retry_after is None and "protobuf" in kind:
        retry_after = _answers.status(body)[1]
    return Answer(verdict, text, retry_after, status=str(code))


def _accepted(code: int, kind: str, body: bytes) -> Answer:
    found = None
    if "html" not in kind and not _answers.is_page(body):
        is_json = "json" in kind or body[:1] == b"{"  # { would be a group, which OTLP has not
        found = _answers.partial_success(body, is_json)
        if found is None and (not kind or "text/plain" in kind) and _is_word(body):
            found = (0, "")
    if found is None:
        text = f"status {code} and a body that is not OTLP's: not an OTLP receiver"
        return Answer(Verdict.MISCONFIGURED, text, status=str(code))
    rejected, message = found
    if rejected:
        message = f"rejected {rejected} spans" + (f": {message}" if message else "")
    return Answer(Verdict.ACCEPTED, message, rejected=rejected, status=str(code))


def _is_word(body: bytes) -> bool:
    """`OK`, as receivers say it that know no better; no page and no noise is so short."""
    return len(body) <= 64 and body.isascii() and body.decode().strip().isprintable()


def _unpacked(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(31).decompress(body, MAX_BODY)
    except zlib.error:
        return body


def _why(error: Exception) -> tuple[Verdict, str]:
    if isinstance(error, RemoteDisconnected):
        return Verdict.UNAVAILABLE, "the connection was closed without an answer"
    if isinstance(error, BadStatusLine):
        line = str(error)
        if line.startswith("\0\0"):  # the length of a frame
            hint = "OTEL_EXPORTER_OTLP_PROTOCOL=grpc?"
            return Verdict.MISCONFIGURED, f"the port speaks HTTP/2, as gRPC does: {hint}"
        if line.startswith("\x15\x03"):
            return Verdict.MISCONFIGURED, "the port speaks TLS: it takes https://"
        return Verdict.UNAVAILABLE, "the answer is not HTTP"
    if isinstance(error, HTTPException):
        return Verdict.UNAVAILABLE, f"the answer is broken HTTP ({type(error).__name__})"
    return why(error)


# ---- shared with gRPC


def said(answer: Answer, endpoint: str, secrets: list[str]) -> Answer:
    """*answer* with a message that names the endpoint, fits, and tells no secret."""
    if not answer.message:
        return answer
    text = _answers.one_line(f"{endpoint}: {_answers.one_line(answer.message, secrets)}")
    return replace(answer, message=text)


def secrets_of(otlp: OtlpConfig) -> list[str]:
    """What no message may hold, the longest first: header values and their parts, passwords."""
    url = urlsplit(otlp.endpoint)
    found = {url.username or "", url.password or ""}
    found |= {unquote(text) for text in found}
    for name, value in request_headers(otlp).items():
        if name in otlp.headers or name == "authorization":
            found |= {value, *value.split()[1:]}  # the first word may be Bearer
    return sorted((text for text in found if len(text) > 3), key=len, reverse=True)
