"""
LangChain's calls as child spans: models, tools, retrievers, agents, chains and graphs.

`CallbackHandler()` goes wherever LangChain takes callbacks; `get_langchain_callbacks()` of the
tracing services gives it. It holds nothing: the open calls are in `_calls`, which finds their
parent when they start; `_messages` reads what models are given and give. Every callback is guarded
at its edge.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry.trace import NoOpTracer, SpanKind, StatusCode, Tracer

from flowspan import _spans, semconv
from flowspan._calls import Call, find
from flowspan._guard import guard
from flowspan._messages import (
    PROVIDERS,
    answer_message,
    mapping,
    message,
    request_attributes,
    response_attributes,
    usage,
)
from flowspan._payload import MAX_ID_CHARS
from flowspan._spans import _COMPONENT_KINDS, _MODEL_KINDS, _OTHER_KINDS
from flowspan.context import TraceContext

try:
    from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
    from langchain_core.messages import ToolMessage
    from langchain_core.runnables.config import var_child_runnable_config
except ImportError as missing:
    raise ImportError(
        "flowspan.langchain traces LangChain, and langchain-core is not installed here: "
        "pip install 'flowspan[langchain]'"
    ) from missing

_START: Final = guard("record the start of a LangChain call")
_END: Final = guard("record the end of a LangChain call")

_CHAIN: Final = "chain"
_NAMELESS: Final = ("AgentExecutor", "LangGraph")  # the class, where nobody gave a name

_OTHERS: Final = (
    "openinference.instrumentation.langchain",
    "opentelemetry.instrumentation.langchain",
    "opentelemetry.instrumentation.genai.langchain",
)


class CallbackHandler(BaseCallbackHandler):
    """
    Give it to LangChain: ``model.invoke(question, config={"callbacks": [CallbackHandler()]})``.

    Holds no state: all are equal, and one may be shared by any number of threads, copied, pickled
    and kept for later. A call belongs to the component in which it is made, not to the one in
    which the handler was.
    """

    # Called where the call is made, not in a thread of LangChain's: the context is the caller's.
    run_inline = True

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    # ---- models

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        with _START:
            conversation = messages[0] if messages else []
            _start_model("chat", serialized, lambda: [*map(message, conversation)], kwargs)

    def on_llm_start(self, serialized: Any, prompts: Any, **kwargs: Any) -> None:
        with _START:
            _start_model("text_completion", serialized, lambda: [*map(message, prompts)], kwargs)

    def on_llm_new_token(self, token: Any = "", **kwargs: Any) -> None:
        with _END:
            call = find(kwargs.get("run_id"))
            if call is not None:
                call.chunk()

    def on_stream_event(self, event: Any = None, **kwargs: Any) -> None:
        self.on_llm_new_token(**kwargs)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        with _END:
            _end(kwargs, response, _record_answer)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        with _END:
            _end(kwargs, kwargs.get("response"), _record_answer, error)

    def on_retry(self, retry_state: Any, **kwargs: Any) -> None:
        with _END:
            call = find(kwargs.get("run_id"))
            if call is not None and call.shown:
                outcome = getattr(retry_state, "outcome", None)
                error = outcome.exception() if outcome is not None and outcome.done() else None
                call.retry(getattr(retry_state, "attempt_number", 0), error)

    # ---- tools

    def on_tool_start(self, serialized: Any, input_str: Any, **kwargs: Any) -> None:
        with _START:
            call = _open(kwargs)
            if call is None:
                return
            name = _name(call, serialized, kwargs) or "tool"
            attributes = {**_COMPONENT_KINDS["tool"], semconv.GEN_AI_TOOL_NAME: name}
            if call_id := call._spans.payloads.short(kwargs.get("tool_call_id"), MAX_ID_CHARS):
                attributes[semconv.GEN_AI_TOOL_CALL_ID] = call_id
            call.kind = "tool"
            if _show(call, f"execute_tool {name}", SpanKind.INTERNAL, attributes):
                given = kwargs.get("inputs")
                payload = call._spans.payloads.freeze(input_str if given is None else given)
                call.inputs(payload, semconv.GEN_AI_TOOL_CALL_ARGUMENTS)

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        with _END:
            _end(kwargs, output, _record_result)

    def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
        with _END:
            _end(kwargs, error=error)

    # ---- retrievers

    def on_retriever_start(self, serialized: Any, query: Any, **kwargs: Any) -> None:
        with _START:
            call = _open(kwargs)
            if call is None:
                return
            name = _name(call, serialized, kwargs) or "retriever"
            call.kind = "retriever"
            if _show(
                call, f"retrieval {name}", SpanKind.INTERNAL, dict(_COMPONENT_KINDS["retriever"])
            ):
                payload = call._spans.payloads.freeze(query)
                call.inputs(payload, semconv.GEN_AI_RETRIEVAL_QUERY_TEXT)

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        with _END:
            _end(kwargs, documents, _record_output)

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        with _END:
            _end(kwargs, error=error)

    # ---- chains, graphs, agents

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        with _START:
            call = _open(kwargs)
            if call is None:
                return
            name = _name(call, serialized, kwargs) or "chain"
            call.kind = _CHAIN
            above = find(kwargs.get("parent_run_id"))
            metadata = mapping(kwargs.get("metadata"))
            if metadata.get("langgraph_node") == name == "agent" and above is not None:
                _make_agent(above)  # the graph of LangGraph's `create_react_agent`
            if not call.is_root and _is_plumbing(name, kwargs):
                call.open()
                return
            if _show(call, name, SpanKind.INTERNAL, dict(_OTHER_KINDS)):
                if _is_agent(name, metadata):
                    _make_agent(call, name)
                call.inputs(call._spans.payloads.freeze(inputs))

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        with _END:
            _end(kwargs, (outputs, kwargs.get("inputs")), _record_chain)

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        with _END:
            # LangGraph's own signals: a command to the graph around, or a wait for somebody.
            signals = {kind.__name__ for kind in type(error).__mro__}
            if "GraphBubbleUp" not in signals:
                _end(kwargs, error=error)
            else:
                waits = "GraphInterrupt" in signals
                _end(kwargs, status=semconv.STATUS_PAUSED if waits else None)

    def on_agent_action(self, action: Any, **kwargs: Any) -> None:
        with _END:
            call = find(kwargs.get("run_id"))
            if call is not None:
                _make_agent(call)

    def on_agent_finish(self, finish: Any, **kwargs: Any) -> None:
        self.on_agent_action(finish, **kwargs)


HANDLER: Final = CallbackHandler()


# ---- opening and ending


def _open(kwargs: Mapping[str, Any]) -> Call | None:
    """A call at its place, not in the table yet. None if it is known or would not be recorded."""
    run_id = kwargs.get("run_id")
    if run_id is None or find(run_id) is not None:  # two of us, in one list of callbacks
        return None
    call = Call(run_id, find(kwargs.get("parent_run_id")) or _call_in_context())
    return call if call.worthwhile else None


def _call_in_context() -> Call | None:
    """The open call that this code runs in, which LangChain notes in a context variable."""
    config = var_child_runnable_config.get()
    manager = config.get("callbacks") if config else None
    return find(getattr(manager, "parent_run_id", None))


_spans._call_in_context = _call_in_context  # so components and runs nest below a tool as well


def _show(call: Call, name: str, kind: SpanKind, attributes: dict[str, Any]) -> bool:
    """Open *call* with a span, unless another instrumentation makes one. True if it records."""
    if not _is_instrumented(call._spans.tracer()):
        call.show(name, kind, attributes)
    call.open()
    return call._recording


def _end(
    kwargs: Mapping[str, Any],
    result: Any = None,
    record: Callable[[Call, Any], None] | None = None,
    error: BaseException | None = None,
    status: str | None = None,
) -> None:
    call = find(kwargs.get("run_id"))
    if call is None:
        return
    try:
        if record is not None and result is not None:
            record(call, result)
    finally:
        call.end(error, status=status)


def _is_instrumented(ours: Tracer) -> bool:
    """
    Whether OpenInference or OpenLLMetry makes spans of the same calls, for the same provider.

    They put a handler of theirs into every new callback manager: a new one shows it.
    """
    if not any(name in sys.modules for name in _OTHERS):
        return False
    for handler in BaseCallbackManager([]).inheritable_handlers:
        if type(handler).__module__.startswith(_OTHERS):
            theirs: Any = getattr(handler, "_tracer", None) or getattr(handler, "tracer", None)
            if _records_nothing(theirs):
                continue
            way_out = _way_out(theirs)
            if way_out is None or way_out is _way_out(ours):
                return True
    return False


def _records_nothing(tracer: Any) -> bool:
    """Whether no provider was set when *tracer* was made, nor has been since."""
    return isinstance(getattr(tracer, "_tracer", tracer), NoOpTracer)


def _way_out(tracer: Any) -> Any:
    """What takes the spans of *tracer*, the same for all tracers of a provider; None if unknown."""
    found = getattr(tracer, "span_processor", None)
    if found is None:  # made before its provider was set
        found = getattr(getattr(tracer, "_tracer", None), "span_processor", None)
    return found


# ---- what LangChain says of a call


def _name(call: Call, serialized: Any, kwargs: Mapping[str, Any]) -> str | None:
    described = mapping(serialized)
    path = described.get("id")
    of_class = path[-1] if isinstance(path, list) and path else None
    return call._spans.payloads.short(kwargs.get("name") or described.get("name") or of_class)


def _is_plumbing(name: str, kwargs: Mapping[str, Any]) -> bool:
    """What LangChain puts between the calls that a person knows of."""
    return (
        "langsmith:hidden" in (kwargs.get("tags") or ())
        or kwargs.get("run_type") in ("prompt", "parser")
        or name.startswith(("Runnable", "ChannelWrite", "ChannelRead"))
        or name.endswith(("PromptTemplate", "OutputParser"))
        or "Middleware." in name  # a hook of an agent's, before or after each call
    )


def _is_agent(name: str, metadata: Mapping[str, Any]) -> bool:
    if name == "AgentExecutor" or name == metadata.get("lc_agent_name"):
        return True
    inside = "langgraph_node" in metadata
    return metadata.get("ls_integration") == "langchain_create_agent" and not inside


def _make_agent(call: Call, name: str | None = None) -> None:
    """A chain turns out to be an agent; most say so only while they run."""
    if call.kind != _CHAIN or not call._recording:
        return
    call.kind = "agent"
    given = name or getattr(call.span, "name", None)
    call.span.set_attributes({**_COMPONENT_KINDS["agent"], **_conversation(call, {})})
    if given and given not in _NAMELESS:
        call.span.set_attribute(semconv.GEN_AI_AGENT_NAME, given)
        call.span.update_name(f"invoke_agent {given}")
    else:
        call.span.update_name("invoke_agent")


def _conversation(call: Call, metadata: Mapping[str, Any]) -> dict[str, str]:
    session = call.run.session_id if isinstance(call.run, TraceContext) else None
    for key in ("session_id", "conversation_id", "thread_id"):
        session = session or call._spans.payloads.short(metadata.get(key), MAX_ID_CHARS)
    return {semconv.GEN_AI_CONVERSATION_ID: session} if session else {}


def _start_model(
    operation: str,
    serialized: Any,
    messages: Callable[[], list[dict[str, Any]]],
    kwargs: Mapping[str, Any],
) -> None:
    call = _open(kwargs)
    if call is None:
        return
    short = call._spans.payloads.short
    params = mapping(kwargs.get("invocation_params"))
    metadata = mapping(kwargs.get("metadata"))
    attributes: dict[str, Any] = {
        **_MODEL_KINDS,
        semconv.GEN_AI_OPERATION_NAME: operation,
        **_conversation(call, metadata),
    }
    provider = short(metadata.get("ls_provider")) or _name(call, serialized, {}) or "langchain"
    attributes[semconv.GEN_AI_PROVIDER_NAME] = PROVIDERS.get(provider, provider.lower())
    named = (params.get(key) for key in ("model", "model_name", "model_id"))
    model = short(metadata.get("ls_model_name") or next(filter(None, named), None))
    if model:
        attributes[semconv.GEN_AI_REQUEST_MODEL] = model
    attributes.update(request_attributes(params, metadata, short))
    call.kind = "model"
    name = f"{operation} {model}" if model else operation
    if _show(call, name, SpanKind.CLIENT, attributes):
        payload = call._spans.payloads.freeze(messages())
        call.inputs(payload, semconv.GEN_AI_INPUT_MESSAGES)


# ---- what it gave


def _record_output(call: Call, output: Any) -> None:
    if call._recording:
        call.outputs(call._spans.payloads.freeze(output))


def _record_chain(call: Call, given: tuple[Any, Any]) -> None:
    outputs, streamed = given
    if call._recording:
        if streamed is not None:  # inputs that came in pieces are known only now
            call.inputs(call._spans.payloads.freeze(streamed))
        if outputs is not None:
            call.outputs(call._spans.payloads.freeze(outputs))


def _record_result(call: Call, output: Any) -> None:
    if not call._recording:
        return
    payloads = call._spans.payloads
    failed = False
    if isinstance(output, ToolMessage):
        if output.tool_call_id:
            call_id = payloads.short(output.tool_call_id, MAX_ID_CHARS) or ""
            call.span.set_attribute(semconv.GEN_AI_TOOL_CALL_ID, call_id)
        failed = output.status == "error"
        output = output.content
    payload = payloads.freeze(output)
    call.outputs(payload, semconv.GEN_AI_TOOL_CALL_RESULT)
    if failed:  # the error went to the model as the answer
        call.span.set_attribute(semconv.ERROR_TYPE, "tool_error")
        told = payload.text if call._spans.capture_outputs else None
        call.span.set_status(StatusCode.ERROR, told)


def _record_answer(call: Call, response: Any) -> None:
    """The answer of a model, and its tokens: those also where the span is somebody else's."""
    totals = mapping(response.llm_output)
    answers = [answer for batch in response.generations for answer in batch]
    used = usage(answers, totals)
    if used:
        call.usage(
            used.get(semconv.GEN_AI_USAGE_INPUT_TOKENS, 0),
            used.get(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, 0),
        )
    if call._recording:
        payloads = call._spans.payloads
        call.span.set_attributes({**used, **response_attributes(answers, totals, payloads.short)})
        if answers:
            said = payloads.freeze([answer_message(answer) for answer in answers])
            call.outputs(said, semconv.GEN_AI_OUTPUT_MESSAGES)
