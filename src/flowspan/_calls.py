"""
Calls below a component, of a model, a tool, a retriever or a chain: their spans, and which is open.

A call is opened and ended by two callbacks that may run in different tasks or threads, so nothing
is attached to a context: an open call stands in a table under its key, and says itself to which
component and run it belongs. If its end never comes, it ends with them. Leans on `_spans`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Tracer

from flowspan import _guard, _spans, semconv
from flowspan._payload import Payload
from flowspan._spans import (
    _INPUT,
    _OUTPUT,
    _RECORDED,
    ComponentSpan,
    Run,
    _is_shown,
    _Recorded,
    active_below,
    outcome_of,
)
from flowspan.context import current_component, current_run, innermost_run
from flowspan.pipeline import current_pipeline

MAX_OPEN: Final = 10_000

# Re-entrant: the garbage collector may end an abandoned stream's call while it is held.
_lock = threading.RLock()
_open: OrderedDict[Hashable, Call] = OrderedDict()


class Call(_Recorded):
    """
    One call. Without a span of its own (`shown` is False) it only passes on where it stands.

    Its methods may be called from any thread, and raise normally.
    """

    __slots__ = (
        *_RECORDED,
        "_caller",
        "_first_chunk",
        "_started",
        "above",
        "component",
        "ended",
        "key",
        "kind",
        "run",
        "shown",
        "span",
    )

    def __init__(self, key: Hashable, caller: Call | None) -> None:
        super().__init__()
        self.key = key
        self._caller = caller
        self.kind = ""
        self.shown = False
        self._first_chunk = False
        self.span: Span = trace.INVALID_SPAN  # until it has its own, that of whoever is above
        self.above: _Recorded | None = None
        self.component: Any = None
        self.run: Any = None
        if caller is not None and not _context_is_deeper(caller):
            self.above = caller if caller.shown else caller.above
            self.component, self.run = caller.component, caller.run
            self.span = caller.span
            self._spans = caller._spans
            return
        self.component = current_component()
        self.run = innermost_run() if self.component is None else self.component.run
        above = self.component or self.run
        if isinstance(above, (ComponentSpan, Run)):
            self.above = above
            self.span = active_below(above)
            self._spans = above._spans
        else:
            self._spans = current_pipeline().spans
            current = trace.get_current_span()
            if not _spans._has_ended(current):
                self.span = current

    @property
    def is_root(self) -> bool:
        """Whether there is nothing above it, in any trace."""
        return not self.span.get_span_context().is_valid

    @property
    def worthwhile(self) -> bool:
        """False where whatever is above is not recorded, so that neither is this."""
        if self.above is None:
            return not self._spans.config.disabled
        return self.above._recording

    def show(self, name: str, kind: SpanKind, attributes: Mapping[str, Any]) -> None:
        """Start its span."""
        self._started = time.perf_counter()
        run = self.run
        tracer: Tracer = run._tracer if isinstance(run, Run) else self._spans.tracer()
        shared = run._shared if isinstance(run, Run) else {}
        self.span = tracer.start_span(
            name,
            context=trace.set_span_in_context(self.span, otel_context.get_current()),
            kind=kind,
            attributes={**attributes, **shared},
        )
        self.shown = True
        self._recording = self.span.is_recording()

    # ---- while it is open

    def inputs(self, payload: Payload, also: str | None = None) -> None:
        """Put *payload* on the span as its input, and under the name *also*."""
        self._record(_INPUT, payload, self._spans.capture_inputs)
        if also is not None and self._spans.capture_inputs:
            self._also(also, payload)

    def outputs(self, payload: Payload, also: str | None = None) -> None:
        self._record(_OUTPUT, payload, self._spans.capture_outputs)
        if also is not None and self._spans.capture_outputs:
            self._also(also, payload)

    def chunk(self) -> None:
        """A part of the answer has come; the first is timed."""
        if self._recording and not self._first_chunk:
            self._first_chunk = True
            seconds = time.perf_counter() - self._started
            self.span.set_attribute(semconv.GEN_AI_REQUEST_STREAM, True)
            self.span.set_attribute(semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, seconds)

    def usage(self, input_tokens: int, output_tokens: int) -> None:
        """Tokens for the run's sum; whatever the component counts itself are the same."""
        component = self.component
        while isinstance(component, ComponentSpan) and component.run is self.run:
            component.usage_below = True
            component = component.outer
        if isinstance(self.run, Run):
            self.run._add_usage(input_tokens, output_tokens)

    def retry(self, attempt: int, error: BaseException | None) -> None:
        attributes: dict[str, Any] = {semconv.RETRY_ATTEMPT: attempt}
        if error is not None:
            attributes[semconv.ERROR_TYPE] = _spans.error_type(error)
        self.span.add_event(semconv.RETRY, attributes)

    # ---- opening and ending

    def open(self) -> None:
        """Into the table; the oldest call falls out of a full one, as abandoned."""
        with _lock:
            _open[self.key] = self
            oldest = next(iter(_open.values())) if len(_open) > MAX_OPEN else None
        with _spans._lock:
            owner = self._owner()
            if owner is None:
                _spans._lone_calls.add(self)
            elif owner._calls is None:
                owner._calls = {self}
            else:
                owner._calls.add(self)
        if oldest is not None:
            oldest.end(status=semconv.STATUS_ABANDONED)
            _guard.report("too many open calls", "the oldest ends as abandoned")

    def _owner(self) -> Any:
        """Whose end is its end, at the latest."""
        for owner in (self.component, self.run):
            if isinstance(owner, (ComponentSpan, Run)) and not owner.ended:
                return owner
        return None

    def end(self, error: BaseException | None = None, *, status: str | None = None) -> bool:
        """End its span, if it has one. False if it had ended."""
        if not self._end_once():
            return False
        with _lock:
            if _open.get(self.key) is self:
                del _open[self.key]
        with _spans._lock:
            _spans._lone_calls.discard(self)
            for owner in (self.component, self.run):
                if isinstance(owner, (ComponentSpan, Run)) and owner._calls:
                    owner._calls.discard(self)
        outcome = None if error is None else outcome_of(error)
        if outcome == semconv.STATUS_CANCELLED:
            with _lock:
                below = [call for call in _open.values() if call._caller is self]
            for call in below:  # LangChain does not say it of each
                call.end(status=semconv.STATUS_CANCELLED)
        if not self.shown:
            return False
        try:
            if self._recording:
                self._conclude(error, outcome, status)
        finally:
            self.span.end()
        return True

    def _conclude(
        self, error: BaseException | None, outcome: str | None, status: str | None
    ) -> None:
        if outcome == semconv.STATUS_ERROR and error is not None:
            self._fail(error, event=not _is_shown(error, self._raised))
            if self.above is not None:
                self.above._shown_below(error)
        elif status is not None or outcome is not None:
            self.span.set_attribute(semconv.CALL_STATUS, status or outcome or "")
            if semconv.STATUS_CANCELLED in (status, outcome):
                self.span.add_event(semconv.CANCELLED)
        self._marks()


def find(key: Hashable) -> Call | None:
    """The open call of that key."""
    with _lock:
        return _open.get(key)


def _context_is_deeper(caller: Call) -> bool:
    """Whether a component or run that was opened inside *caller* is around this code."""
    component = current_component()
    run = current_run()
    if component is caller.component:
        return (
            run is not None
            and run is not caller.run
            and run.outer is caller.component
            and (caller.run is None or run.outer is not None)
        )
    while component is not None and component is not caller.component:
        component = component.outer
    return component is caller.component and current_component() is not None


def _after_fork_in_child() -> None:
    """What the parent has open is the parent's to end."""
    global _lock
    _lock = threading.RLock()
    for call in _open.values():
        call.span = trace.NonRecordingSpan(call.span.get_span_context())
        call._recording = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
