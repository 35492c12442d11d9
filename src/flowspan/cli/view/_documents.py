"""
JSON documents -> the spans in them, as they stand there; however long a document is.

What is accepted: OTLP requests, one or many, on lines of their own (the Collector's file exporter)
or simply one after another; Jaeger's answers and downloads, old and new; Tempo's. A line, or a
file that fits in memory, is parsed at one stroke; longer documents are walked through (`_walk`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final, NamedTuple

import orjson

from flowspan.cli.view import _jaeger
from flowspan.cli.view._source import Source, Unreadable
from flowspan.cli.view._walk import Malformed, Walk

_AT_ONCE: Final = 4 << 20
_BAD_LINES: Final = 20  # with nothing good before them: not worth reading on
_WRAPPERS: Final = ("result", "trace")  # Jaeger's answers, Tempo's
_REQUESTS: Final = ("resourceSpans", "batches")
_SIGNALS: Final = ("resourceMetrics", "resourceLogs", "resourceProfiles")
_SPACE: Final = re.compile(rb"(?:[ \t\r\n]|\xef\xbb\xbf)*")  # and a byte order mark
_NOT_OTLP: Final = "JSON, but no traces: expected OTLP's resourceSpans, or a download of Jaeger's"


class Batch(NamedTuple):
    """Spans with their resource and scope, as in the JSON: nothing of it is checked."""

    resource: Any
    scope: Any
    spans: list[Any]


def batches(source: Source) -> Iterator[Batch]:
    """
    All of *source*. What is wrong is raised as `Unreadable` after all that could be read.

    A line that is wrong costs only itself.
    """
    unpacked = _ToItsEnd(source)
    reader = _Reader(unpacked)
    problems: list[str] = []
    seen = is_json = False
    while not reader.is_over():
        try:
            for batch in reader.document():
                seen = True
                yield batch
        except Unreadable as error:  # noqa: PERF203 - rare, and the loop goes on behind it
            where = f"line {reader.line}: " if reader.line > 1 or reader.goes_on else ""
            problems.append(f"{where}{error}")
            is_json = is_json or not isinstance(error, Malformed)
            if not reader.goes_on or (len(problems) >= _BAD_LINES and not seen):
                break
    if unpacked.problem is not None:  # whatever else is wrong comes of it
        raise unpacked.problem
    if problems and not (seen or is_json):
        raise Unreadable("not JSON: expected traces as OTLP JSON")
    if problems:
        more = len(problems) - 1
        others = f", and {more} more {'line' if more == 1 else 'lines'}" if more else ""
        raise Unreadable(problems[0] + others)


class _ToItsEnd:
    """A source that ends where it cannot go on: what was read before is looked at first."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.problem: Unreadable | None = None

    def read(self, size: int) -> bytes:
        try:
            return b"" if self.problem else self._source.read(size)
        except Unreadable as error:
            self.problem = error
            return b""


class _Reader:
    def __init__(self, source: _ToItsEnd) -> None:
        self._source = source
        self._buffer = b""
        self._at = 0
        self._ended = False
        self.line = 0
        self.goes_on = False
        """Whether what follows the document just read can be told from it."""

    def is_over(self) -> bool:
        while True:
            self._at = _SPACE.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._buffer):
                return False
            if not self._fill():
                return True

    def document(self) -> Iterator[Batch]:
        """The next one; to be read to its end."""
        self.line += 1
        self.goes_on = False
        if self.line == 1:
            while len(self._buffer) < _AT_ONCE and self._fill():
                pass
            if self._ended and (found := _parsed(self._buffer[self._at :])) is not _NOTHING:
                self._at = len(self._buffer)
                yield from batches_of(found)
                return
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if len(self._buffer) - self._at >= _AT_ONCE or not self._fill():
                break
        if end < 0 and self._ended:
            end = len(self._buffer)
        line = self._buffer[self._at : end] if end >= 0 else b""
        if line and (found := _parsed(line)) is not _NOTHING:
            self._at, self.goes_on = end, True
            yield from batches_of(found)
        elif line and end < len(self._buffer) and not line.rstrip().endswith((b"{", b"[", b",")):
            self._at, self.goes_on = end, True
            yield from _walked(Walk(b"", BytesIO(line).read))
        else:
            walk = Walk(self._buffer[self._at :], self._source.read)
            self._buffer, self._at = b"", 0
            yield from _walked(walk)
            self._buffer = walk.rest()

    def _fill(self) -> bool:
        if not self._ended:
            data = self._source.read(_AT_ONCE)
            self._buffer, self._at = self._buffer[self._at :] + data, 0
            self._ended = not data
        return not self._ended


