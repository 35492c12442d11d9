"""
What a transport is: it takes one encoded request to the collector and says what became of it.

Names and values only. `_http` and `_grpc` do the work, and are imported when one is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from flowspan.config import OtlpConfig


class Verdict(Enum):
    """What to do with the request."""

    ACCEPTED = "accepted"
    """It arrived: never send it again."""
    UNAVAILABLE = "unavailable"
    """Nobody could take it now: try again."""
    MISCONFIGURED = "misconfigured"
    """Nobody will take it until a person changes something: keep it, say so, try slowly."""
    TOO_LARGE = "too large"
    """Send it in parts."""
    MALFORMED = "malformed"
    """Something in it is refused: find the span, and send the others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What became of one request.

    *message* is one line of at most 200 characters for a person, without any credential.
    *retry_after* is in seconds, where the collector named a time. *rejected* spans were refused
    out of an accepted request: sending them again does not help. *status* is HTTP's code or gRPC's
    name, empty where nothing was answered.
    """

    verdict: Verdict
    message: str = ""
    retry_after: float | None = None
    rejected: int = 0
    status: str = ""


class Refused(OSError):
    """There is no connection, for a reason that says what to do."""

    def __init__(self, verdict: Verdict, message: str) -> None:
        super().__init__(message)
        self.verdict, self.message = verdict, message


class Transport(Protocol):
    """The way to one collector."""

    def send(self, body: bytes, timeout: float) -> Answer:
        """
        Send one ExportTraceServiceRequest in protobuf bytes; done within *timeout* seconds.

        Safe from any thread, several at once. Raises no `Exception`.
        """

    def close(self) -> None:
        """Close all connections; requests under way end as unavailable. Twice is once."""

    def after_fork(self) -> None:
        """In the child: forget the parent's connections without a word to their other ends."""


def make_transport(otlp: OtlpConfig) -> Transport:
    """
    The transport that *otlp* asks for. Opens nothing before the first `send`.

    A credential provider that the environment names decides, as with the stock exporters: what it
    makes only fits `requests` or grpcio.
    """
    from flowspan.delivery import _providers

    if otlp.protocol == "grpc":
        if not otlp.insecure and (name := _providers.named("GRPC")):
            from flowspan.delivery._grpcio import GrpcioTransport

            return GrpcioTransport(otlp, name)
        from flowspan.delivery._grpc import GrpcTransport

        return GrpcTransport(otlp)
    if name := _providers.named("HTTP"):
        from flowspan.delivery._session import SessionTransport

        return SessionTransport(otlp, name)
    from flowspan.delivery._http import HttpTransport

    return HttpTransport(otlp)
