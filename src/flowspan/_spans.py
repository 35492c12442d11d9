"""
Contexts -> spans: names, kinds, attributes, events, status and links, and who closes what.

`Spans` opens runs and components; what it returns are the contexts of `context.py`, with the
recording behind them. Speaks to `opentelemetry-api` only, so it cannot know whose provider makes
the span. If a span is not recording, nothing is serialised. Code here raises normally; `service`
guards the edge.
"""

from __future__ import annotations

import builtins
import concurrent.futures
import contextvars
import numbers
import os
import re
import sys
import threading
import time
import traceback
import uuid
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from flowspan import _guard, _links, semconv
from flowspan._component import Component, Edge
from flowspan._payload import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    Payload,
    Payloads,
    clean,
    identity,
)
from flowspan._redaction import Redactor
from flowspan.config import Config
from flowspan.context import (
    ROOT_TRACE_ID,
    RUN,
    ComponentTraceContext,
    TraceContext,
    current_component,
    current_run,
    innermost_run,
    trace_id,
)

GRACE: Final = 1.0  # seconds in which an end may still come after the task that started a run
EVENTS_RESERVED: Final = 2  # of the SDK's limit: an exception and a cancellation find room
_MAX_RECENT: Final = 4096
_MAX_TAGS: Final = 100
_MAX_INT: Final = 2**63  # what OTLP can carry
_MAX_RAISED: Final = 16

if TYPE_CHECKING:
    import asyncio

# `testing` puts others in their place.
_clock = time.time_ns
_new_run_id: Callable[[], str] = lambda: str(uuid.uuid4())  # noqa: E731
# Re-entrant: the garbage collector may end an abandoned generator's span while it is held.
_lock = threading.RLock()
_open_runs: weakref.WeakSet[Run] = weakref.WeakSet()
_lone_components: set[ComponentSpan] = set()
_lone_calls: set[Any] = set()  # of models, tools, …, outside a run: see `_calls`
_orphans: deque[Run] = deque()
_recent: OrderedDict[str, tuple[SpanContext, SpanContext | None]] = OrderedDict()  # and its parent
_call_in_context: Callable[[], Any] | None = None  # a bridge's way to the open call around the code


def _kinds(openinference: str, langwatch: str, traceloop: str, operation: str | None = None) -> Any:
    kinds = {
        semconv.OPENINFERENCE_SPAN_KIND: openinference,
        semconv.LANGWATCH_SPAN_TYPE: langwatch,
        semconv.TRACELOOP_SPAN_KIND: traceloop,
    }
    return kinds if operation is None else {semconv.GEN_AI_OPERATION_NAME: operation, **kinds}


_RUN_KINDS: Final[Mapping[str, str]] = _kinds("CHAIN", "workflow", "workflow", "invoke_workflow")
_OTHER_KINDS: Final[Mapping[str, str]] = _kinds("CHAIN", "component", "task")
_COMPONENT_KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "agent": _kinds("AGENT", "agent", "agent", "invoke_agent"),
    "tool": _kinds("TOOL", "tool", "tool", "execute_tool"),
    "retriever": _kinds("RETRIEVER", "rag", "task", "retrieval"),
    "embedding": _kinds("EMBEDDING", "component", "task"),
}
_MODEL_KINDS: Final[Mapping[str, str]] = _kinds("LLM", "llm", "task", "chat")
_UUID_SUFFIX: Final = re.compile(
    r" - (?:None|[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12})$"
)


