"""
OTLP over gRPC by grpcio, for the credentials that a provider makes: nothing else can use them.

What is not held here: grpcio's own threads hang in some children of a fork. A child makes a channel
of its own at its first request, and the parent's is left alone there.
"""

from __future__ import annotations

import base64
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import grpc

from flowspan.config import OtlpConfig
from flowspan.delivery import _grpc, _http, _providers
from flowspan.delivery._http2 import Reply
from flowspan.delivery._transport import Answer, Verdict


class GrpcioTransport(_http.Sending):
    """A `Transport` by a channel with the credentials of the provider *name*."""

    def __init__(self, otlp: OtlpConfig, name: str) -> None:
        super().__init__(otlp)
        self._otlp, self._name = otlp, name
        is_packed = _grpc.says_gzip(otlp)
        self._compression = grpc.Compression.Gzip if is_packed else grpc.Compression.NoCompression
        self._metadata = tuple(_grpc.metadata(otlp))
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._channel: Any = None
        self._export: Any = None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            channel, self._channel, self._export = self._channel, None, None
        if channel is not None:
            channel.close()

    def after_fork(self) -> None:
        self._inherited = self._channel  # neither closed nor collected: both may wait for ever
        self._start()

    def _failed(self, error: Exception) -> Answer:
        if isinstance(error, grpc.RpcError):
            return _judged(error)
        return Answer(*_grpc.why_grpc(error))

    def _send(self, body: bytes, deadline: float) -> Answer:
        with self._lock:
            if self._closed:
                return Answer(Verdict.UNAVAILABLE, "the transport is closed")
            if self._export is None:
                self._open()
            export = self._export
        answer = export(
            body, timeout=max(0.001, deadline - time.monotonic()), metadata=self._metadata
        )
        return _grpc.accepted(answer)

    def _open(self) -> None:
        credentials = _providers.load(self._name, grpc.ChannelCredentials)
        endpoint = self._otlp.endpoint
        target = urlsplit(endpoint).netloc if endpoint.lower().startswith("https:") else endpoint
        self._channel = grpc.secure_channel(
            target,
            credentials,
            options=[("grpc.primary_user_agent", _http.USER_AGENT)],
            compression=self._compression,
        )
        self._export = self._channel.unary_unary(_grpc.PATH)  # bytes in, bytes out


def _judged(error: Any) -> Answer:
    headers = {"grpc-status": str(error.code().value[0]), "grpc-message": error.details() or ""}
    for name, value in error.trailing_metadata() or ():
        headers[name] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return _grpc.judge(Reply(headers))
