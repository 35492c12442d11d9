"""OTLP JSON, as Jaeger answers it -> one plain dict per span."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

# OTLP's numbers, in their order.
_KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUS_CODES = ("UNSET", "OK", "ERROR")


class Event(TypedDict):
    name: str
    time_nanos: int
    attributes: dict[str, Any]


class Link(TypedDict):
    trace_id: str
    span_id: str
    attributes: dict[str, Any]


class Status(TypedDict):
    code: str
    message: str


class Scope(TypedDict):
    name: str
    version: str
    attributes: dict[str, Any]


class Span(TypedDict):
    """
    Ids in lower-case hex, `parent_span_id` empty for a root; `kind` and `status["code"]` by name.

    Jaeger's memory store (1.62) is not a mirror: an array comes back as its JSON text, links
    without their attributes but with an `opentracing.ref_type`, scopes without attributes.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_span_id: str
    start_nanos: int
    end_nanos: int
    attributes: dict[str, Any]
    events: list[Event]
    links: list[Link]
    status: Status
    resource: dict[str, Any]
    scope: Scope


def spans_of(answer: Mapping[str, Any]) -> list[Span]:
    """Every span of an answer of `/api/v3/traces`, in the order of their start."""
    spans = [
        _span(span, scope=_scope(in_scope), resource=resource)
        for of_resource in answer["result"].get("resourceSpans", ())
        for resource in [_attributes(of_resource.get("resource", {}))]
        for in_scope in of_resource.get("scopeSpans", ())
        for span in in_scope.get("spans", ())
    ]
    return sorted(spans, key=lambda span: span["start_nanos"])


def _span(span: Mapping[str, Any], *, scope: Scope, resource: dict[str, Any]) -> Span:
    status = span.get("status", {})
    return Span(
        name=span["name"],
        kind=_KINDS[span.get("kind", 0)],
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_span_id=span.get("parentSpanId", ""),
        start_nanos=int(span["startTimeUnixNano"]),
        end_nanos=int(span["endTimeUnixNano"]),
        attributes=_attributes(span),
        events=[
            Event(
                name=event.get("name", ""),
                time_nanos=int(event["timeUnixNano"]),
                attributes=_attributes(event),
            )
            for event in span.get("events", ())
        ],
        links=[
            Link(trace_id=link["traceId"], span_id=link["spanId"], attributes=_attributes(link))
            for link in span.get("links", ())
        ],
        status=Status(code=_STATUS_CODES[status.get("code", 0)], message=status.get("message", "")),
        resource=resource,
        scope=scope,
    )


def _scope(in_scope: Mapping[str, Any]) -> Scope:
    scope = in_scope.get("scope", {})
    return Scope(
        name=scope.get("name", ""),
        version=scope.get("version", ""),
        attributes=_attributes(scope),
    )


def _attributes(owner: Mapping[str, Any]) -> dict[str, Any]:
    return _key_values(owner.get("attributes", ()))


def _key_values(pairs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value", {})) for pair in pairs}


def _value(any_value: Mapping[str, Any]) -> Any:
    """An AnyValue is a dict of one key, the type; empty for a null."""
    for kind, value in any_value.items():
        if kind == "intValue":
            return int(value)  # JSON writes 64 bits as text
        if kind == "doubleValue":
            return float(value)  # and NaN, too
        if kind == "bytesValue":
            return base64.b64decode(value)
        if kind == "arrayValue":
            return [_value(item) for item in value.get("values", ())]
        if kind == "kvlistValue":
            return _key_values(value.get("values", ()))
        return value
    return None