class Spans:
    """
    Opens runs and components with one configuration and one source of tracers. Thread-safe.

    *tracer* is asked at each run, so that a provider set later is found.
    """

    def __init__(self, config: Config, tracer: Callable[[], Tracer]) -> None:
        self.config = config
        self.tracer = tracer
        # The SDK would cut JSON in the middle; ours is cut before, valid and marked.
        limits = config.limits.max_attribute_length, config.limits.max_span_attribute_length
        self.payloads = Payloads(
            Redactor(config.redact_keys, config.redact_patterns),
            min([config.max_payload_bytes, *(limit for limit in limits if limit is not None)]),
        )
        self.capture_inputs = config.capture_content and not config.hide_inputs
        self.capture_outputs = config.capture_content and not config.hide_outputs
        self.capture_content = config.capture_content
        self.edge_is_parent = config.parenting == "edge"
        self.process_parent = _process_parent(config)
        self.says_link = None if config.trace_url is None else _links.template(config)
        self.max_logs = max(0, config.limits.max_events - EVENTS_RESERVED)
        self._described: dict[tuple[str, str, str, str | None], dict[str, Any]] = {}

    def start_run(
        self,
        run_id: object,
        name: object,
        *,
        user_id: object = None,
        session_id: object = None,
        project_name: object = None,
        flow_id: object = None,
        tracing_user_id: object = None,
        inputs: object = None,
        tags: Iterable[str] = (),
        metadata: Mapping[str, object] | None = None,
        iteration: int | None = None,
        owned: bool = True,
    ) -> Run:
        """
        Open a run and its span; the caller makes it the current one.

        *iteration*: which turn of a loop it is, from 1.
        *owned*: the task that runs now ends the run if nobody else has, a little after itself.
        """
        end_orphans()
        run = Run()
        run.ended = True  # until its span exists, so that nobody ends half a run
        run._spans = self
        run.run_id = _run_id(run_id)
        short = self.payloads.short
        flow = identity(flow_id)
        given_name = short(name)
        run.name = flow_name(given_name, flow)
        run.project_name = short(project_name) or self.config.project_name
        run.flow_id = flow
        run.session_id = short(identity(session_id), MAX_ID_CHARS)
        run.user_id = short(identity(user_id), MAX_ID_CHARS)
        run.tracing_user_id = short(identity(tracing_user_id), MAX_ID_CHARS)
        public_id = short(run.run_id, MAX_ID_CHARS) or run.run_id
        run.outer = outer = current_component()
        if owned:
            _end_superseded(run)
        before = current_run()
        if outer is None and before is not None:
            run.around = before.around if before.attachment is None else before

        attributes: dict[str, Any] = {
            **_RUN_KINDS,
            semconv.GEN_AI_WORKFLOW_NAME: run.name,
            semconv.RUN_ID: public_id,
            semconv.RUN_NAME: given_name or run.name,
            semconv.PROJECT_NAME: run.project_name,
        }
        shared = run._shared = {semconv.RUN_ID: public_id, semconv.FLOW_NAME: run.name}
        if flow:
            attributes[semconv.FLOW_ID] = short(flow, MAX_ID_CHARS)
        if run.session_id:
            attributes[semconv.SESSION_ID] = shared[semconv.SESSION_ID] = run.session_id
            attributes[semconv.GEN_AI_CONVERSATION_ID] = run.session_id
        if run.user_id:
            attributes[semconv.USER_ID] = shared[semconv.USER_ID] = run.user_id
        if run.tracing_user_id:
            attributes[semconv.ENDUSER_ID] = run.tracing_user_id
        if iteration is not None:
            attributes[semconv.RUN_ITERATION] = iteration
        with _TAGS:
            given = (tags,) if isinstance(tags, str) else islice(tags or (), _MAX_TAGS)
            tag_list = [text for tag in given if (text := short(tag))]
            if tag_list:
                attributes[semconv.TAG_TAGS] = tag_list

        context, links, is_root = self._parent_of_run(run, outer)
        token = ROOT_TRACE_ID.set(trace_id(run.run_id) if is_root else None)
        try:
            run._tracer = self.tracer()
            run.span = span = run._tracer.start_span(
                run.name,
                context=context,
                kind=kind_of_run(context),
                attributes=attributes,
                links=links,
            )
        except Exception as error:  # noqa: BLE001 - of a sampler, a span processor
            _START_RUN.failed(error)
            run._tracer = trace.NoOpTracer()  # what is in it is not recorded either
            run.span = span = _unrecorded(context)
        finally:
            ROOT_TRACE_ID.reset(token)
        run._recording = span.is_recording()
        run.ended = False
        if run._recording:
            with _INPUTS:
                if inputs is not None:
                    run._record(_INPUT, self.payloads.freeze(inputs), self.capture_inputs)
                    if self.capture_inputs and type(inputs) is str:
                        message = self.payloads.message("user", inputs)
                        run._also(semconv.GEN_AI_INPUT_MESSAGES, message)
                if metadata and self.capture_content:
                    frozen = self.payloads.freeze(metadata)
                    span.set_attribute(semconv.METADATA, run._noted(semconv.METADATA, frozen).text)
        if outer is not None:
            outer._nested_started(run)  # type: ignore[attr-defined]
        with _lock:
            _open_runs.add(run)
        if owned:
            run._own()
        return run

    def start_component(
        self,
        info: Component,
        trace_name: object,
        inputs: object,
        *,
        inside_component: bool = False,
    ) -> ComponentSpan:
        """
        Open a component and its span under the run in context; the caller makes it current.

        *inside_component*: below the component in context, if that is of the same run.
        """
        run = innermost_run()
        outer = current_component()
        component = ComponentSpan()
        component._spans = self
        component.component_id = info.id
        component.name = info.name
        component.trace_name = trace_name if type(trace_name) is str else info.name
        component.type = info.type
        component.run = run
        component.outer = outer

        attributes = self._attributes_of(info)
        name = attributes[semconv.COMPONENT_NAME]
        links: list[Link] | None = None
        parent: Span | None = None
        if isinstance(run, Run):
            attributes.update(run._shared)
            parent = run.span
            if info.edges:
                links = run._links_of(info, attributes)
                if self.edge_is_parent:
                    parent = run._last_finished(info.edges) or parent
            if inside_component and outer is not None and outer.run is run:
                parent = active_below(outer)
                parent_id = self.payloads.short(outer.component_id, MAX_ID_CHARS)
                attributes.setdefault(semconv.GRAPH_NODE_PARENT_ID, parent_id or "")
        current = otel_context.get_current()
        if run is None and not trace.get_current_span(current).get_span_context().is_valid:
            _guard.report(
                "component outside a run",
                "its span is a trace of its own; call start_tracers or flowspan.run before",
            )
        context = current if parent is None else trace.set_span_in_context(parent, current)
        tracer = run._tracer if isinstance(run, Run) else self.tracer()
        try:
            component.span = span = tracer.start_span(
                name, context=context, attributes=attributes, links=links
            )
        except Exception as error:  # noqa: BLE001 - of a sampler, a span processor
            _START_COMPONENT.failed(error)
            component.span = span = _unrecorded(context)
        component._recording = span.is_recording()
        if component._recording and inputs is not None:
            try:
                payload = self.payloads.freeze(inputs)
                component._record(_INPUT, payload, self.capture_inputs)
                if self.capture_inputs and info.type == "tool":
                    component._also(semconv.GEN_AI_TOOL_CALL_ARGUMENTS, payload)
            except Exception as error:  # noqa: BLE001 - as `with _INPUTS` does, at less cost
                _INPUTS.failed(error)
        if isinstance(run, Run):
            run._started(component, info.edges)
        else:
            with _lock:
                _lone_components.add(component)
        return component

    def _attributes_of(self, info: Component) -> dict[str, Any]:
        """What a component's span carries whichever run it is in; made once for each component."""
        key = info.id, info.name, info.type, info.class_name
        known = self._described.get(key)
        if known is None:
            short = self.payloads.short
            name = short(info.name) or "component"
            component_id = short(info.id, MAX_ID_CHARS)
            known = {
                **_COMPONENT_KINDS.get(info.type, _OTHER_KINDS),
                semconv.COMPONENT_ID: component_id,
                semconv.COMPONENT_NAME: name,
                semconv.COMPONENT_TYPE: short(info.type),
                semconv.GRAPH_NODE_ID: component_id,
                semconv.GRAPH_NODE_NAME: name,
            }
            if info.class_name:
                known[semconv.COMPONENT_CLASS] = short(info.class_name)
            if info.type == "agent":
                known[semconv.GEN_AI_AGENT_NAME] = name
            elif info.type == "tool":
                known[semconv.GEN_AI_TOOL_NAME] = name
            if len(self._described) < _MAX_RECENT:
                self._described[key] = known
        return known.copy()

    def _parent_of_run(
        self, run: Run, outer: ComponentTraceContext | None
    ) -> tuple[Context, list[Link] | None, bool]:
        """The context for the run's span, links to what cannot be its parent, whether a root."""
        current = otel_context.get_current()
        if outer is not None:
            return trace.set_span_in_context(active_below(outer), current), None, False
        links: list[Link] = []
        span = trace.get_current_span(current)
        span_context = span.get_span_context()
        with _lock:
            earlier, _ = _recent.get(run.run_id, (None, None))
        if earlier is not None:
            links.append(Link(earlier, {semconv.LINK_TYPE: semconv.LINK_RESUME}))
        if not span_context.is_valid:
            if self.process_parent is None:
                return current, links, True
            return trace.set_span_in_context(self.process_parent, current), links, False
        if not _has_ended(span):
            return current, links, False
        if earlier is None or earlier.span_id != span_context.span_id:
            links.append(Link(span_context, {semconv.LINK_TYPE: semconv.LINK_ORIGIN}))
        return trace.set_span_in_context(trace.INVALID_SPAN, current), links, True


