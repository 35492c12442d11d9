"""
One span with all that it carries, as lines for a terminal and as a JSON object.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from rich.text import Text

from flowspan import semconv
from flowspan.cli.view._analysis import OPEN, Analysis, error_text, tokens_of
from flowspan.cli.view._list import moment
from flowspan.cli.view._model import Span
from flowspan.cli.view._text import Signs, ascii_only, clean, duration
from flowspan.cli.view._tree import colour_of, kind_of

_PAYLOADS: Final = (
    ("inputs", semconv.INPUT_VALUE),
    ("outputs", semconv.OUTPUT_VALUE),
    ("arguments", semconv.GEN_AI_TOOL_CALL_ARGUMENTS),
    ("result", semconv.GEN_AI_TOOL_CALL_RESULT),
    ("input messages", semconv.GEN_AI_INPUT_MESSAGES),
    ("output messages", semconv.GEN_AI_OUTPUT_MESSAGES),
    ("metadata", semconv.METADATA),
)
_STATUSES: Final = ("unset", "ok", "error")


def lines(found: Analysis, span: Span, signs: Signs) -> Iterator[Text]:
    """As long as they are: what is asked for is shown whole."""
    for text, style in _lines(found, span, signs):
        for line in clean(text).split("\n"):
            yield Text(ascii_only(line) if signs.cut == "~" else line, style=style)


def _lines(found: Analysis, span: Span, signs: Signs) -> Iterator[tuple[str, str]]:
    attributes = dict(span.attributes)
    outcome = span.outcome if span.end else OPEN
    is_root = found.trace.parent(span) is None
    yield span.name or "(no name)", "bold"
    took = duration(span.duration) if span.end else signs.dash
    own = duration(found.self_times.get(span.span_id, 0))
    critical = found.critical.get(span.span_id)
    path = "" if critical is None else f", {duration(critical)} on the critical path"
    yield f"{kind_of(span, is_root=is_root)}, {took} ({own} its own{path})", ""
    yield outcome, colour_of(outcome)
    if text := error_text(span):
        yield f"error    {text}", "red"
    if any(tokens := tokens_of(span)):
        yield f"tokens   {tokens.input:,} in, {tokens.output:,} out", ""
    yield f"started  {moment(span.start)}.{span.start // 1000 % 1_000_000:06d}", "dim"
    yield f"trace    {span.trace_id}", "dim"
    parent = f", below {span.parent_id}" if span.parent_id else ""
    yield f"span     {span.span_id}{parent}", "dim"
    if span.service or span.scope:
        yield f"from     {span.service or signs.dash} ({span.scope or 'no scope'})", "dim"
    for title, key in _PAYLOADS:
        if key in attributes:
            yield f"\n{title}", "bold"
            yield _pretty(attributes.pop(key)), ""
    if attributes:
        yield "\nattributes", "bold"
        yield from _table(attributes)
    for event in span.events:
        after = duration(max(0, event.time - span.start))
        yield f"\nevent {event.name}, after {after}", "bold"
        yield from _table(event.attributes)
    for link in span.links:
        other = found.trace.by_id.get(link.span_id) if link.trace_id == span.trace_id else None
        name = f" ({other.name})" if other else ""
        yield f"\nlink to {link.span_id}{name} of trace {link.trace_id}", "bold"
        yield from _table(link.attributes)
    if span.resource:
        yield "\nresource", "bold"
        yield from _table(span.resource)


def _table(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    width = min(40, max(map(len, values), default=0))
    for key in sorted(values):
        shown = _pretty(values[key]).replace("\n", "\n  " + " " * width + "  ")
        yield f"  {key:<{width}}  {shown}", ""


def _pretty(value: Any) -> str:
    """JSON text is indented; other text is itself."""
    if isinstance(value, str):
        if not value.lstrip().startswith(("{", "[")):
            return value
        try:
            return _indented(orjson.loads(value))
        except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
            return value  # it is none, or too deep to be read by anybody
    return _indented(value)


def _indented(value: Any) -> str:
    return orjson.dumps(jsonable(value), option=orjson.OPT_INDENT_2).decode()


def jsonable(value: Any) -> Any:
    """What orjson writes: bytes as base64, numbers beyond 64 bits and no numbers as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        return str(value)
    if isinstance(value, Mapping):
        return {jsonable(str(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


# ---- as JSON


def trace_object(found: Analysis) -> dict[str, Any]:
    """One row of the list."""
    root = found.trace.root
    return {
        "trace_id": found.trace.trace_id,
        "run_id": jsonable(root.attributes.get(semconv.RUN_ID)),
        "name": jsonable(root.name),
        "service": jsonable(root.service),
        "start_nanos": found.trace.start,
        "duration_nanos": found.duration,
        "status": jsonable(found.status),
        "spans": len(found.trace.spans),
        "tokens": found.tokens._asdict(),
        "errors": [{"span_id": s.span_id, "text": jsonable(error_text(s))} for s in found.errors],
    }


def span_object(found: Analysis, span: Span, *, whole: bool) -> dict[str, Any]:
    """*whole*: with attributes, events and links."""
    shown: dict[str, Any] = {
        "span_id": span.span_id,
        "parent_id": span.parent_id or None,
        "name": jsonable(span.name),
        "kind": kind_of(span, is_root=found.trace.parent(span) is None),
        "start_nanos": span.start,
        "duration_nanos": span.duration if span.end else None,
        "self_nanos": found.self_times.get(span.span_id, 0),
        "critical_nanos": found.critical.get(span.span_id),
        "status": jsonable(span.outcome if span.end else OPEN),
        "tokens": tokens_of(span)._asdict(),
        "error": jsonable(error_text(span)) or None if span.is_error else None,
    }
    if whole:
        shown |= {
            "trace_id": span.trace_id,
            "service": jsonable(span.service),
            "scope": jsonable(span.scope),
            "otel_status": _STATUSES[span.status] if span.status < 3 else span.status,
            "attributes": jsonable(span.attributes),
            "events": [
                {
                    "name": jsonable(event.name),
                    "time_nanos": event.time,
                    "attributes": jsonable(event.attributes),
                }
                for event in span.events
            ],
            "links": [
                {
                    "trace_id": link.trace_id,
                    "span_id": link.span_id,
                    "attributes": jsonable(link.attributes),
                }
                for link in span.links
            ],
            "resource": jsonable(span.resource),
        }
    return shown
