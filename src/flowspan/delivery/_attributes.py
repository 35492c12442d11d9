"""
Attributes -> OTLP protobuf bytes, and the frequent ones from memory.

Valid whatever the value: a lone surrogate becomes `?`, an integer beyond 64 bits text, and of a
value that is none of OpenTelemetry's types only the type's name is told. Nothing of such a value is
run. What is kept is bounded. Leans on `_wire`.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes

from flowspan._payload import type_name
from flowspan.delivery._wire import framed, varint

# Readers refuse messages that are nested more than 100 deep: 6 around a value, 3 for a mapping.
MAX_DEPTH: Final = 30
# A value that holds another many times grows beyond all bounds when written out.
_MAX_NODES: Final = 1_000_000
_MAX_NESTED: Final = 64 * 1024 * 1024  # bytes

_SHORT: Final = 40  # characters: names, kinds, most ids
_KEY: Final = 256  # characters: longer keys are not kept
_CACHED: Final = 2048  # entries of a cache; a full one starts anew
_MAX_64: Final = 2**64 - 1

_pack_double: Final = Struct("<d").pack


class Attributes:
    """Writes attributes as the field *number* of their message; knows the frequent ones."""

    __slots__ = ("_heads", "_known", "_numbers", "_tag")

    def __init__(self, number: int) -> None:
        self._tag = bytes((number << 3 | 2,))
        self._known: dict[tuple[str, str], bytes] = {}  # of short strings: the whole field
        self._numbers: dict[tuple[str, int], bytes] = {}
        self._heads: dict[tuple[str, int], bytes] = {}  # of longer ones: all before the text

    def write(self, attributes: dict[str, Any], out: list[bytes]) -> None:
        known = self._known
        numbers = self._numbers
        heads = self._heads
        for item in attributes.items():
            key, value = item
            kind = type(value)
            if kind is str and type(key) is str:
                short = len(value) <= _SHORT
                if short:
                    field = known.get(item)
                    if field is not None:
                        out.append(field)
                        continue
            elif kind is int and type(key) is str:
                field = numbers.get(item)
                if field is None:
                    field = self._field(key, _any(value))
                    if len(field) <= _KEY:
                        keep(numbers, item, field)
                out.append(field)
                continue
            else:
                out.append(self._field(key, _any(value)))
                continue
            try:
                data = value.encode()
            except UnicodeEncodeError:
                data = value.encode("utf-8", "replace")
            head = heads.get((key, len(data)))
            if head is None:
                head = self._head(key, len(data))
            out += (head, data)
            if short and len(key) <= _KEY:
                keep(known, item, head + data)

    def _head(self, key: str, size: int) -> bytes:
        name = framed(1, utf8(key))
        text = b"\x0a" + varint(size)
        value = b"\x12" + varint(len(text) + size)
        whole = varint(len(name) + len(value) + len(text) + size)
        head = b"".join((self._tag, whole, name, value, text))
        if len(key) <= _KEY:
            keep(self._heads, (key, size), head)
        return head

    def _field(self, key: Any, value: bytes) -> bytes:
        data = framed(1, _key(key)) + framed(2, value)
        return b"".join((self._tag, varint(len(data)), data))


class Strings:
    """Strings as the field *number* of their message; knows the short ones."""

    __slots__ = ("_known", "_number")

    def __init__(self, number: int) -> None:
        self._number = number
        self._known: dict[str, bytes] = {}

    def get(self, text: str) -> bytes:
        if type(text) is not str:
            return text_field(self._number, text)
        found = self._known.get(text)
        if found is None:
            found = framed(self._number, utf8(text))
            if len(text) <= _SHORT:
                keep(self._known, text, found)
        return found


class _Nested:
    """What one attribute may hold in sequences and mappings before it is only named."""

    __slots__ = ("bytes", "nodes")

    def __init__(self) -> None:
        self.nodes = _MAX_NODES
        self.bytes = _MAX_NESTED

    def any(self, value: Any, depth: int) -> bytes:
        kind = type(value)
        out = []
        if issubclass(kind, dict):
            pairs = list(dict.items(value))
            if depth > MAX_DEPTH:
                return _text(f"… {len(pairs)} keys, deeper than {MAX_DEPTH}")
            self._take(len(pairs), 0)
            for key, item in pairs:
                pair = framed(1, _key(key)) + framed(2, self.any(item, depth + 1))
                out.append(framed(1, pair))
            return framed(6, b"".join(out))
        if issubclass(kind, (list, tuple)):
            items = (list if issubclass(kind, list) else tuple).__iter__(value)
            size = (list if issubclass(kind, list) else tuple).__len__(value)
            if depth > MAX_DEPTH:
                return _text(f"… {size} items, deeper than {MAX_DEPTH}")
            self._take(size, 0)
            out = [framed(1, self.any(item, depth + 1)) for item in items]
            return framed(5, b"".join(out))
        data = _any(value)
        self._take(0, len(data))
        return data

    def _take(self, nodes: int, size: int) -> None:
        self.nodes -= nodes
        self.bytes -= size
        if self.nodes < 0 or self.bytes < 0:
            raise _TooMuch


class _TooMuch(Exception):
    """A value that grows beyond bounds when written out."""


def _any(value: Any) -> bytes:
    """*value* as the content of an `AnyValue`. Runs nothing of it."""
    kind = type(value)
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if value is None:
        return b""
    if issubclass(kind, str):
        return _text(value)
    if issubclass(kind, int):
        number = int.__pos__(value)
        if -(2**63) <= number < 2**63:
            return b"\x18" + varint(number & _MAX_64)
        return _text(_large(number))
    if issubclass(kind, float):
        return b"\x21" + _pack_double(float.__pos__(value))
    if issubclass(kind, bytes):
        return framed(7, bytes.__getitem__(value, slice(None)))
    if issubclass(kind, (dict, list, tuple)):
        try:
            return _Nested().any(value, 1)
        except _TooMuch:
            return _text(f"{type_name(value)} (more than {_MAX_NODES} values)")
    return _text(type_name(value))


def plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A copy, at once: an open span's attributes may change meanwhile."""
    if attributes is None:
        return {}
    kind = type(attributes)
    if kind is BoundedAttributes or kind is _PROXY:
        attributes = attributes.copy()  # type: ignore[attr-defined]
    return attributes if type(attributes) is dict else dict(attributes)


_PROXY: Final = type(type.__dict__)


def _text(text: str) -> bytes:
    return framed(1, utf8(text))


def text_field(number: int, text: Any) -> bytes:
    """A string field; nothing for None and the empty string."""
    if text is None:
        return b""
    data = _key(text)
    return framed(number, data) if data else b""


def utf8(text: str) -> bytes:
    try:
        return str.encode(text)
    except UnicodeEncodeError:
        return str.encode(text, "utf-8", "replace")


def _key(key: Any) -> bytes:
    return utf8(key if issubclass(type(key), str) else _name_of(key))


def _name_of(value: Any) -> str:
    """A name that is no string: a number's digits, else its type."""
    kind = type(value)
    if issubclass(kind, int):
        return str(value) if kind is bool else _large(int.__pos__(value))
    if issubclass(kind, float):
        return float.__repr__(value)
    return type_name(value)


def _large(number: int) -> str:
    """Digits; Python refuses, and takes long, to write more than a few thousand."""
    bits = number.bit_length()
    return str(number) if bits < 4096 else f"<int of {bits} bits>"


def keep(cache: dict[Any, Any], key: Any, value: Any, most: int = _CACHED) -> None:
    if len(cache) >= most:
        cache.clear()
    cache[key] = value
