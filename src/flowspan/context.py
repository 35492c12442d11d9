"""
The two contexts: the run and the component that the code at hand belongs to.

They live in two context variables and nowhere else: a task, a thread or a generator sees the run
and the component of whoever made it, and no object shared between runs holds either of them. What
a context variable says is read with care, because tasks inherit it from work that has ended
since: an ended component means nothing, an ended nested run means the run around it.
Leans on `opentelemetry.context`; makes no span (`_spans` does, and fills in the abstract methods).
"""

from __future__ import annotations

import hashlib
import uuid
from abc import ABC, abstractmethod
from contextvars import ContextVar, Token
from typing import Final, Generic, TypeVar

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import Span, set_span_in_context


class TraceContext(ABC):
    """
    One run of a flow: who it is, and its span. Safe to hand to another task or thread.

    Made by `start_tracers` or `flowspan.run`; the identity never changes.
    """

    __slots__ = (
        "around",
        "attachment",
        "ended",
        "flow_id",
        "name",
        "outer",
        "project_name",
        "run_id",
        "session_id",
        "span",
        "tracing_user_id",
        "user_id",
    )

    run_id: str
    name: str
    project_name: str
    flow_id: str | None
    session_id: str | None
    user_id: str | None
    tracing_user_id: str | None
    span: Span
    outer: ComponentTraceContext | None
    """The component in which this run is nested."""
    around: TraceContext | None
    """The run of a `with` around this one, where no component is between them."""
    ended: bool
    attachment: Attachment[TraceContext] | None

    @abstractmethod
    def set_outputs(self, outputs: object) -> None:
        """Record what the run produced, frozen now; the last call counts."""

    @abstractmethod
    def set_paused(self) -> None:
        """The run will end as `paused`: it waits for somebody and is resumed by its run id."""


class ComponentTraceContext(ABC):
    """
    One component build inside a run, and its span. Safe to hand to another task or thread.

    Made by `trace_component` or `flowspan.component`; the identity never changes.
    """

    __slots__ = (
        "attachment",
        "component_id",
        "ended",
        "name",
        "outer",
        "run",
        "span",
        "trace_name",
        "type",
    )

    component_id: str
    name: str
    trace_name: str
    type: str
    span: Span
    run: TraceContext | None
    outer: ComponentTraceContext | None
    """The component that was open around this one, in whichever run."""
    ended: bool
    attachment: Attachment[ComponentTraceContext] | None

    @abstractmethod
    def add_log(self, message: object, *, name: str = "log", type: str = "text") -> None:
        """Add a `flowspan.log` event. Any value; frozen now. Never raises."""

    @abstractmethod
    def set_outputs(self, outputs: object) -> None:
        """
        Record the outputs, frozen now. Never raises.

        A mapping is merged into the mapping given before, as Langflow does; else the last counts.
        """

    @abstractmethod
    def set_usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        model: str | None = None,
    ) -> None:
        """
        Record the tokens that this component used, once: they are added to the run's sum.

        Not for tokens that a span below the component carries already.
        """

    @abstractmethod
    def set_error(self, error: BaseException | str) -> None:
        """
        Record an error that the component handles itself instead of raising it.

        A cancellation is recorded as one, a text as an error with that message.
        """


RUN: Final[ContextVar[TraceContext | None]] = ContextVar("flowspan_run", default=None)
COMPONENT: Final[ContextVar[ComponentTraceContext | None]] = ContextVar(
    "flowspan_component", default=None
)
ROOT_TRACE_ID: Final[ContextVar[int | None]] = ContextVar("flowspan_root_trace_id", default=None)
"""The trace id for the root span being started; our own provider's id generator reads it."""


def innermost_run() -> TraceContext | None:
    """The run in context, ended or not; never an ended one inside another."""
    run = RUN.get()
    while run is not None and run.ended:
        if run.outer is not None:
            run = run.outer.run
        elif run.around is not None:
            run = run.around
        else:
            break
    return run


def current_run() -> TraceContext | None:
    """The open run that this code belongs to, or None."""
    run = innermost_run()
    return None if run is None or run.ended else run


def current_component() -> ComponentTraceContext | None:
    """The open component that this code belongs to, or None."""
    component = COMPONENT.get()
    while component is not None and component.ended:
        component = component.outer
    return component


Here = tuple[TraceContext | None, ComponentTraceContext | None, Context]


def here() -> Here:
    """Where this code is: its run, its component, its OpenTelemetry context."""
    return RUN.get(), COMPONENT.get(), otel_context.get_current()


def enter(place: Here) -> None:
    """Be there from now on. Without tokens: what leaves again may run in another context."""
    RUN.set(place[0])
    COMPONENT.set(place[1])
    otel_context.attach(place[2])


def trace_id(run_id: object) -> int:
    """
    The trace id of a run that has no parent, under our own provider: a hash of its run id.

    So a resumed run joins its trace from any process, and a link to a trace can be made from the
    run id alone. Not the id itself: the fixed bits of a UUID would upset ratio sampling.
    Raises TypeError for what is neither a text nor a UUID.
    """
    if not isinstance(run_id, (str, uuid.UUID)):
        raise TypeError(f"trace_id(<{type(run_id).__name__}>): expected a text or a UUID")
    digest = hashlib.blake2b(str(run_id).encode("utf-8", "replace"), digest_size=16).digest()
    return int.from_bytes(digest, "big") or 1


_C = TypeVar("_C", TraceContext, ComponentTraceContext)


class Attachment(Generic[_C]):
    """
    A context made the current one, together with its span, until `detach`.

    `detach` may come from another task (an abandoned generator) or out of order (two generators
    taking turns): it then restores what is still true, and nothing that has ended.
    A context is attached once, so those that it finds before it were attached before it.
    """

    __slots__ = ("_before", "_otel", "_otel_before", "_otel_token", "_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[_C | None], value: _C) -> None:
        self._variable: ContextVar[_C | None] = variable
        self._value: _C = value
        self._before: _C | None = variable.get()
        self._otel_before = otel_context.get_current()
        self._otel: Context = set_span_in_context(value.span, self._otel_before)
        self._token: Token[_C | None] = variable.set(value)
        self._otel_token = otel_context.attach(self._otel)

    def detach(self) -> bool:
        """Restore what was before. Quiet, and False, where somebody else has to do that."""
        variable = self._variable
        current = variable.get()
        if current is not self._value and _is_attached(current):
            return False  # whoever came after us is still open and restores for both
        try:
            variable.reset(self._token)
        except ValueError:  # another task's context: no token of ours is good here
            if current is self._value:
                self._restore()
        else:
            otel_context.detach(self._otel_token)
        previous = variable.get()
        while previous is not None and previous.ended and previous.attachment is not None:
            previous.attachment._restore()  # it ended while we were open
            following = variable.get()
            if following is previous:
                break
            previous = following
        return True

    def _restore(self) -> None:
        self._variable.set(self._before)
        if otel_context.get_current() is self._otel:
            otel_context.attach(self._otel_before)


def _is_attached(value: TraceContext | ComponentTraceContext | None) -> bool:
    return value is not None and value.attachment is not None and not value.ended
