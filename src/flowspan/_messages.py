"""
What LangChain says of a model's request and answer -> the conventions' attributes and messages.

Reads and builds plain dicts; imports nothing of LangChain, makes no span, and freezes nothing:
what comes out has still to pass through `Payloads`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from flowspan import semconv

_MAX_CHARS: Final = 1_024  # of a block that is no text: pictures and sound are named
_MAX_STOPS: Final = 16
_REASONS: Final = ("finish_reason", "stop_reason", "done_reason")

# LangChain's word for a provider, where the convention has another.
PROVIDERS: Final = {
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


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


# ---- requests


def request_attributes(
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


# ---- answers


def response_attributes(
    answers: Iterable[Any], totals: Mapping[str, Any], short: Callable[[Any], str | None]
) -> dict[str, Any]:
    """Model, id and finish reasons; ids that LangChain made up are none."""
    found: dict[str, Any] = {}
    reasons: list[str] = []
    for answer in answers:
        about = _about(answer)
        if model := short(_first(about, ("model_name", "model")) or totals.get("model_name")):
            found[semconv.GEN_AI_RESPONSE_MODEL] = model
        answer_id = about.get("id") or getattr(getattr(answer, "message", None), "id", None)
        if isinstance(answer_id, str) and not answer_id.startswith(("run-", "lc_run-")):
            found[semconv.GEN_AI_RESPONSE_ID] = short(answer_id)
        if reason := short(_first(about, _REASONS)):
            reasons.append(reason)
    if reasons:
        found[semconv.GEN_AI_RESPONSE_FINISH_REASONS] = reasons
    return found


def _about(answer: Any) -> dict[str, Any]:
    """What the provider says of an answer, wherever the model's class puts it."""
    of_message = getattr(getattr(answer, "message", None), "response_metadata", None)
    return {**mapping(getattr(answer, "generation_info", None)), **mapping(of_message)}


def _first(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    """What the first of *names* that is there stands for."""
    return next(filter(None, map(values.get, names)), None)


_USAGE: Final = (
    (semconv.GEN_AI_USAGE_INPUT_TOKENS, ("input_tokens", "prompt_tokens")),
    (semconv.GEN_AI_USAGE_OUTPUT_TOKENS, ("output_tokens", "completion_tokens")),
)
_DETAILS: Final = (
    (semconv.GEN_AI_USAGE_CACHE_READ, "input_token_details", "cache_read"),
    (semconv.GEN_AI_USAGE_CACHE_CREATION, "input_token_details", "cache_creation"),
    (semconv.GEN_AI_USAGE_REASONING, "output_token_details", "reasoning"),
)


def usage(answers: Iterable[Any], totals: Mapping[str, Any]) -> dict[str, int]:
    """The tokens of one call. Each of several answers names those of all: the first counts."""
    given = (getattr(getattr(one, "message", None), "usage_metadata", None) for one in answers)
    counts = mapping(next(filter(None, given), None) or totals.get("token_usage"))
    counts = counts or mapping(totals.get("usage"))
    if counts.get("total_cost") == 0:
        return {}  # an answer out of LangChain's own cache: no model was asked
    found: dict[str, int] = {}
    for attribute, names in _USAGE:
        for value in map(counts.get, names):
            if type(value) is int and 0 <= value < 2**63:
                found.setdefault(attribute, value)
    for attribute, details, name in _DETAILS:
        value = mapping(counts.get(details)).get(name)
        if type(value) is int and 0 < value < 2**63:
            found[attribute] = value
    return found


# ---- messages, as the conventions write them


def message(given: Any) -> dict[str, Any]:
    kind = getattr(given, "type", None)
    content = getattr(given, "content", None)
    if type(kind) is not str or content is None:  # a prompt, or what a model of one's own is given
        return {"role": "user", "parts": [{"type": "text", "content": given}]}
    answered = getattr(given, "tool_call_id", None)
    if answered is not None:
        response = {"type": "tool_call_response", "id": answered, "response": content}
        return {"role": "tool", "parts": [response]}
    blocks = content if isinstance(content, list) else [content]
    parts = [part for block in blocks if (part := _part(block)) is not None]
    for kind_of_call in ("tool_calls", "invalid_tool_calls"):
        for asked in getattr(given, kind_of_call, ()):
            call = {"type": "tool_call", "id": asked.get("id"), "name": asked.get("name")}
            parts.append({**call, "arguments": asked.get("args")})
    return {"role": getattr(given, "role", _ROLES.get(kind, kind)), "parts": parts}


def answer_message(answer: Any) -> dict[str, Any]:
    said = message(getattr(answer, "message", None) or answer.text)
    reason = _first(_about(answer), _REASONS)
    return {**said, "role": "assistant", **({"finish_reason": reason} if reason else {})}


def _part(block: Any) -> dict[str, Any] | None:
    """A block of a message; None for what is empty or stands among the tool calls as well."""
    if isinstance(block, str):
        return {"type": "text", "content": block} if block else None
    fields = mapping(block)
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
