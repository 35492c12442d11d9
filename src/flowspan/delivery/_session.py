"""
OTLP over HTTP by a `requests.Session` that a credential provider made.

The session is theirs: its adapters, hooks and renewed tokens stay. In exchange the deadline is kept
less strictly while its headers arrive, since `requests` counts the time of each read.
"""

from __future__ import annotations

import contextlib
import threading
import time
from http.client import HTTPConnection
from typing import Any

import requests

from flowspan.config import OtlpConfig
from flowspan.delivery import _http, _providers
from flowspan.delivery._compression import compressor
from flowspan.delivery._sockets import why
from flowspan.delivery._transport import Answer, Verdict


class SessionTransport(_http.Sending):
    """A `Transport` by the session of the provider *name*."""

    def __init__(self, otlp: OtlpConfig, name: str) -> None:
        super().__init__(otlp)
        self._otlp, self._name = otlp, name
        self._compress = compressor(otlp.compression)
        self._headers = _http.request_headers(otlp)
        self._session: requests.Session | None = None
        self._abandoned: list[requests.Session] = []
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        self._closed = True
        if self._session is not None:
            self._session.close()

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._session is not None:
            for connection in _idle(self._session):
                with contextlib.suppress(OSError):
                    connection.close()  # the descriptor only
            self._abandoned.append(self._session)  # its locks may be held for ever
            self._session = None

    def _made(self) -> requests.Session:
        with self._lock:
            if self._session is None:
                session: requests.Session = _providers.load(self._name, requests.Session)
                if self._otlp.certificate:
                    session.verify = self._otlp.certificate
                ours = self._otlp.client_certificate
                if ours is not None:
                    key = self._otlp.client_key
                    session.cert = (ours, key) if key else ours
                if session.auth is None:
                    session.auth = _as_it_is  # or .netrc would replace the header
                self._session = session
            return self._session

    def _send(self, body: bytes, deadline: float) -> Answer:
        if self._closed:
            return Answer(Verdict.UNAVAILABLE, "the transport is closed")
        if self._compress is not None:
            body = self._compress(body)
        with self._made().request(
            "POST",
            _http.bare_url(self._otlp.endpoint),
            data=body,
            headers=self._headers,
            timeout=max(0.001, deadline - time.monotonic()),
            allow_redirects=False,
            stream=True,
        ) as response:
            content = b""
            # What has arrived, and no waiting for more: read() would wait for all of it.
            read = getattr(response.raw, "read1", response.raw.read)
            while len(content) < _http.MAX_BODY:
                if time.monotonic() >= deadline:
                    raise TimeoutError("timed out")
                piece = read(_http.MAX_BODY, decode_content=True)
                if not piece:
                    break
                content += piece
            headers = {name.lower(): text for name, text in response.headers.items()}
            headers.pop("content-encoding", None)
            return _http.judge(response.status_code, headers, content)

    def _failed(self, error: Exception) -> Answer:
        return Answer(*_why(error))


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _idle(session: requests.Session) -> list[HTTPConnection]:
    """Its idle connections, as far as they are where urllib3 has them."""
    found: list[Any] = []
    for adapter in session.adapters.values():
        with contextlib.suppress(AttributeError):
            for pool in list(adapter.poolmanager.pools._container.values()):  # type: ignore[attr-defined]
                found += pool.pool.queue
    return [kept for kept in found if isinstance(kept, HTTPConnection)]


def _why(error: Exception) -> tuple[Verdict, str]:
    if isinstance(error, requests.exceptions.ConnectionError):
        return why(_cause(error))
    if isinstance(error, requests.exceptions.Timeout):
        return Verdict.UNAVAILABLE, "timed out"
    return why(error)


def _cause(error: BaseException) -> Exception:
    """The OSError at the bottom: what `requests` says holds the whole URL."""
    seen = 0
    found: BaseException = error
    while seen < 10:
        seen += 1
        inner = getattr(found, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((a for a in found.args if isinstance(a, BaseException)), None)
        inner = inner or found.__cause__ or found.__context__
        if inner is None:
            break
        found = inner
    return found if isinstance(found, Exception) else ConnectionError("the connection failed")
