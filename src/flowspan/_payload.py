"""
Any value -> bounded text for a span: valid JSON, no secrets, frozen when given.

Runs nothing of what it is given: no `repr`, `str`, `iter`, property or attribute hook of a value
that is not a built-in; built-ins are read through their own type's methods, so a subclass cannot
interfere. Generators, coroutines and files are named, never consumed. Data frames and arrays show
a preview. Leans on `_redaction` and orjson; pandas, numpy and pydantic are recognised only if the
application has imported them.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import json
import math
import pathlib
import re
import sys
import types
import uuid
import zoneinfo
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

from flowspan._redaction import REPLACEMENT, SHORTEST_SECRET, Redactor
from flowspan.semconv import MIME_JSON, MIME_TEXT

MAX_DEPTH: Final = 20
MAX_KEY_CHARS: Final = 256
MAX_ID_CHARS: Final = 1_024
MAX_NAME_CHARS: Final = 256
LOOK_AHEAD: Final = 512  # how far a name or an id is searched for secrets beyond where it is cut
ID_BOUND: Final = MAX_ID_CHARS + LOOK_AHEAD
NAME_BOUND: Final = MAX_NAME_CHARS + LOOK_AHEAD
PREVIEW_ROWS: Final = 20
PREVIEW_COLUMNS: Final = 50
# A secret that a cut would split is found if it begins before the cut and is no longer than this.
MARGIN: Final = 4_096

_SHORT: Final = 64  # strings below it count as one node
_EMPTY: Final = ""
_LARGE: Final = 10**12  # an integer from here on may be the number of a card

# When the JSON is too long: (characters of a string, items of a container), one after another.
_SHRINK: Final = ((4096, 400), (1024, 200), (256, 100), (128, 50), (64, 20), (32, 8), (16, 4))


class Payload(NamedTuple):
    """A frozen value: its text, mime type, whether it was cut, how many secrets were hidden."""

    text: str
    mime_type: str = MIME_TEXT
    truncated: bool = False
    redacted: int = 0


_payload: Final = tuple.__new__  # without the call that a named tuple puts before it


def clean(text: str) -> str:
    """*text* that UTF-8 can hold: lone surrogates become `?`, which would cost a whole batch."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def label(value: object, limit: int = ID_BOUND) -> str | None:
    """A name or an id: clean text, bounded. None for None and the empty string."""
    if type(value) is str and len(value) <= limit and value.isascii():
        return value or None
    if value is None:
        return None
    if type(value) is not str:
        plain = _scalar(value)
        value = plain if type(plain) is str else type_name(value) if plain is None else str(plain)
    if len(value) > limit:
        value = value[: limit - 1] + "…"
    return clean(value) or None


def identity(value: object) -> str | None:
    """An id as an attribute; None also for what has no text of its own: no two share a type."""
    if type(value) is str or value is None or _scalar(value) is not None:
        return label(value)
    return None


def type_name(value: object) -> str:
    """`<module.Class>` of a value, without asking the value."""
    cls = type(value)
    try:
        name = type.__dict__["__qualname__"].__get__(cls)
        module = cls.__module__
    except Exception:  # noqa: BLE001 - a metaclass may do anything
        return "<object>"
    prefix = f"{module}." if type(module) is str and module != "builtins" else ""
    return clean(f"<{prefix}{name}>")[:MAX_KEY_CHARS]


def shortened(text: str, max_bytes: int) -> str:
    """*text*, frozen before, in *max_bytes*: JSON stays valid JSON, other text ends in a mark."""
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return text
    try:
        tree = _loads(data)
    except ValueError:
        return _cut(data.decode(), len(text), max_bytes)
    return _fitting(tree, max_bytes).decode()


