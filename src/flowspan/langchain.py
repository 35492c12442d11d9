"""
LangChain's calls as child spans: models, tools, retrievers, agents, chains and graphs.

`CallbackHandler()` goes wherever LangChain takes callbacks; `get_langchain_callbacks()` of the
tracing services gives it. It holds nothing: the open calls are in `_calls`, which finds their
parent when they start. Here LangChain's objects are read. Every callback is guarded at its edge.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from opentelemetry.trace import SpanKind, StatusCode, Tracer

from flowspan import _spans, semconv
from flowspan._calls import Call, find
from flowspan._guard import guard
from flowspan._payload import MAX_ID_CHARS
from flowspan._spans import _COMPONENT_KINDS, _MODEL_KINDS, _OTHER_KINDS
from flowspan.context import TraceContext

try:
    from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
    from langchain_core.messages import BaseMessage, ToolMessage
    from langchain_core.runnables.config import var_child_runnable_config
except ImportError as missing:
    raise ImportError(
        "flowspan.langchain traces LangChain, and langchain-core is not installed here: "
        "pip install 'flowspan[langchain]'"
    ) from missing

_START: Final = guard("record the start of a LangChain call")
_END: Final = guard("record the end of a LangChain call")

_CHAIN: Final = "chain"
_AGENT: Final = "agent"
_MAX_CHARS: Final = 1_024  # of a block that is no text: pictures and sound are named
_MAX_STOPS: Final = 16

_OTHERS: Final = (
    "openinference.instrumentation.langchain",
    "opentelemetry.instrumentation.langchain",
    "opentelemetry.instrumentation.genai.langchain",
)

# LangChain's word for a provider, where the convention has another.
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "amazon_bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}
_ROLES: Final = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
_REQUEST: Final = (
    (semconv.GEN_AI_REQUEST_TEMPERATURE, float, ("temperature",)),
    (semconv.GEN_AI_REQUEST_TOP_P, float, ("top_p",)),
    (semconv.GEN_AI_REQUEST_TOP_K, int, ("top_k",)),
    (semconv.GEN_AI_REQUEST_FREQUENCY_PENALTY, float, ("frequency_penalty",)),
    (semconv.GEN_AI_REQUEST_PRESENCE_PENALTY, float, ("presence_penalty",)),
    (semconv.GEN_AI_REQUEST_SEED, int, ("seed",)),
    (
        semconv.GEN_AI_REQUEST_MAX_TOKENS,
        int,
        ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample"),
    ),
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
            _start_model("chat", serialized, lambda: [*map(_message, conversation)], kwargs)

    def on_llm_start(self, serialized: Any, prompts: Any, **kwargs: Any) -> None:
        with _START:
            _start_model("text_completion", serialized, lambda: [*map(_message, prompts)], kwargs)

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
            metadata = _mapping(kwargs.get("metadata"))
            if metadata.get("langgraph_node") == name == "agent" and above is not None:
                _make_agent(above)  # the graph of LangGraph's `create_react_agent`
            if not call.is_root and _is_plumbing(name, metadata, kwargs):
                call.open()
                return
            if _show(call, name, SpanKind.INTERNAL, dict(_OTHER_KINDS)):
                if _is_agent(name, metadata):
                    _make_agent(call, None if name == "LangGraph" else name)
                call.inputs(call._spans.payloads.freeze(inputs))

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        with _END:
            call = find(kwargs.get("run_id"))
            streamed = kwargs.get("inputs")  # known only now
            if call is not None and call._recording and streamed is not None:
                call.inputs(call._spans.payloads.freeze(streamed))
            _end(kwargs, outputs, _record_output)

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
            way_out = _way_out(theirs)
            if way_out is None or way_out is _way_out(ours):
                return True
    return False


def _way_out(tracer: Any) -> Any:
    """What takes the spans of *tracer*, the same for all tracers of a provider; None if unknown."""
    found = getattr(tracer, "span_processor", None)
    if found is None:  # made before its provider was set
        found = getattr(getattr(tracer, "_tracer", None), "span_processor", None)
    return found


# ---- what LangChain says of a call


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _name(call: Call, serialized: Any, kwargs: Mapping[str, Any]) -> str | None:
    described = _mapping(serialized)
    path = described.get("id")
    of_class = path[-1] if isinstance(path, list) and path else None
    return call._spans.payloads.short(kwargs.get("name") or described.get("name") or of_class)


def _is_plumbing(name: str, metadata: Mapping[str, Any], kwargs: Mapping[str, Any]) -> bool:
    """What LangChain puts between the calls that a person knows of."""
    return (
        "langsmith:hidden" in (kwargs.get("tags") or ())
        or kwargs.get("run_type") in ("prompt", "parser")
        or name.startswith(("Runnable", "ChannelWrite", "ChannelRead"))
        or name.endswith(("PromptTemplate", "OutputParser"))
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
    call.kind = _AGENT
    given = name or getattr(call.span, "name", None)
    call.span.set_attributes({**_COMPONENT_KINDS["agent"], **_conversation(call, {})})
    if given and given != "LangGraph":
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
    params = _mapping(kwargs.get("invocation_params"))
    metadata = _mapping(kwargs.get("metadata"))
    attributes: dict[str, Any] = {
        **_MODEL_KINDS,
        semconv.GEN_AI_OPERATION_NAME: operation,
        **_conversation(call, metadata),
    }
    provider = short(metadata.get("ls_provider")) or _name(call, serialized, {}) or "langchain"
    attributes[semconv.GEN_AI_PROVIDER_NAME] = _PROVIDERS.get(provider, provider.lower())
    named = (params.get(key) for key in ("model", "model_name", "model_id"))
    model = short(metadata.get("ls_model_name") or next(filter(None, named), None))
    if model:
        attributes[semconv.GEN_AI_REQUEST_MODEL] = model
    attributes.update(_request(params, metadata, short))
    call.kind = "model"
    name = f"{operation} {model}" if model else operation
    if _show(call, name, SpanKind.CLIENT, attributes):
        payload = call._spans.payloads.freeze(messages())
        call.inputs(payload, semconv.GEN_AI_INPUT_MESSAGES)


def _request(
    params: Mapping[str, Any], metadata: Mapping[str, Any], short: Callable[[Any], str | None]
) -> Iterable[tuple[str, Any]]:
    for attribute, kind, names in _REQUEST:
        for value in (*map(params.get, names), metadata.get(f"ls_{names[0]}")):
            if type(value) is kind or (kind is float and type(value) is int):
                yield attribute, kind(value)
                break
    stops = params.get("stop") or params.get("stop_sequences")
    if isinstance(stops, (list, str)) and stops:
        given = [stops] if isinstance(stops, str) else stops[:_MAX_STOPS]
        yield (
            semconv.GEN_AI_REQUEST_STOP_SEQUENCES,
            [text for stop in given if (text := short(stop))],
        )
    count = params.get("n")
    if type(count) is int and count > 1:
        yield semconv.GEN_AI_REQUEST_CHOICE_COUNT, count


# ---- what it gave


def _record_output(call: Call, output: Any) -> None:
    if call._recording:
        call.outputs(call._spans.payloads.freeze(output))


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
    answers = [answer for batch in response.generations for answer in batch]
    totals = _mapping(response.llm_output)
    usage = _usage(answers, totals)
    if usage:
        call.usage(
            usage.get(semconv.GEN_AI_USAGE_INPUT_TOKENS, 0),
            usage.get(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, 0),
        )
    if not call._recording or not answers:
        return
    payloads = call._spans.payloads
    late: dict[str, Any] = dict(usage)
    tree: list[dict[str, Any]] = []
    reasons: list[str] = []
    for answer in answers:
        message = getattr(answer, "message", None)
        about = {**_mapping(getattr(answer, "generation_info", None))}
        about.update(_mapping(getattr(message, "response_metadata", None)))
        said = _message(message if message is not None else answer.text)
        said["role"] = "assistant"
        found = (about.get(key) for key in ("finish_reason", "stop_reason", "done_reason"))
        if reason := payloads.short(next(filter(None, found), None)):
            said["finish_reason"] = reason
            reasons.append(reason)
        tree.append(said)
        model = about.get("model_name") or about.get("model") or totals.get("model_name")
        if model := payloads.short(model):
            late[semconv.GEN_AI_RESPONSE_MODEL] = model
        answer_id = about.get("id") or getattr(message, "id", None)
        if isinstance(answer_id, str) and not answer_id.startswith(("run-", "lc_run-")):
            late[semconv.GEN_AI_RESPONSE_ID] = payloads.short(answer_id, MAX_ID_CHARS)
    if reasons:
        late[semconv.GEN_AI_RESPONSE_FINISH_REASONS] = reasons
    call.span.set_attributes(late)
    call.outputs(payloads.freeze(tree), semconv.GEN_AI_OUTPUT_MESSAGES)


_USAGE: Final = (
    (semconv.GEN_AI_USAGE_INPUT_TOKENS, ("input_tokens", "prompt_tokens")),
    (semconv.GEN_AI_USAGE_OUTPUT_TOKENS, ("output_tokens", "completion_tokens")),
)
_DETAILS: Final = (
    (semconv.GEN_AI_USAGE_CACHE_READ, "input_token_details", "cache_read"),
    (semconv.GEN_AI_USAGE_CACHE_CREATION, "input_token_details", "cache_creation"),
    (semconv.GEN_AI_USAGE_REASONING, "output_token_details", "reasoning"),
)


def _usage(answers: Iterable[Any], totals: Mapping[str, Any]) -> dict[str, int]:
    """The tokens of one call. Each of several answers names those of all: the first counts."""
    given = (getattr(getattr(one, "message", None), "usage_metadata", None) for one in answers)
    usage = _mapping(next(filter(None, given), None) or totals.get("token_usage"))
    usage = usage or _mapping(totals.get("usage"))
    if usage.get("total_cost") == 0:
        return {}  # an answer out of LangChain's own cache: no model was asked
    found: dict[str, int] = {}
    for attribute, names in _USAGE:
        for value in map(usage.get, names):
            if type(value) is int and 0 <= value < 2**63:
                found.setdefault(attribute, value)
    for attribute, details, name in _DETAILS:
        value = _mapping(usage.get(details)).get(name)
        if type(value) is int and 0 < value < 2**63:
            found[attribute] = value
    return found


# ---- messages, as the conventions write them


def _message(message: Any) -> dict[str, Any]:
    if not isinstance(message, BaseMessage):  # a prompt, or whatever a model of its own is given
        return {"role": "user", "parts": [{"type": "text", "content": message}]}
    role = _ROLES.get(message.type, message.type)
    if isinstance(message, ToolMessage):
        answer = {"type": "tool_call_response", "id": message.tool_call_id}
        return {"role": "tool", "parts": [{**answer, "response": message.content}]}
    content: Any = message.content
    blocks = [content] if isinstance(content, str) else content
    parts = [part for block in blocks if (part := _part(block)) is not None]
    for kind in ("tool_calls", "invalid_tool_calls"):
        for asked in getattr(message, kind, ()):
            call = {"type": "tool_call", "id": asked.get("id"), "name": asked.get("name")}
            parts.append({**call, "arguments": asked.get("args")})
    return {"role": getattr(message, "role", role), "parts": parts}


def _part(block: Any) -> dict[str, Any] | None:
    """A block of a message; None for what is empty or stands among the tool calls as well."""
    if isinstance(block, str):
        return {"type": "text", "content": block} if block else None
    fields = _mapping(block)
    kind = fields.get("type")
    if kind == "text":
        return {"type": "text", "content": fields.get("text")}
    if kind in ("reasoning", "thinking"):
        thought = fields.get("reasoning") or fields.get("thinking")
        return {"type": "reasoning", "content": thought}
    if kind in ("tool_use", "tool_call", "function_call", "input_json_delta"):
        return None
    return {"type": kind or "block", "content": _named(fields, 0)}


def _named(value: Any, depth: int) -> Any:
    """*value* with its long texts, pictures mostly, named by their length."""
    if isinstance(value, str) and len(value) > _MAX_CHARS:
        return f"<{len(value)} characters>"
    if isinstance(value, dict) and depth < 3:
        return {key: _named(item, depth + 1) for key, item in value.items()}
    return value
