"""
OTLP's JSON -> spans: values, ids, times and enumerations as anybody writes them.

Ids in hex or base64, 64-bit numbers as text or as numbers, enumerations by name or by number.
Anything that is not so is a ValueError.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from sys import intern
from typing import Any, Final

import orjson

from flowspan import semconv
from flowspan.cli.view._model import NO_ATTRIBUTES, Event, Link, Span
from flowspan.cli.view._stored import KEPT, Details, Store, Stored, StoredEvents, StoredLinks

Raw = Mapping[str, Any]

_KINDS: Final = {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(
        ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
    )
}
_STATUSES: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
MAX_DEPTH: Final = 48
"""Of values within values: written as OTLP's JSON they are four times as deep, and orjson has its
end at 254."""
_HEX: Final = frozenset("0123456789abcdefABCDEF")
TOO_DEEP: Final = "values within values, too many to be OTLP"
_NO_ID: Final = {"0" * 16, "0" * 32}


class Origin:
    """Resource and scope that spans have in common; *more* of the scope: version, attributes."""

    __slots__ = ("more", "resource", "scope", "service")

    def __init__(
        self, resource: Mapping[str, Any], scope: str, more: Mapping[str, Any] = NO_ATTRIBUTES
    ) -> None:
        self.resource = resource
        self.service = intern(str(resource.get(semconv.SERVICE_NAME, "")))
        self.scope = intern(scope)
        self.more = more


def origin_of(resource: Any, scope: Any) -> Origin:
    """Of a resource and a scope as they stand in a request; None where there is none."""
    scope = scope or {}
    more: dict[str, Any] = {}
    if version := _text_of(scope.get("version")):
        more["version"] = version
    if attributes := attributes_of(scope.get("attributes")):
        more["attributes"] = attributes
    name = _text_of(scope.get("name"))
    return Origin(attributes_of((resource or {}).get("attributes")), name, more or NO_ATTRIBUTES)


def span_of(raw: Raw, origin: Origin, store: Store) -> Span:
    try:
        return _span_of(raw, origin, store)
    except (TypeError, AttributeError, KeyError, OverflowError) as error:
        raise ValueError("not a span of OTLP's") from error


def _span_of(raw: Raw, origin: Origin, store: Store) -> Span:
    status = raw.get("status") or NO_ATTRIBUTES
    attributes, events, links = raw.get("attributes"), raw.get("events"), raw.get("links")
    trace_id = id_of(raw["traceId"], 32)
    span_id = id_of(raw["spanId"], 16)
    if not trace_id or not span_id:
        raise ValueError("a span without an id")
    carried: Mapping[str, Any] = NO_ATTRIBUTES
    its_events: Sequence[Event] = ()
    its_links: Sequence[Link] = ()
    more = _more_of(raw)
    if attributes or events or links or more:
        kept = {
            each["key"]: _or_nothing(value_of, each.get("value"), None)
            for each in attributes or ()
            if each["key"] in KEPT
        }
        carried = stored = StoredJson(
            store, _packed((attributes, events, links, more)), kept or NO_ATTRIBUTES
        )
        its_events = StoredEvents(stored) if events else ()
        its_links = StoredLinks(stored) if links else ()
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=id_of(raw.get("parentSpanId"), 16),
        name=intern(_text_of(raw.get("name"))),
        kind=_enum(raw.get("kind"), _KINDS),
        start=time_of(raw.get("startTimeUnixNano")),
        end=time_of(raw.get("endTimeUnixNano")),
        status=_enum(status.get("code"), _STATUSES),
        status_message=_text_of(status.get("message")),
        attributes=carried,
        events=its_events,
        links=its_links,
        service=origin.service,
        scope=origin.scope,
        scope_more=origin.more,
        resource=origin.resource,
    )


class StoredJson(Stored):
    """Kept as it stands in OTLP's JSON."""

    __slots__ = ()

    @staticmethod
    def decode(data: bytes) -> Details:
        attributes, events, links, more = _unpacked(data)
        return Details(
            attributes_of(attributes),
            [
                Event(
                    name=_text_of(each.get("name")),
                    time=_or_nothing(time_of, each.get("timeUnixNano"), 0),
                    attributes=attributes_of(each.get("attributes")),
                    more=_more_of(each),
                )
                for each in _mappings(events)
            ],
            [
                Link(
                    trace_id=_or_nothing(id_of, each.get("traceId"), ""),
                    span_id=_or_nothing(id_of, each.get("spanId"), ""),
                    attributes=attributes_of(each.get("attributes")),
                    more=_more_of(each),
                )
                for each in _mappings(links)
            ],
            more,
        )


