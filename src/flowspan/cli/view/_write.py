"""
Traces -> OTLP's JSON: one document, as Jaeger's upload page and every OTLP tool reads it.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, islice
from typing import IO, Any, Final

import orjson

from flowspan.cli.view._model import Span, Trace
from flowspan.cli.view._stored import more_of

_AT_ONCE: Final = 256


def write(traces: Sequence[Trace], file: IO[bytes]) -> int:
    """Returns how many spans were written. Never holds more than a few of them. OSError passes."""
    written = 0
    file.write(b'{"resourceSpans":[')
    for trace in traces:
        for _, group in groupby(trace.spans, _origin):
            while spans := list(islice(group, _AT_ONCE)):
                file.write(b"," if written else b"")
                file.write(_resource_spans(spans))
                written += len(spans)
    file.write(b"]}\n")
    return written


def _resource_spans(spans: Sequence[Span]) -> bytes:
    first = spans[0]
    resource = {**first.resource}
    if first.service:
        resource.setdefault("service.name", first.service)
    scope = {"name": first.scope, **first.scope_more}
    if "attributes" in scope:
        scope["attributes"] = _pairs(scope["attributes"])
    inner = {"scope": _texts(scope), "spans": [_span(span) for span in spans]}
    return orjson.dumps({"resource": {"attributes": _pairs(resource)}, "scopeSpans": [inner]})


def _origin(span: Span) -> tuple[int, str, int]:
    return id(span.resource), span.scope, id(span.scope_more)


def _span(span: Span) -> dict[str, Any]:
    written: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_id,
        "name": _text(span.name),
        "kind": span.kind,
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _pairs(span.attributes),
        "events": [
            {
                "name": _text(event.name),
                "timeUnixNano": str(event.time),
                "attributes": _pairs(event.attributes),
                **_texts(event.more),
            }
            for event in span.events
        ],
        "links": [
            {
                "traceId": link.trace_id,
                "spanId": link.span_id,
                "attributes": _pairs(link.attributes),
                **_texts(link.more),
            }
            for link in span.links
            if link.trace_id and link.span_id
        ],
        "status": {"code": span.status, "message": _text(span.status_message)},
        **_texts(more_of(span)),
    }
    if not span.parent_id:
        del written["parentSpanId"]
    return written


def _pairs(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": _text(key), "value": _value(value)} for key, value in attributes.items()]


def _texts(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _text(value) if isinstance(value, str) else value for name, value in members.items()
    }


def _value(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _no_number(value)}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": _pairs(value)}}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return {"arrayValue": {"values": [_value(item) for item in value]}}
    return {"stringValue": _text(str(value))}


def _no_number(value: float) -> str:
    """As protobuf's JSON writes it."""
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"


def _text(text: str) -> str:
    """Halves of letters, which UTF-8 has not, as question marks."""
    return text.encode("utf-8", "replace").decode()
