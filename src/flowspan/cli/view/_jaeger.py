"""
Jaeger's own JSON, which its UI downloads and its old query API answers -> OTLP's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

_KINDS: Final = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_SCOPE: Final = ("otel.scope.name", "otel.library.name")
_MEANT: Final = {  # tags that Jaeger made of what OTLP has fields for
    *_SCOPE,
    "otel.scope.version",
    "otel.library.version",
    "otel.status_code",
    "otel.status_description",
    "span.kind",
    "error",
    "internal.span.format",
}


def as_otlp(trace: Any) -> Iterator[tuple[Any, Any, list[Any]]]:
    """
    Resource, scope and spans of a trace. Raises KeyError and the like for anything else.

    Times were microseconds.
    """
    processes = trace.get("processes") or {}
    for span in trace["spans"]:
        process = processes.get(span.get("processID")) or span.get("process") or {}
        tags = _tags(process.get("tags"))
        resource = {
            "attributes": [
                {"key": "service.name", "value": {"stringValue": process.get("serviceName", "")}},
                *tags.values(),
            ]
        }
        given = _tags(span.get("tags"))
        scope = next((_text(given, name) for name in _SCOPE if name in given), "")
        yield resource, {"name": scope}, [_span(span, given)]


def _span(span: Mapping[str, Any], tags: Mapping[str, Any]) -> dict[str, Any]:
    start = int(span["startTime"])
    parent = _parent(span)
    links = [
        {"traceId": _padded(other["traceID"], 32), "spanId": _padded(other["spanID"], 16)}
        for other in span.get("references") or ()
        if other["spanID"] != parent or other.get("refType") != "CHILD_OF"
    ]
    failed = _text(tags, "otel.status_code") == "ERROR" or _text(tags, "error") == "true"
    return {
        "traceId": _padded(span["traceID"], 32),
        "spanId": _padded(span["spanID"], 16),
        "parentSpanId": _padded(parent, 16),
        "name": span.get("operationName"),
        "kind": _KINDS.get(_text(tags, "span.kind"), 1),
        "startTimeUnixNano": start * 1000,
        "endTimeUnixNano": (start + int(span.get("duration") or 0)) * 1000,
        "status": {
            "code": 2 if failed else 1 if _text(tags, "otel.status_code") == "OK" else 0,
            "message": _text(tags, "otel.status_description"),
        },
        "attributes": [tag for key, tag in tags.items() if key not in _MEANT],
        "events": [_event(log) for log in span.get("logs") or ()],
        "links": links,
    }


def _parent(span: Mapping[str, Any]) -> str:
    """
    As Jaeger finds it: what the span is a child of, else what it follows, in its own trace.

    Of a link to the parent and the parent itself Jaeger's storage keeps one.
    """
    own = [
        reference
        for reference in span.get("references") or ()
        if reference["traceID"] == span["traceID"]
    ]
    own.sort(key=lambda reference: reference.get("refType") != "CHILD_OF")
    return str(own[0]["spanID"]) if own else str(span.get("parentSpanID") or "")


def _event(log: Mapping[str, Any]) -> dict[str, Any]:
    fields = _tags(log.get("fields"))
    name = _text(fields, "event") or _text(fields, "name") or _text(fields, "message")
    return {
        "name": name or "log",
        "timeUnixNano": int(log.get("timestamp") or 0) * 1000,
        "attributes": [field for key, field in fields.items() if key != "event"],
    }


def _padded(text: Any, digits: int) -> Any:
    """Jaeger leaves leading zeros out."""
    return text.rjust(digits, "0") if text else ""


_TYPES: Final = {
    "bool": "boolValue",
    "int64": "intValue",
    "float64": "doubleValue",
    "binary": "bytesValue",
}


def _tags(tags: Any) -> dict[str, dict[str, Any]]:
    return {
        tag["key"]: {
            "key": tag["key"],
            "value": {_TYPES.get(tag.get("type"), "stringValue"): tag.get("value")},
        }
        for tag in tags or ()
    }


def _text(tags: Mapping[str, Any], key: str) -> str:
    for value in tags.get(key, {}).get("value", {}).values():
        return str(value).lower() if isinstance(value, bool) else str(value)
    return ""