_INPUT: Final = (semconv.INPUT_VALUE, semconv.INPUT_MIME_TYPE, semconv.INPUT_BYTES)
_OUTPUT: Final = (semconv.OUTPUT_VALUE, semconv.OUTPUT_MIME_TYPE, semconv.OUTPUT_BYTES)


CONSUMED: Final = "flowspan-consumed"
"""Key in an OpenTelemetry context that was extracted from a message."""


def kind_of_run(context: Context) -> SpanKind:
    """CONSUMER for a run whose parent came with a message, else INTERNAL."""
    consumed = context.get(CONSUMED) is not None
    remote = trace.get_current_span(context).get_span_context().is_remote
    return SpanKind.CONSUMER if consumed and remote else SpanKind.INTERNAL


def _run_id(given: object) -> str:
    """*given* as text; a new id for None and for what has no text of its own."""
    run_id = identity(given)
    if run_id is None and given is not None and given != "":
        _guard.report("a run id that is no text", "it gets a new one; give a text or a UUID")
    return run_id or _new_run_id()


def flow_name(given: str | None, flow_id: str | None) -> str:
    """The flow's name as people know it: without the id behind it, never empty."""
    if not given:
        return "flow"
    if flow_id and given.endswith(f" - {flow_id}"):
        given = given[: -len(flow_id) - 3]
    else:
        given = _UUID_SUFFIX.sub("", given)
    return given if given.strip() and given != "None" else "flow"


def parent_of_earlier(run_id: object) -> Span | None:
    """What the latest run of that id in this process is below: one in context, or an ended one."""
    given, before = identity(run_id), RUN.get()
    if isinstance(before, Run) and before.run_id == given:
        parent = getattr(before.span, "parent", None)
    else:
        with _lock:
            _, parent = _recent.get(given or "", (None, None))
    return None if parent is None else trace.NonRecordingSpan(parent)


def _process_parent(config: Config) -> Span | None:
    """The span that this process was started by, from `TRACEPARENT`."""
    if config.traceparent is None:
        return None
    carrier = {"traceparent": config.traceparent, "tracestate": config.tracestate or ""}
    context = TraceContextTextMapPropagator().extract(carrier, Context())
    span = trace.get_current_span(context)
    return span if span.get_span_context().is_valid else None


def _has_ended(span: Span) -> bool:
    return not span.is_recording() and getattr(span, "end_time", None) is not None


def _unrecorded(context: Context) -> Span:
    """
    Stands in for a span that could not be started: what is below goes on below its parent.

    So whoever is around it is not written to in its place.
    """
    return trace.NonRecordingSpan(trace.get_current_span(context).get_span_context())


def active_below(component: ComponentTraceContext | TraceContext) -> Span:
    """The active span inside *component*: the current one, or that of a call; else its own."""
    current = trace.get_current_span()
    same_trace = current.get_span_context().trace_id == component.span.get_span_context().trace_id
    if same_trace and current is not component.span and not _has_ended(current):
        return current
    call = None if _call_in_context is None else _call_in_context()
    if call is not None and component in (call.component, call.run):
        span: Span = call.span
        return span
    return component.span


_RECORDED: Final = ("_calls", "_cut", "_hidden", "_raised", "_recording", "_spans")