class Payloads:
    """
    Turns values into payloads of at most *max_bytes* UTF-8 bytes. Safe from any thread.

    A single call is bounded in time, too: by *max_bytes* / 4 values and a few times *max_bytes* of
    text, whatever the size of what is given.
    """

    def __init__(self, redactor: Redactor, max_bytes: int) -> None:
        self._redactor = redactor
        self._max_bytes = max_bytes
        self._known: dict[str, str] = {}  # names without a secret, by themselves

    def freeze(self, value: object, onto: Payload | None = None) -> Payload:
        """
        A string as it is, anything else as JSON.

        *onto*: an earlier payload; if both are JSON objects, the keys of both are in the result.
        """
        kind = type(value)
        if kind is str or issubclass(kind, str):
            return self.text(str.__str__(value))
        tree, truncated, redacted = self._bounded(value)
        if onto is not None and onto.mime_type == MIME_JSON and type(tree) is dict:
            earlier = orjson.loads(onto.text)
            if type(earlier) is dict:
                tree = {**earlier, **tree}
                truncated = truncated or onto.truncated
                if onto.redacted:  # of what was hidden before, only what was not given anew
                    both = _dumps(tree).count(REPLACEMENT.encode())
                    redacted = max(redacted, min(redacted + onto.redacted, both))
        data = _dumps(tree)
        if len(data) > self._max_bytes:
            truncated = True
            data = _fitting(tree, self._max_bytes)
        return _payload(Payload, (data.decode(), MIME_JSON, truncated, redacted))

    def tree(self, payload: Payload) -> Any:
        """What *payload* holds, in JSON's types."""
        return payload.text if payload.mime_type == MIME_TEXT else orjson.loads(payload.text)

    def _bounded(self, value: object) -> tuple[Any, bool, int]:
        """A bounded copy of *value* in JSON's types without secrets; whether cut, how many."""
        redactor = self._redactor
        walk = _Walk(redactor, self._max_bytes)
        try:
            tree = walk.visit(value, 0)
        except RuntimeError:  # a dict or set that another thread changed meanwhile
            walk = _Walk(redactor, self._max_bytes)
            try:
                tree = walk.visit(value, 0)
            except RuntimeError:
                tree = f"{type_name(value)} (changing)"
        found = 0
        if walk.texts:
            everything = "\n".join(walk.texts)
            patterns = redactor.suspects(everything)
            # A suspicion alone is seldom a secret.
            if patterns and not any(pattern.search(everything) for pattern in patterns):
                patterns = []
            patterns += redactor.custom
            if patterns:
                tree, found = _redact_leaves(tree, redactor, patterns)
        return tree, walk.truncated, walk.redacted + found

    def text(self, text: str, *, keep_end: bool = False) -> Payload:
        """Running text: searched for secrets, then cut, at the end or (*keep_end*) the start."""
        limit = self._max_bytes
        size = len(text)
        early = size > limit + MARGIN
        margin = MARGIN
        if early:
            start = size - limit - MARGIN
            key = _open_block(text, start) if keep_end else ""
            if key:
                margin = 0  # what is cut off is in the block, which is hidden
            text = key + text[start:] if keep_end else text[: limit + MARGIN]
        text = clean(text)
        text, redacted = self._redactor.redact(text)
        if early:  # the far end may hold half a secret
            text = text[margin:] if keep_end else text[:-margin]
        elif len(text) * 4 <= limit or len(text.encode()) <= limit:
            return _payload(Payload, (text, MIME_TEXT, False, redacted))
        text = _cut(text, size, limit, keep_end=keep_end)
        return Payload(text, MIME_TEXT, True, redacted)

    def short(self, value: object, limit: int = MAX_NAME_CHARS) -> str | None:
        """`label`, without secrets, then cut at *limit*; for names that are nearly always words."""
        known = self._known.get(value) if type(value) is str else None
        if known is not None:
            return known
        text = label(value, limit + LOOK_AHEAD)
        if text is None:
            return text
        size = len(text)
        found = 0
        if size >= SHORTEST_SECRET:
            text, found = self._redactor.redact(text)
        if size >= limit + LOOK_AHEAD:  # the far end may hold half a secret
            text = text[:-LOOK_AHEAD]
        if size > limit:
            text = text[: limit - 1] + "…"
        # What is remembered fits any limit.
        if (
            type(value) is str
            and not found
            and len(value) <= MAX_NAME_CHARS
            and len(self._known) < 4096
        ):
            self._known[value] = text
        return text

    def message(self, role: str, text: str) -> Payload:
        """*text* as the one message of a conversation, in the conventions' JSON."""
        content = self.text(text)
        tree = [{"role": role, "parts": [{"type": "text", "content": content.text}]}]
        data = _dumps(tree)
        fits = len(data) <= self._max_bytes
        text = (data if fits else _fitting(tree, self._max_bytes)).decode()
        return Payload(text, MIME_JSON, content.truncated or not fits)