_NOTHING: Final = object()


def _parsed(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _NOTHING


# ---- a document in memory


def batches_of(document: Any) -> Iterator[Batch]:
    """The same of a document that is parsed already."""
    if isinstance(document, list):
        for each in document:
            yield from batches_of(each)
        return
    if not isinstance(document, dict):
        raise Unreadable(_NOT_OTLP)
    known = not document  # a request without spans
    for key, value in document.items():
        if key in _REQUESTS:
            known = True
            for each in _list(value):
                yield from _of_resource(each)
        elif key in _WRAPPERS and isinstance(value, dict):
            known = True
            yield from batches_of(value)
        elif key == "data" and isinstance(value, list):
            known = True
            for trace in value:
                yield from _jaeger_batches(trace)
        elif key in _SIGNALS:
            known = True
    if not known:
        raise Unreadable(_NOT_OTLP)


def _of_resource(value: Any) -> Iterator[Batch]:
    if not isinstance(value, dict):
        raise Unreadable(_NOT_OTLP)
    for key in _SCOPES:
        for each in _list(value.get(key)):
            if not isinstance(each, dict):
                raise Unreadable(_NOT_OTLP)
            yield Batch(value.get("resource"), _scope(each), _list(each.get("spans")))


def _scope(each: Any) -> Any:
    return each.get("scope") or each.get("instrumentationLibrary")


_SCOPES: Final = ("scopeSpans", "instrumentationLibrarySpans")  # the second until OTLP 0.19


def _jaeger_batches(trace: Any) -> Iterator[Batch]:
    try:
        for resource, scope, spans in _jaeger.as_otlp(trace):
            yield Batch(resource, scope, spans)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError):
        raise Unreadable(_NOT_OTLP) from None


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable(_NOT_OTLP)
    return value


# ---- a document that is not


def _walked(walk: Walk, depth: int = 0) -> Iterator[Batch]:
    known = False
    if walk.peek() == "[" and depth < 3:
        known = True
        for _ in walk.elements():
            yield from _walked(walk, depth + 1)
    elif walk.peek() == "{":
        for key in walk.members():
            sign = walk.peek()
            if key in _REQUESTS and sign == "[":
                known = True
                for _ in walk.elements():
                    yield from _walked_resource(walk)
            elif key in _WRAPPERS and sign == "{" and depth < 3:
                known = True
                yield from _walked(walk, depth + 1)
            elif key == "data" and sign == "[":
                known = True
                for _ in walk.elements():
                    yield from _jaeger_batches(walk.value())
            else:
                walk.value()
                known = known or key in _SIGNALS
    else:
        raise Malformed("not JSON")
    if not known:
        raise Unreadable(_NOT_OTLP)


def _walked_resource(walk: Walk) -> Iterator[Batch]:
    if walk.peek() != "{":
        walk.value()
        raise Unreadable(_NOT_OTLP)
    resource = None  # everybody writes it before its spans
    for key in walk.members():
        if key in _SCOPES and walk.peek() == "[":
            for _ in walk.elements():
                yield from _walked_scope(walk, resource)
        elif key == "resource":
            resource = walk.value()
        else:
            walk.value()


def _walked_scope(walk: Walk, resource: Any) -> Iterator[Batch]:
    if walk.peek() != "{":
        walk.value()
        raise Unreadable(_NOT_OTLP)
    scope = None
    for key in walk.members():
        if key == "spans" and walk.peek() == "[":
            for spans in walk.objects():
                yield Batch(resource, scope, spans)
        elif key in ("scope", "instrumentationLibrary"):
            scope = walk.value()
        else:
            walk.value()