class _Recorded:
    """What runs and components share: payloads on their span, and their one end."""

    # `_RECORDED` stands in the subclasses: two bases cannot both have slots.
    _spans: Spans
    _recording: bool
    _raised: tuple[_Raise, ...]
    _cut: tuple[str, ...]
    _hidden: dict[str, int] | None
    _calls: set[Any] | None  # what `_calls` has open here
    span: Span
    ended: bool

    def __init__(self) -> None:
        self.ended = False
        self._recording = False
        self._cut = ()
        self._hidden = None
        self._calls = None
        self._raised = ()  # what components below have shown already

    def _noted(self, attribute: str, payload: Payload) -> Payload:
        """*payload*, after taking down that it was cut or lacks secrets."""
        if payload.truncated and attribute not in self._cut:
            self._cut = (*self._cut, attribute)
        if payload.redacted:
            # Several logs add up; a value that is set again counts as it is now.
            hidden = self._hidden = self._hidden or {}
            before = hidden.get(attribute, 0) if attribute == semconv.LOG_MESSAGE else 0
            hidden[attribute] = before + payload.redacted
        return payload

    def _record(self, names: tuple[str, str, str], payload: Payload, capture: bool) -> None:
        """Put *payload* on the span under *names*: its text and mime type, or only its size."""
        span = self.span
        if not capture:
            span.set_attribute(names[2], len(payload.text.encode()))
            return
        if payload.truncated or payload.redacted:
            self._noted(names[0], payload)
        span.set_attribute(names[0], payload.text)  # twice costs the SDK less than a mapping
        span.set_attribute(names[1], payload.mime_type)

    def _also(self, attribute: str, payload: Payload) -> None:
        """What `_record` has put on the span, under a name of the conventions as well."""
        if payload.truncated and attribute not in self._cut:
            self._cut = (*self._cut, attribute)
        self.span.set_attribute(attribute, payload.text)

    @property
    def recording(self) -> bool:
        """Whether anything given now reaches a span."""
        return self._recording and not self.ended

    def frozen(self, outputs: object) -> Any:
        """Outputs as they are now, in JSON's types, for a span that gets them later."""
        payloads = self._spans.payloads
        return payloads.tree(self._noted(semconv.OUTPUT_VALUE, payloads.freeze(outputs)))

    def _fail(self, error: BaseException, *, event: bool) -> None:
        """Status ERROR with *error*; the `exception` event only where it was raised."""
        span = self.span
        kind = error_type(error)
        span.set_attribute(semconv.ERROR_TYPE, kind)
        message = ""
        if self._spans.capture_content:
            message = self._noted(
                semconv.EXCEPTION_MESSAGE, self._spans.payloads.text(_message_of(error))
            ).text
        span.set_status(StatusCode.ERROR, message or None)
        if event:
            span.add_event(semconv.EXCEPTION, self._exception(error, message))

    def _exception(self, error: BaseException, message: str | None = None) -> dict[str, Any]:
        """The attributes of an event that tells of *error*; *message*: its text, noted already."""
        attributes: dict[str, Any] = {semconv.EXCEPTION_TYPE: error_type(error)}
        if self._spans.capture_content:
            payloads = self._spans.payloads
            if message is None:
                text = payloads.text(_message_of(error))
                message = self._noted(semconv.EXCEPTION_MESSAGE, text).text
            attributes[semconv.EXCEPTION_MESSAGE] = message
            with _STACK:
                stack = payloads.text(_stack_of(error), keep_end=True)
                attributes[semconv.EXCEPTION_STACKTRACE] = self._noted(
                    semconv.EXCEPTION_STACKTRACE, stack
                ).text
        return attributes

    def _shown_below(self, error: BaseException) -> None:
        """A component or run below has shown *error*. The error itself is not kept alive."""
        if not self.ended:
            self._raised = (*self._raised[1 - _MAX_RAISED :], _where_raised(error))

    def _end_calls(self, error: BaseException | None, status: str | None) -> None:
        """End the calls whose end never came: as cancelled if this is, else as abandoned."""
        if self._calls:
            outcome = status if error is None else outcome_of(error)
            cancelled = outcome == semconv.STATUS_CANCELLED
            status = semconv.STATUS_CANCELLED if cancelled else semconv.STATUS_ABANDONED
            with _lock:
                calls = list(self._calls)
            for call in calls:
                call.end(status=status)

    def _marks(self) -> None:
        """What was cut and how much was hidden, last of all."""
        if self._cut:
            self.span.set_attribute(semconv.TRUNCATED, self._cut)
        if self._hidden:
            self.span.set_attribute(semconv.REDACTED, sum(self._hidden.values()))

    def _end_once(self) -> bool:
        """True for the one caller who may end the span."""
        with _lock:
            if self.ended:
                return False
            self.ended = True
            return True


