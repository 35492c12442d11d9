"""
The trace that an HTTP request to Langflow carries -> the parent of the runs that it starts.

Middleware for Langflow's application, and the way back to what it found where lfx has taken that
out of the context or put a root of its own there. Speaks to `opentelemetry-api` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context

from flowspan._guard import guard
from flowspan._spans import parent_of_earlier
from flowspan.propagation import extracted

_REGISTER: Final = guard("take the trace that a request carries", "its runs are roots of their own")


def register(app: Any) -> None:
    """
    What Langflow calls with its application: entry point `flowspan` of `langflow.plugins`.

    A `traceparent` that comes with a request becomes the parent of its run also where nobody
    instruments FastAPI.
    """
    with _REGISTER:
        getattr(app, "_app", app).add_middleware(_Incoming)


class _Incoming:
    """ASGI middleware: what a request carries of a trace is in context, unless a span is."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = _Request()
        token = None
        with _REGISTER:
            current = trace.get_current_span().get_span_context()
            if current.is_remote:  # somebody extracted it and records nothing
                request.context = otel_context.get_current()
            elif not current.is_valid:
                request.context = extracted(scope.get("headers", ()))
                token = otel_context.attach(request.context)
        kept = _REQUEST.set(request)
        try:
            await self._app(scope, receive, send)
        finally:
            request.context = None
            _REQUEST.reset(kept)
            if token is not None:
                otel_context.detach(token)


class _Request:
    """What a request carried, until it is over: a task that it started may serve others then."""

    __slots__ = ("context",)

    def __init__(self) -> None:
        self.context: Context | None = None


_REQUEST: Final = ContextVar[_Request | None]("flowspan-request", default=None)


@contextmanager
def within_request() -> Iterator[None]:
    """
    What the request carried is in context again, where lfx has taken it out.

    It opens `flow.execute` outside the context in which a span does not record, as a remote one
    never does; where it exports nothing itself, the current span is invalid from then on.
    """
    request = _REQUEST.get()
    kept = request.context if request is not None else None
    if kept is None or trace.get_current_span().get_span_context().is_valid:
        yield
        return
    token = otel_context.attach(kept)
    try:
        yield
    finally:
        otel_context.detach(token)


_LFX_SCOPE: Final = "langflow.observability"


@contextmanager
def in_its_first_trace(run_id: object) -> Iterator[None]:
    """
    A run that goes on does so where it began, not below a new root of lfx's.

    `lfx run --human-input` opens a `flow.execute` for each part of a run; nobody's trace is lost
    by leaving it, for it has no parent.
    """
    current: Any = trace.get_current_span()
    scope = getattr(current, "instrumentation_scope", None)
    of_lfx = getattr(scope, "name", None) == _LFX_SCOPE and current.parent is None
    earlier = parent_of_earlier(run_id) if of_lfx else None
    if earlier is None:
        yield
        return
    token = otel_context.attach(trace.set_span_in_context(earlier))
    try:
        yield
    finally:
        otel_context.detach(token)