def _more_of(raw: Raw) -> Mapping[str, Any]:
    """What there is of `_MORE`, of a span, an event or a link."""
    more = {
        name: value
        for name, read in _MORE
        if raw.get(name) and (value := _or_nothing(read, raw[name], None))
    }
    return more or NO_ATTRIBUTES


def _text_of(value: Any) -> str:
    """Empty for what is neither text nor a number."""
    return str(value) if value and isinstance(value, (str, int, float)) else ""


def _packed(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:  # a lone surrogate, a number beyond 64 bits, or too deep
        try:
            return json.dumps(value).encode()
        except RecursionError:
            raise ValueError(TOO_DEEP) from None


def _unpacked(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


def _or_nothing(read: Any, value: Any, nothing: Any) -> Any:
    """Of what hangs on a span, a wrong value costs only itself."""
    try:
        return read(value)
    except (ValueError, TypeError, OverflowError):
        return nothing


def _mappings(items: Any) -> Iterable[Raw]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else ()


def attributes_of(pairs: Any, depth: int = 0) -> Mapping[str, Any]:
    """A list of `KeyValue`s; what is none of them is left out."""
    found = {
        str(pair["key"]): _or_nothing(lambda value: value_of(value, depth), pair.get("value"), None)
        for pair in _mappings(pairs)
        if "key" in pair
    }
    return found or NO_ATTRIBUTES


def value_of(any_value: Any, depth: int = 0) -> Any:
    """An `AnyValue`: a mapping of one key, its type; an empty one is None."""
    if not any_value:
        return None
    if depth > MAX_DEPTH:
        raise ValueError(TOO_DEEP)
    if not isinstance(any_value, dict):
        raise ValueError("an attribute without its type")
    for kind, value in any_value.items():
        if kind == "stringValue":
            return str(value)
        if kind == "boolValue":
            return value in (True, "true")
        if kind == "intValue":
            return int(value)
        if kind == "doubleValue":
            return float(value)
        if kind == "bytesValue":
            return base64.b64decode(value)
        if kind == "arrayValue":
            return [value_of(item, depth + 1) for item in _members(value)]
        if kind == "kvlistValue":
            return dict(attributes_of(_members(value), depth + 1))
    return None


def _members(value: Any) -> list[Any]:
    members = value.get("values") if isinstance(value, dict) else value
    if members and not (isinstance(value, dict) and isinstance(members, list)):
        raise ValueError("a list of values that is none")
    return members or []


def id_of(text: Any, digits: int = 0) -> str:
    """In lower-case hex; empty for none or only zeros. 16 or 32 *digits*, 0: either."""
    if not text:
        return ""
    if not isinstance(text, str):
        raise ValueError("an id that is no text")
    if len(text) not in (16, 32) or not _HEX.issuperset(text):
        try:
            text = base64.b64decode(text, validate=True).hex()
        except binascii.Error:
            raise ValueError("an id that is neither hex nor base64") from None
    if len(text) != digits and (digits or len(text) not in (16, 32)):
        raise ValueError("an id of a wrong length")
    return "" if text in _NO_ID else text.lower()


def time_of(value: Any) -> int:
    """Nanoseconds since 1970, whatever is given: 0 for none."""
    return min(max(_number(value), 0), 2**64 - 1) if value else 0


def _enum(value: Any, names: Mapping[str, int]) -> int:
    if not value:
        return 0
    if isinstance(value, str) and not value.isdigit():
        return names.get(value.upper(), 0)
    number = _number(value)
    return number if 0 <= number < 1 << 31 else 0


def _number(value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{str(value)[:40]!r} where a number was expected") from None


def _count(value: Any) -> int:
    """A number that 32 bits hold."""
    return min(max(_number(value), 0), 2**32 - 1)


_MORE: Final = (
    ("traceState", _text_of),
    ("droppedAttributesCount", _count),
    ("droppedEventsCount", _count),
    ("droppedLinksCount", _count),
    ("flags", _count),
)