class Run(_Recorded, TraceContext):
    """A run with its recording. Thread-safe: components may start and end in any thread."""

    __slots__ = (
        *_RECORDED,
        "_callback",
        "_finished",
        "_last_end",
        "_loop_task",
        "_open",
        "_outcome",
        "_paused",
        "_shared",
        "_contexts",
        "_thread",
        "_tracer",
        "_unhandled",
        "_until",
        "_usage",
        "over_with_task",
    )

    _shared: dict[str, str]
    _tracer: Tracer

    def __init__(self) -> None:
        _Recorded.__init__(self)
        self.attachment = None
        self.around = None
        self._open: set[ComponentSpan] = set()
        self._contexts: dict[str, SpanContext] = {}  # of the latest span of each component id
        self._finished: dict[str, None] = {}  # component ids, the last that ended stands last
        self._usage: list[int] | None = None
        self._paused = False
        self._outcome: _Outcome | None = None  # what its task says of it
        self._unhandled: dict[str, _Outcome] = {}  # by component id: what nobody went on from
        self._until: int | None = None  # when it was over, if nobody ends it
        self.over_with_task = False  # whoever started it never says that it has ended
        self._last_end: int | None = None  # of its components, where only they say it
        self._loop_task: weakref.ref[asyncio.Task[Any]] | None = None
        self._callback: Any = None
        self._thread = threading.get_ident()

    # ---- what users call

    def set_outputs(self, outputs: object) -> None:
        with _RUN_OUTPUTS:
            if self._recording and not self.ended:
                capture = self._spans.capture_outputs
                self._record(_OUTPUT, self._spans.payloads.freeze(outputs), capture)
                if capture and type(outputs) is str:
                    message = self._spans.payloads.message("assistant", outputs)
                    self._also(semconv.GEN_AI_OUTPUT_MESSAGES, message)

    def set_paused(self) -> None:
        self._paused = True

    # ---- ending

    def end(
        self,
        error: BaseException | None = None,
        *,
        status: str | None = None,
        end_time: int | None = None,
    ) -> bool:
        """
        End the run's span. False if it had ended: the first who ends it decides.

        *end_time*: nanoseconds since the epoch, default now. Its open components go on.
        """
        if not self._end_once():
            return False
        self._disown()
        try:
            try:
                self._end_calls(error, status)
                if self._recording:
                    self._conclude(error, status)
            finally:
                self.span.end(end_time)
        finally:  # whatever a span processor raised
            self._is_over(error)
        return True

    def _is_over(self, error: BaseException | None) -> None:
        self._forget_if_over()
        outer = self.outer
        if isinstance(outer, ComponentSpan):
            if error is not None:
                outer._shown_below(error)
            outer._nested_ended(self)
        elif self._recording:
            with _lock:
                parent = getattr(self.span, "parent", None)
                _recent[self.run_id] = self.span.get_span_context(), parent
                _recent.move_to_end(self.run_id)
                if len(_recent) > _MAX_RECENT:
                    _recent.popitem(last=False)

    def _conclude(self, error: BaseException | None, status: str | None) -> None:
        """Everything that is known of the run only when it is over."""
        span = self.span
        if error is not None and status is None:
            status = outcome_of(error)
        if status is None:
            status = semconv.STATUS_PAUSED if self._paused else semconv.STATUS_OK
        span.set_attribute(semconv.RUN_STATUS, status)
        if self._usage is not None:
            span.set_attribute(semconv.USAGE_INPUT_TOKENS, self._usage[0])
            span.set_attribute(semconv.USAGE_OUTPUT_TOKENS, self._usage[1])
            span.set_attribute(semconv.USAGE_TOTAL_TOKENS, min(sum(self._usage), _MAX_INT - 1))
        if status == semconv.STATUS_CANCELLED:
            span.add_event(semconv.CANCELLED)
        elif status == semconv.STATUS_ERROR:
            span.set_status(StatusCode.ERROR)
            if error is None:
                if (failure := self._failure()) is not None:
                    span.set_attribute(semconv.ERROR_TYPE, failure[1])
            else:
                # The component that raised it shows it; here it is shown if none did.
                self._fail(error, event=not _stems_from(error, self._raised))
        self._marks()
        if self._spans.says_link is not None and self.outer is None:
            with _SAY_LINK:
                self._say_link(self._spans.says_link, status)

    @property
    def public_id(self) -> str:
        """The run id as it is exported."""
        return self._shared[semconv.RUN_ID]

    def _say_link(self, link: str, status: str) -> None:
        """One line for a trace: a sub-flow or a turn of a loop has none of its own."""
        context = self.span.get_span_context()
        if not context.trace_flags.sampled:
            return
        started = getattr(self.span, "start_time", None)  # as the SDK has it
        ended = self._until or _clock()
        run_id = self.public_id
        _links.say(
            _links.fill(link, context.trace_id, run_id),
            name=self.name,
            status=status,
            seconds=(ended - started) / 1e9 if isinstance(started, int) else None,
            fields={
                "trace_id": f"{context.trace_id:032x}",
                "span_id": f"{context.span_id:016x}",
                "run_id": run_id,
                "run_name": self.name,
            },
        )

    def end_unended(self, fallback: str = semconv.STATUS_ABANDONED) -> bool:
        """
        End a run that nobody ended, with what its task and its components say of it.

        Of its components only what nobody handled: no second try went well, nothing followed.
        """
        end_time = self._until
        if self.over_with_task:
            end_time = self._last_end or end_time
            fallback = semconv.STATUS_OK if self._until is not None else fallback
        if self._failure() is not None:
            status = semconv.STATUS_ERROR
        elif self._outcome is not None:
            status = self._outcome[0]
        elif self._paused:
            status = semconv.STATUS_PAUSED  # which may cancel what runs beside it
        elif self._unhandled:
            status = semconv.STATUS_CANCELLED
        else:
            status = fallback
        return self.end(status=status, end_time=end_time)

    def _failure(self) -> _Outcome | None:
        """The error of its task, else the first of its components' that nobody handled."""
        said = [self._outcome, *list(self._unhandled.values())]
        errors = (one for one in said if one is not None and one[0] == semconv.STATUS_ERROR)
        return next(errors, None)

    def _forget_if_over(self) -> None:
        if self.ended and not self._open:
            with _lock:
                _open_runs.discard(self)

    def __del__(self) -> None:
        # Nobody can end it any more. Not here: the collector may run inside any lock.
        if not getattr(self, "ended", True):
            self._until = self._until or _clock()
            _orphans.append(self)

    # ---- the task that started it

    def _own(self) -> None:
        task = _current_task()
        if task is not None:
            self._loop_task = weakref.ref(task)
            # The task may outlive the run by far and shall not keep it.
            self._callback = partial(_owner_done, weakref.ref(self))
            task.add_done_callback(self._callback, context=contextvars.Context())

    def _disown(self) -> None:
        task = self._loop_task() if self._loop_task is not None else None
        if task is not None and not task.done() and threading.get_ident() == self._thread:
            task.remove_done_callback(self._callback)

    def _owner_done(self, task: asyncio.Task[Any]) -> None:
        if self.ended:
            return
        with _OWNER_DONE:
            self._until = _clock()
            if task.cancelled():
                self._outcome = semconv.STATUS_CANCELLED, ""
            else:
                # asks a future for its exception without marking it as retrieved
                error = getattr(task, "_exception", None)
                if error is not None:
                    self._outcome = outcome_of(error), error_type(error)
            # An end that was only scheduled may still come; the time of the end is known.
            task.get_loop().call_later(GRACE, self._grace_over)

    def _grace_over(self) -> None:
        with _OWNER_DONE:
            if not self._open:
                self.end_unended()

    # ---- its components

    def _started(self, component: ComponentSpan, edges: Sequence[Edge]) -> None:
        self._open.add(component)
        if self._unhandled:  # what follows a component that failed: somebody has seen to it
            for edge in edges:
                self._unhandled.pop(edge.source, None)
        if self.ended:  # a late one; the shutdown shall find it
            with _lock:
                _open_runs.add(self)
        self._contexts[component.component_id] = component.span.get_span_context()

    def _ended(self, component: ComponentSpan, error: BaseException | None) -> None:
        self._open.discard(component)
        if self.over_with_task:
            self._last_end = getattr(component.span, "end_time", None)
        if self._spans.edge_is_parent:
            self._finished.pop(component.component_id, None)
            self._finished[component.component_id] = None
        if component.outer is None or component.outer.run is not self:
            # One inside another component is that one's to handle, or to fail of.
            if error is None:
                self._unhandled.pop(component.component_id, None)
            else:
                self._unhandled[component.component_id] = outcome_of(error), error_type(error)
        if self.ended:
            self._forget_if_over()
        elif self._until is not None:  # its task is gone; this may have been the last
            self._until = _clock()
            if not self._open:
                self.end_unended()

    def _links_of(self, info: Component, attributes: dict[str, Any]) -> list[Link] | None:
        links: list[Link] = []
        short = self._spans.payloads.short
        target = attributes[semconv.COMPONENT_ID]
        for edge in info.edges:
            source = self._contexts.get(edge.source)
            if source is None:
                continue  # not built in this run, or not yet
            from_id = short(edge.source, MAX_ID_CHARS) or ""
            attributes.setdefault(semconv.GRAPH_NODE_PARENT_ID, from_id)
            links.append(
                Link(
                    source,
                    {
                        semconv.LINK_TYPE: semconv.LINK_EDGE,
                        semconv.EDGE_SOURCE: f"{from_id}.{short(edge.source_output)}"
                        if edge.source_output
                        else from_id,
                        semconv.EDGE_TARGET: f"{target}.{short(edge.target_input)}"
                        if edge.target_input
                        else target,
                    },
                )
            )
        return links or None

    def _last_finished(self, edges: Sequence[Edge]) -> Span | None:
        sources = {edge.source for edge in edges}
        for component_id in reversed(list(self._finished)):  # other threads add to it
            if component_id in sources:
                return trace.NonRecordingSpan(self._contexts[component_id])
        return None

    def _add_usage(self, input_tokens: int, output_tokens: int) -> None:
        with _lock:
            if self._usage is None:
                self._usage = [0, 0]
            self._usage[0] = min(self._usage[0] + input_tokens, _MAX_INT - 1)
            self._usage[1] = min(self._usage[1] + output_tokens, _MAX_INT - 1)
        outer = self.outer.run if self.outer is not None else None
        if isinstance(outer, Run):
            outer._add_usage(input_tokens, output_tokens)