def _open_block(text: str, start: int) -> str:
    """The first line of the `-----BEGIN` block that is open at *start*, else nothing."""
    begin = text.rfind("-----BEGIN", 0, start)
    if begin < 0 or text.find("-----END", begin, start) >= 0:
        return ""
    return text[begin : begin + 64].partition("\n")[0] + "\n"


class _Walk:
    """One bounded pass over a value; *texts* are its strings, to be searched for secrets."""

    __slots__ = (
        "_chars",
        "_known",
        "_max_string",
        "_nodes",
        "_redactor",
        "redacted",
        "texts",
        "truncated",
    )

    def __init__(self, redactor: Redactor, max_bytes: int) -> None:
        self._redactor = redactor
        self._known: Callable[[str], bool | None] = redactor.known_keys.get
        self._nodes = max(1_000, max_bytes // 4)
        self._max_string = max_bytes + MARGIN
        self._chars = 4 * self._max_string
        self.redacted = 0
        self.truncated = False
        self.texts: list[str] = []

    def visit(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is dict:
            return self._mapping(value.items(), len(value), depth)
        if kind is str:
            return self._string(value)
        if kind is list or kind is tuple:
            if len(value) == 2 and self._is_header(value[0]):
                self.redacted += 1
                return [self.visit(value[0], depth), REPLACEMENT]
            return self._sequence(value, len(value), depth)
        if kind is bool or value is None:
            return value
        if kind is int:
            if _LARGE < value < 2**64:
                self.texts.append(str(value))
            return value
        if kind is float:
            return value if math.isfinite(value) else str(value)
        return self._other(value, depth)

    def _is_header(self, name: object) -> bool:
        """Whether *name* hides what stands beside it in a pair, as in a list of headers."""
        if type(name) is bytes and len(name) < _SHORT:
            name = name.decode("utf-8", "replace")
        return type(name) is str and len(name) < _SHORT and self._redactor.hides(name)

    def _string(self, value: str) -> str:
        size = len(value)
        if size < _SHORT:
            self.texts.append(value)
            return value
        self._chars -= size
        if size <= self._max_string and self._chars >= 0:
            self.texts.append(value)
            return value
        room = max(0, min(self._max_string, self._chars + size))
        self._chars = max(0, self._chars + size - room)
        return f"{self._cut(value, room)}…[cut, {size} characters]"

    def _cut(self, text: str, room: int) -> str:
        """The start of *text*, searched for secrets beyond its end, so that none is halved."""
        self.truncated = True
        whole = len(text) <= room
        text, found = self._redactor.redact(text[:room])
        self.redacted += found
        return text if whole else text[: max(0, len(text) - MARGIN)]

    # The next two take frequent leaves themselves: a call for each would cost as much again.

    def _mapping(self, items: Iterable[tuple[Any, Any]], size: int, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            self.truncated = True
            return f"… {size} keys, deeper than {MAX_DEPTH}"
        self._nodes -= size
        cut = self._nodes < 0
        if cut:
            items = self._room(items, size)
        known = self._known
        texts = self.texts
        depth += 1
        out: dict[str, Any] = {}
        for key, item in items:
            hidden = known(key) if type(key) is str else None
            kind = type(item)
            if hidden is not False:
                if hidden is None:
                    if type(key) is not str:
                        known = _unknown  # the texts of the others may be the same
                    key, hidden = self._new_key(key, depth)
                    if key in out:
                        key = _another(key, out)
                if hidden and item is not None and kind is not bool and item is not _EMPTY:
                    self.redacted += 1
                    out[key] = REPLACEMENT
                    continue
            if kind is str and len(item) < _SHORT:
                texts.append(item)
                out[key] = item
            elif kind is bool or item is None or (kind is int and item < _LARGE):
                out[key] = item
            elif kind is dict:
                out[key] = self._mapping(item.items(), len(item), depth)
            elif kind is list:
                out[key] = self._sequence(item, len(item), depth)
            else:
                out[key] = self.visit(item, depth)
        if cut:
            out["…"] = f"{size} keys in all"
            self._nodes = 0
        return out

    def _sequence(self, value: Iterable[Any], size: int, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            self.truncated = True
            return f"… {size} items, deeper than {MAX_DEPTH}"
        self._nodes -= size
        cut = self._nodes < 0
        if cut:
            value = self._room(value, size)
        texts = self.texts
        depth += 1
        out: list[Any] = []
        for item in value:
            kind = type(item)
            if kind is str and len(item) < _SHORT:
                texts.append(item)
            elif kind is dict:
                item = self._mapping(item.items(), len(item), depth)
            elif kind is not int or item >= _LARGE:
                item = self.visit(item, depth)
            out.append(item)
        if cut:
            out.append(f"… {size} items in all")
            self._nodes = 0
        return out

    def _room(self, items: Iterable[Any], size: int) -> Iterable[Any]:
        """As many of *items* as there is room for; what lies inside them finds none."""
        self.truncated = True
        return islice(items, max(0, self._nodes + size))

    def _new_key(self, key: object, depth: int) -> tuple[str, bool]:
        """The text of a key that is not known yet, and whether its value is hidden."""
        if type(key) is not str:
            key = self._key(key, depth)
        hidden = None
        size = len(key)
        if size > MAX_KEY_CHARS:
            hidden = self._redactor.hides(key[-MAX_KEY_CHARS:])  # by how it ends
            self._chars -= min(size, MAX_KEY_CHARS + MARGIN)
            if self._chars < 0:
                self._chars = 0
                self.truncated = True
                return f"…[cut, {size} characters]", hidden
            key = self._cut(key, MAX_KEY_CHARS + MARGIN)[:MAX_KEY_CHARS] + "…"
        self.texts.append(key)
        return key, self._redactor.hides(key) if hidden is None else hidden

    def _key(self, key: object, depth: int) -> str:
        if issubclass(type(key), enum.Enum):
            key = state(key).get("_value_")
        plain: Any = _scalar(key)
        if isinstance(key, bytes):
            plain = bytes.decode(key[: MAX_KEY_CHARS + MARGIN], "utf-8", "replace")
        if plain is None and key is not None:
            if type(key) is tuple:
                plain = self.visit(key, depth)
            else:
                plain = _numpy_scalar(key)
                plain = _scalar(_pandas_scalar(key) if plain is None else plain)
                plain = type_name(key) if plain is None else plain
        if type(plain) is str:
            return plain
        return _dumps(plain).decode()

    def _other(self, value: Any, depth: int) -> Any:
        scalar = _scalar(value)
        if scalar is not None:
            return scalar if type(scalar) is float else self.visit(scalar, depth)
        kind = type(value)
        if kind is _Pairs:
            before, self._known = self._known, _unknown  # each key is looked at
            tree = self._mapping(value.pairs, len(value.pairs), depth)
            self._known = before
            return tree
        # Subclasses of built-ins, through the built-in's own methods.
        if issubclass(kind, dict):
            return self._mapping(dict.items(value), dict.__len__(value), depth)
        if issubclass(kind, tuple):
            fields = _named_fields(kind)
            if fields:
                named = dict(zip(fields, tuple.__iter__(value), strict=False))
                return self._mapping(named.items(), len(named), depth)
        for base in (list, tuple, set, frozenset, deque):
            if issubclass(kind, base):
                return self._sequence(base.__iter__(value), base.__len__(value), depth)
        if issubclass(kind, (bytes, bytearray)):
            return self._bytes(value)
        if issubclass(kind, enum.Enum):
            return self.visit(state(value).get("_value_"), depth + 1)
        if issubclass(kind, BaseException):
            args = BaseException.__dict__["args"].__get__(value)
            return {"type": type_name(value), "args": self.visit(args, depth + 1)}
        if self._nodes <= 0:  # nobody would see a preview
            self.truncated = True
            return type_name(value)
        for known in (_numpy, _pandas, _model):
            found = known(value)
            if found is not None:
                return self.visit(found, depth)
        return type_name(value)

    def _bytes(self, value: bytes | bytearray) -> str:
        with memoryview(value) as view:
            size = view.nbytes
            try:
                fits = size <= min(self._max_string, self._chars)
                text = bytes(view).decode() if fits else None
            except UnicodeDecodeError:
                text = None
        if text is None or not text.replace("\n", "").replace("\t", "").isprintable():
            self._chars -= min(size, self._chars)
            return f"<{size} bytes>"
        return self._string(text)


class _Pairs:
    """Keys and values of which some keys may be the same, as a data frame's labels."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        self.pairs = list(pairs)


def _unknown(key: str) -> bool | None:
    """Instead of what is known of keys."""
    return None


def _another(key: str, taken: dict[str, Any]) -> str:
    """*key*, numbered: another key of the same mapping has the same text."""
    number = len(taken) + 1
    while f"{key}#{number}" in taken:
        number += 1
    return f"{key}#{number}"


def _scalar(value: Any) -> str | int | float | None:
    """What fits a JSON scalar, else None. Never runs code of a subclass."""
    kind = type(value)
    if issubclass(kind, str):
        return str.__str__(value)
    if kind is bool:
        return bool(value)
    if issubclass(kind, int):
        number = int.__pos__(value)
        if -(2**63) <= number < 2**64:
            return number
        return str(number) if number.bit_length() < 4096 else f"<int of {number.bit_length()} bits>"
    if issubclass(kind, float):
        real = float.__pos__(value)
        return real if math.isfinite(real) else str(real)
    if issubclass(kind, uuid.UUID):  # database drivers have their own
        return _text_of(uuid.UUID.__str__, value)
    if id(kind) in _STR_IS_SAFE or (
        issubclass(kind, pathlib.PurePath) and kind.__module__.startswith("pathlib")
    ):
        if kind is decimal.Decimal and len(value.as_tuple().digits) > MAX_KEY_CHARS:
            return None
        return _text_of(str, value)
    if kind is datetime.datetime or kind is datetime.time:
        zone = value.tzinfo
        known = type(zone) is datetime.timezone or type(zone) is zoneinfo.ZoneInfo
        if zone is not None and not known:
            value = value.replace(tzinfo=None)
        return str(value.isoformat())
    return None


def _text_of(make: Callable[[Any], str], value: object) -> str:
    try:
        return make(value)
    except Exception:  # noqa: BLE001 - more digits than Python prints, a UUID without a number
        return type_name(value)


_STR_IS_SAFE: Final = frozenset(  # by address: a metaclass may define equality
    map(
        id,
        (
            datetime.date,
            datetime.timedelta,
            decimal.Decimal,
            fractions.Fraction,
            complex,
            range,
        ),
    )
)


def _lookup(kind: type, name: str) -> object:
    """A class attribute as written in a class body: no metaclass, no descriptor is asked."""
    for base in type.__dict__["__mro__"].__get__(kind):
        members = type.__dict__["__dict__"].__get__(base)
        if name in members:
            return members[name]
    return None


def state(value: object) -> dict[str, object]:
    """The instance's own dict; empty if there is none or the class hides it."""
    slot: Any = _lookup(type(value), "__dict__")
    if type(slot) is not types.GetSetDescriptorType:
        return {}
    found = slot.__get__(value)
    return found if type(found) is dict else {}


def _named_fields(kind: type) -> tuple[str, ...] | None:
    fields = _lookup(kind, "_fields")
    return fields if type(fields) is tuple and all(type(f) is str for f in fields) else None


def _model(value: object) -> dict[str, object] | str | None:
    """A dataclass or pydantic model by its stored fields; properties are not run."""
    kind = type(value)
    fields = _lookup(kind, "__dataclass_fields__")
    if type(fields) is dict:
        stored = state(value)
        out: dict[str, object] = {}
        for name in fields:
            if name in stored:
                out[name] = stored[name]
                continue
            slot = _lookup(kind, name)
            if type(slot) is types.MemberDescriptorType:
                try:
                    out[name] = slot.__get__(value)
                except AttributeError:  # a slot that was never filled
                    continue
        return out
    if _lookup(kind, "__pydantic_fields__") is not None or _lookup(kind, "__pydantic_complete__"):
        if sys.modules.get("pydantic") is None:
            return None
        out = dict(state(value))
        try:
            extra = object.__getattribute__(value, "__pydantic_extra__")
        except Exception:  # noqa: BLE001 - not every version has it
            extra = None
        if type(extra) is dict:
            out.update(extra)
        return out
    pydantic_types = sys.modules.get("pydantic.types")
    if pydantic_types is not None and issubclass(
        kind, (pydantic_types.SecretStr, pydantic_types.SecretBytes)
    ):
        return REPLACEMENT
    return None


def _numpy_scalar(value: object) -> Any:
    """The Python value of a numpy scalar; None for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "generic") or not issubclass(type(value), numpy.generic):
        return None
    plain = numpy.generic.item(value)
    return type_name(value) if issubclass(type(plain), numpy.generic) else plain


def _numpy(value: object) -> object:
    numpy = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "ndarray"):
        return None
    kind = type(value)
    if issubclass(kind, numpy.void):
        fields = numpy.generic.__dict__["dtype"].__get__(value).names
        if fields:  # which may name secrets
            return {name: numpy.void.__getitem__(value, name) for name in fields}
    if issubclass(kind, numpy.generic):
        return _numpy_scalar(value)
    if not issubclass(kind, numpy.ndarray):
        return None
    array = numpy.ndarray.view(value, numpy.ndarray)
    if array.dtype.names:
        return {name: array[name] for name in array.dtype.names}
    if array.size <= PREVIEW_ROWS * PREVIEW_COLUMNS:
        return array.tolist()
    preview = [array.flat[i] for i in range(PREVIEW_ROWS)]
    return {
        "type": "ndarray",
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "preview": preview,
    }


def _pandas_scalar(value: object) -> str | None:
    """The text of one of pandas' own scalars; None for anything else."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "Timestamp"):
        return None
    kind = type(value)
    if issubclass(kind, pandas.Timestamp):
        return str(pandas.Timestamp.isoformat(value))
    if issubclass(kind, pandas.Timedelta):
        return str(pandas.Timedelta.isoformat(value))
    if issubclass(kind, pandas.Period):
        return str(pandas.Period.__str__(value))
    if issubclass(kind, pandas.Interval):
        return str(pandas.Interval.__str__(value))
    return "" if value is pandas.NaT or value is pandas.NA else None


def _pandas(value: object) -> object:
    pandas = sys.modules.get("pandas")
    if pandas is None or not hasattr(pandas, "DataFrame"):
        return None
    kind = type(value)
    try:
        if issubclass(kind, pandas.DataFrame):
            frame = pandas.DataFrame(value, copy=False)  # a plain view: no subclass's code runs
            rows, columns = frame.shape
            head = frame.iloc[:PREVIEW_ROWS, :PREVIEW_COLUMNS]
            names = list(head.columns)
            cells: list[Any] = [
                _Pairs(zip(names, row, strict=True)) for row in head.to_numpy(dtype=object).tolist()
            ]
            preview = _labelled(head, cells, pandas.RangeIndex)
            return {"type": "DataFrame", "rows": rows, "columns": columns, "preview": preview}
        if issubclass(kind, pandas.Series):
            whole = pandas.Series(value, copy=False)
            head = whole.iloc[:PREVIEW_ROWS]
            preview = _labelled(head, head.to_numpy(dtype=object).tolist(), pandas.RangeIndex)
            return {"type": "Series", "rows": len(whole), "preview": preview}
        if issubclass(kind, pandas.Index):
            base, whole = pandas.MultiIndex, value
            if not issubclass(kind, base):  # as an `Index` a MultiIndex would make all its tuples
                base, whole = pandas.Index, pandas.Index(value, copy=False)
            preview = base.__getitem__(whole, slice(PREVIEW_ROWS)).to_numpy(dtype=object).tolist()
            return {"type": "Index", "rows": base.__len__(whole), "preview": preview}
        return _pandas_scalar(value)
    except Exception:  # noqa: BLE001 - a frame that another thread changes, an index of its own
        return type_name(value)


def _labelled(head: Any, cells: list[Any], unlabelled: type) -> Any:
    """*cells* by the labels of *head*, which may name secrets, unless they only count."""
    if issubclass(type(head.index), unlabelled):
        return cells
    return _Pairs(zip(head.index, cells, strict=True))


def _fitting(tree: Any, max_bytes: int) -> bytes:
    """The JSON of *tree*, cut evenly until it fits."""
    for chars, items in _SHRINK:
        try:
            data = _dumps(_shrink(tree, chars, items))
        except (RecursionError, TypeError):  # nested too deep to be written
            break
        if len(data) <= max_bytes:
            return data
    return orjson.dumps("…") if max_bytes >= 5 else b"0"


def _cut(text: str, size: int, max_bytes: int, *, keep_end: bool = False) -> str:
    """The start or the end of *text*, which once had *size* characters, and a mark."""
    mark = f"…[cut, {size} characters]"
    room = max_bytes - len(mark.encode())
    if room < 0:
        room, mark = max_bytes, ""
    data = text.encode()
    if keep_end:
        return mark + data[max(0, len(data) - room) :].decode("utf-8", "ignore")
    return data[:room].decode("utf-8", "ignore") + mark


def _loads(data: bytes) -> Any:
    """*data* in JSON's types; `…` if it is JSON nested too deep for that. Raises ValueError."""
    try:
        return orjson.loads(data)
    except ValueError:
        try:  # takes what orjson does not: NaN, numbers of any length
            return json.loads(data)
        except RecursionError:
            return "…"


def _dumps(tree: Any) -> bytes:
    try:
        return orjson.dumps(tree)
    except (TypeError, ValueError):  # a lone surrogate, or an integer beyond 64 bits
        return orjson.dumps(_map_leaves(tree, _encodable))


def _encodable(leaf: Any) -> Any:
    return clean(leaf) if type(leaf) is str else _scalar(leaf)


def _map_leaves(tree: Any, change: Any) -> Any:
    if type(tree) is dict:
        out: dict[str, Any] = {}
        for k, v in tree.items():
            key = change(k)
            out[_another(key, out) if key in out else key] = _map_leaves(v, change)
        return out
    if type(tree) is list:
        return [_map_leaves(v, change) for v in tree]
    return None if tree is None else change(tree)


_KEY_BEGINS: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?!(?s:.*)-----END)").search
_KEY_LINE: Final = re.compile(r"\s*(?:[A-Za-z0-9+/]{16,}=*|[A-Za-z]+-[A-Za-z]+: .*)?\s*").fullmatch


def _redact_leaves(
    tree: Any, redactor: Redactor, patterns: Sequence[re.Pattern[str]]
) -> tuple[Any, int]:
    found = 0
    in_key = False  # a private key, line by line

    def change(leaf: Any) -> Any:
        nonlocal found, in_key
        if type(leaf) is not str and (type(leaf) is not int or leaf < _LARGE):
            return leaf
        if in_key and type(leaf) is str and _KEY_LINE(leaf):
            return REPLACEMENT
        text, count = redactor.redact(str(_encodable(leaf)), patterns)
        found += count
        in_key = count > 0 and _KEY_BEGINS(str(leaf)) is not None
        return text if count else leaf

    return _map_leaves(tree, change), found


def _shrink(tree: Any, chars: int, items: int) -> Any:
    """*tree* with strings of at most *chars* characters and containers of at most *items*."""
    kind = type(tree)
    if kind is str:
        return tree if len(tree) <= chars else f"{tree[:chars]}…[cut, {len(tree)} characters]"
    if kind is list:
        out = [_shrink(item, chars, items) for item in tree[:items]]
        if len(tree) > items:
            out.append(f"… {len(tree)} items in all")
        return out
    if kind is dict:
        kept = {k: _shrink(v, chars, items) for k, v in islice(tree.items(), items)}
        if len(tree) > items:
            kept["…"] = f"{len(tree)} keys in all"
        return kept
    return tree