class ComponentSpan(_Recorded, ComponentTraceContext):
    """A component with its recording. Its methods may be called from any thread."""

    __slots__ = (
        *_RECORDED,
        "_logs",
        "_nested",
        "_outputs",
        "calls",
        "given",
        "iterations",
        "usage_below",
    )

    def __init__(self) -> None:
        _Recorded.__init__(self)
        self.attachment = None
        self._logs = 0
        self.given: tuple[object, ...] = ()  # the outputs that a bridge gave last
        self.calls: object = None  # the name of the flow that it calls
        self.iterations = 0  # turns of the loop that it is
        self._nested: tuple[weakref.ref[Run], ...] = ()
        self._outputs: Payload | None = None
        self.usage_below = False  # a call below carries tokens: those of the component are the same

    # ---- what users call

    def add_log(self, message: object, *, name: str = "log", type: str = "text") -> None:
        with _ADD_LOG:
            self.log(message, name, type)

    def log(
        self, message: object, name: object, type: object, error: BaseException | None = None
    ) -> None:
        """`add_log` for callers that guard their own edge; *error* is what the line tells of."""
        if not self._recording:
            return
        if self.ended:
            _guard.report("log on an ended component", "it is lost; log before the component ends")
            return
        with _lock:  # from any thread, and none is lost without a count
            self._logs += 1
        spans = self._spans
        if self._logs > spans.max_logs:
            return
        attributes: dict[str, Any] = {
            semconv.LOG_NAME: spans.payloads.short(name) or "log",
            semconv.LOG_TYPE: spans.payloads.short(type) or "text",
        }
        if spans.capture_content:
            payload = spans.payloads.freeze(message)
            if payload.truncated or payload.redacted:
                self._noted(semconv.LOG_MESSAGE, payload)
            attributes[semconv.LOG_MESSAGE] = payload.text
        if error is not None:
            attributes |= self._exception(error)
        self.span.add_event(semconv.LOG, attributes)

    def set_outputs(self, outputs: object) -> None:
        with _COMPONENT_OUTPUTS:
            self.outputs(outputs)

    def outputs(self, outputs: object) -> None:
        """`set_outputs` for callers that guard their own edge. They reach the span at its end."""
        if not self._recording:
            return
        if self.ended:
            _guard.report(
                "outputs for an ended component",
                "they are lost; call set_outputs before the component ends",
            )
            return
        # A mapping is merged into the mapping given before, as Langflow's service does.
        while True:
            before = self._outputs
            merged = self._spans.payloads.freeze(outputs, before)
            with _lock:
                if self._outputs is before:  # else another thread was faster: onto its result
                    self._outputs = merged
                    return

    def set_usage(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        model: str | None = None,
    ) -> None:
        with _SET_USAGE:
            if not self._recording or self.ended:
                return
            late: dict[str, Any] = dict(_MODEL_KINDS) if self.type == "llm" else {}
            for attribute, given in (
                (semconv.GEN_AI_USAGE_INPUT_TOKENS, input_tokens),
                (semconv.GEN_AI_USAGE_OUTPUT_TOKENS, output_tokens),
            ):
                tokens = _tokens(given)
                if tokens is not None:
                    late[attribute] = tokens
            if model_name := self._spans.payloads.short(model):
                late[semconv.GEN_AI_REQUEST_MODEL] = model_name
            self.span.set_attributes(late)
            if isinstance(self.run, Run):
                self.run._add_usage(
                    late.get(semconv.GEN_AI_USAGE_INPUT_TOKENS, 0),
                    late.get(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, 0),
                )

    def set_error(self, error: BaseException | str) -> None:
        with _SET_ERROR:
            if not self._recording or self.ended:
                return
            if not isinstance(error, BaseException):
                if not error or type(error) is not str:
                    _guard.report("set_error without an error", "give the exception or a text")
                else:
                    self._fail(OtherError(error), event=True)
                return
            if is_cancellation(error):
                self.span.set_attribute(semconv.COMPONENT_STATUS, semconv.STATUS_CANCELLED)
                self.span.add_event(semconv.CANCELLED)
            else:
                self._fail(error, event=True)
            for above in (self, self.outer, self.run):  # it may be raised as well
                if isinstance(above, _Recorded):
                    above._shown_below(error)

    # ---- ending

    def end(self, error: BaseException | None = None, *, status: str | None = None) -> bool:
        """End the component's span. False if it had ended."""
        if not self._end_once():
            return False
        outcome = None if error is None else outcome_of(error)
        try:
            try:
                if self._nested:
                    self._end_nested(outcome or status or semconv.STATUS_OK)
                self._end_calls(error, status)
                if self._recording:
                    self._conclude(error, outcome, status)
            finally:
                self.span.end()
        finally:  # whatever a span processor raised
            self._outputs = None
            self.given = ()
            run_of = self.run
            if isinstance(run_of, Run):
                if outcome == semconv.STATUS_ERROR and error is not None:
                    run_of._shown_below(error)
                run_of._ended(self, error)
            else:
                with _lock:
                    _lone_components.discard(self)
        return True

    def _conclude(
        self, error: BaseException | None, outcome: str | None, status: str | None
    ) -> None:
        """Everything that is known of the component only when it is over."""
        span = self.span
        if self._outputs is not None:
            capture = self._spans.capture_outputs
            self._record(_OUTPUT, self._outputs, capture)
            if capture and self.type == "tool":
                self._also(semconv.GEN_AI_TOOL_CALL_RESULT, self._outputs)
        if outcome == semconv.STATUS_ERROR and error is not None:
            self._fail(error, event=not _is_shown(error, self._raised))
            if isinstance(self.outer, ComponentSpan):
                self.outer._shown_below(error)
        elif outcome == semconv.STATUS_CANCELLED or status is not None:
            span.set_attribute(semconv.COMPONENT_STATUS, status or outcome or "")
            if status is None and not (error and _is_shown(error, self._raised)):
                span.add_event(semconv.CANCELLED)
        if self._logs > self._spans.max_logs:
            span.set_attribute(semconv.LOGS_DROPPED, self._logs - self._spans.max_logs)
        self._marks()

    def _nested_started(self, run: Run) -> None:
        with _lock:
            self._nested = (*self._nested, weakref.ref(run))

    def _nested_ended(self, run: Run) -> None:
        with _lock:
            self._nested = tuple(other for other in self._nested if other() not in (run, None))

    def _end_nested(self, fallback: str) -> None:
        """The runs in it that nobody ended are closed for them."""
        end_orphans()
        for reference in self._nested:
            run = reference()
            if run is not None:
                run.end_unended(fallback)


_Outcome = tuple[str, str]  # a status and, of an error, its `error.type`
_GROUP: Final[Any] = getattr(builtins, "BaseExceptionGroup", ())  # Python 3.11


def is_cancellation(error: BaseException) -> bool:
    """Whether the work was called off rather than failed."""
    if isinstance(error, SystemExit):
        return error.code in (None, 0)
    if isinstance(error, Exception):
        return isinstance(error, concurrent.futures.CancelledError)
    return not isinstance(error, _GROUP) or all(map(is_cancellation, error.exceptions))


def outcome_of(error: BaseException) -> str:
    return semconv.STATUS_CANCELLED if is_cancellation(error) else semconv.STATUS_ERROR


_Raise = tuple[int, int, int]


def _where_raised(error: BaseException) -> _Raise:
    """
    What tells one raised exception from another without keeping it, and its frames, alive.

    The address alone does not: the next exception may get the same.
    """
    step = error.__traceback__
    if step is None:
        return id(error), 0, 0
    while step.tb_next is not None:
        step = step.tb_next
    return id(error), id(step.tb_frame.f_code), step.tb_lineno


def _is_shown(error: BaseException, origins: Sequence[_Raise]) -> bool:
    """Whether *error* is one of *origins*, or a group of nothing else."""
    if not origins:
        return False
    if _where_raised(error) in origins:
        return True
    return isinstance(error, _GROUP) and all(_is_shown(each, origins) for each in error.exceptions)


def _stems_from(error: BaseException, origins: Sequence[_Raise]) -> bool:
    """Whether *error* is one of *origins* or was raised because of it."""
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None or not origins:
            return False
        if _is_shown(seen, origins):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _tokens(given: Any) -> int | None:
    """A count of tokens as it fits the wire, of any type for whole numbers; else None."""
    kind = type(given)
    whole = issubclass(kind, numbers.Integral) and not issubclass(kind, bool)
    if whole or (issubclass(kind, float) and float.is_integer(given)):
        number = int(given)
        if 0 <= number < _MAX_INT:
            return number
    if given is not None:
        _guard.report("usage that is no count of tokens", "it is left out; give whole numbers")
    return None


class OtherError(Exception):
    """An error that was given as a text; its name is the `error.type` of what is no exception."""


OtherError.__module__ = "builtins"
OtherError.__qualname__ = "_OTHER"


def error_type(error: BaseException) -> str:
    """The fully qualified name of the class, as `error.type` wants it."""
    cls = type(error)
    module = cls.__module__
    name = cls.__qualname__ if module in (None, "builtins") else f"{module}.{cls.__qualname__}"
    return clean(name)[:MAX_NAME_CHARS]


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # noqa: BLE001 - a `__str__` may raise SystemExit
        return f"<{type(failure).__name__} in __str__>"


def _stack_of(error: BaseException) -> str:
    formatted = traceback.TracebackException(
        type(error), error, error.__traceback__, limit=-50, compact=True
    )
    return "".join(formatted.format())


def _current_task() -> asyncio.Task[Any] | None:
    """The asyncio task that runs now. Where nobody imported asyncio there is none to ask."""
    current_task = getattr(sys.modules.get("asyncio"), "current_task", None)
    try:
        return None if current_task is None else current_task()
    except RuntimeError:  # no event loop in this thread
        return None


def _owner_done(reference: weakref.ref[Run], task: asyncio.Task[Any]) -> None:
    run = reference()
    if run is not None:
        run._owner_done(task)


def _end_superseded(run: Run) -> None:
    """
    End the run before as `paused`, if this same task goes on with its run id.

    Any other run before may be in the hands of a task that it was given to. When nobody holds it
    any more it is an orphan: so sequential runs whose `end_tracers` never comes end in time.
    """
    before = RUN.get()
    if (
        not isinstance(before, Run)
        or before.ended
        or before.attachment is not None
        or before._open
        or before.outer is not None
        or run.outer is not None
        or before.run_id != run.run_id
        or before._thread != run._thread
    ):
        return
    task = _current_task()
    if (before._loop_task() if before._loop_task is not None else None) is task:
        before.end_unended(semconv.STATUS_PAUSED)


def end_orphans() -> None:
    """End the runs that nobody can end any more."""
    while _orphans:
        try:
            run = _orphans.popleft()
        except IndexError:
            return
        with _ORPHAN:
            for component in list(run._open):
                component.end(status=semconv.STATUS_ABANDONED)
            nested = run.outer is not None
            run.end_unended(semconv.STATUS_OK if nested else semconv.STATUS_ABANDONED)


def span_context_of(run_id: str) -> SpanContext | None:
    """Of the run with this id that is open in this process, else of the last that was."""
    with _lock:
        found = [run.span for run in _open_runs if run.run_id == run_id and not run.ended]
        return found[0].get_span_context() if found else _recent.get(run_id, (None, None))[0]


def open_runs(spans: Spans) -> list[Run]:
    """The runs that *spans* has opened and that are open, or have an open component."""
    with _lock:
        return [run for run in _open_runs if run._spans is spans]


def end_all_open(spans: Spans) -> int:
    """End what *spans* has still open, at shutdown. Returns how many spans that were."""
    end_orphans()
    runs = open_runs(spans)
    with _lock:
        components = [component for component in _lone_components if component._spans is spans]
        calls = [call for call in _lone_calls if call._spans is spans]
    count = 0
    for call in calls:
        count += call.end(status=semconv.STATUS_ABANDONED)
    for run in runs:
        components.extend(run._open)
    for component in components:
        count += component.end(status=semconv.STATUS_ABANDONED)
    for run in runs:
        count += run.end_unended()
    return count


def _after_fork_in_child() -> None:
    """What the parent has open is the parent's to end."""
    global _lock
    _lock = threading.RLock()
    components = list(_lone_components)
    for run in list(_open_runs):
        run.ended = True
        components.extend(run._open)
    for component in components:  # what is opened here still nests below them
        component.span = trace.NonRecordingSpan(component.span.get_span_context())
        component._recording = False
    _open_runs.clear()
    _lone_components.clear()
    _orphans.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

_START_RUN: Final = _guard.guard("start a run's span", "neither it nor what is in it is recorded")
_START_COMPONENT: Final = _guard.guard("start a component's span", "it is not recorded")
_INPUTS: Final = _guard.guard("record inputs")
_ADD_LOG: Final = _guard.guard("record a log")
_COMPONENT_OUTPUTS: Final = _guard.guard("record a component's outputs")
_RUN_OUTPUTS: Final = _guard.guard("record a run's outputs")
_SET_USAGE: Final = _guard.guard("record usage")
_SET_ERROR: Final = _guard.guard("record an error")
_TAGS: Final = _guard.guard("record tags", "the run lacks them; give a list of texts")
_STACK: Final = _guard.guard("record a stack trace")
_SAY_LINK: Final = _guard.guard("log the link of a run", "there is no line for it")
_ORPHAN: Final = _guard.guard("end an abandoned run")
_OWNER_DONE: Final = _guard.guard("end a run after its task")
