"""
Finished spans -> one tree a trace, as lines for a terminal. Prints nothing itself.

A line says what ran, how long, where in its run (the bar) and how it ended; every word is there
without colour, and no line is longer than the width given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode
from rich.text import Text

from flowspan import semconv

_TYPE, _TIME, _BAR, _STATUS = 11, 7, 20, 9
_COLOURS = {
    semconv.STATUS_OK: "green",
    semconv.STATUS_ERROR: "bold red",
    semconv.STATUS_CANCELLED: "yellow",
}


@dataclass(frozen=True, slots=True)
class _Signs:
    """What trees and bars are drawn with."""

    branch: str
    last: str
    trunk: str
    bar: str
    rest: str
    cut: str


_UNICODE = _Signs("├─ ", "└─ ", "│  ", "█", "·", "…")
_ASCII = _Signs("|- ", "`- ", "|  ", "#", ".", "~")


def trees(spans: Sequence[ReadableSpan], *, width: int, ascii_only: bool = False) -> list[Text]:
    """The lines of all traces in *spans*, in the order in which they started."""
    page = _Page(spans, width, _ASCII if ascii_only else _UNICODE)
    return [line for root in page.roots for line in page.tree(root)]


class _Page:
    def __init__(self, spans: Sequence[ReadableSpan], width: int, signs: _Signs) -> None:
        self._signs = signs
        self._width = width
        by_start = sorted(spans, key=lambda span: span.start_time or 0)
        known = {_id(span) for span in spans}
        parents = sorted(by_start, key=lambda span: _parent(span, known))
        self._children = {
            parent: list(group)
            for parent, group in groupby(parents, lambda span: _parent(span, known))
        }
        self.roots = self._children.get(0, [])

    def tree(self, root: ReadableSpan) -> Iterator[Text]:
        yield Text()
        yield from self._lines(root, root, "", "")

    def _lines(
        self, span: ReadableSpan, root: ReadableSpan, before: str, below: str
    ) -> Iterator[Text]:
        children = self._children.get(_id(span), [])
        yield self._row(span, root, before)
        trunk = below + (self._signs.trunk if children else "   ")
        for label, text, style in _details(span):
            line = self._fit(f"{trunk}{label} {text}", self._width).rstrip()
            yield Text(line, style=style)
        for child in children:
            last = child is children[-1]
            yield from self._lines(
                child,
                root,
                below + (self._signs.last if last else self._signs.branch),
                below + ("   " if last else self._signs.trunk),
            )

    def _row(self, span: ReadableSpan, root: ReadableSpan, before: str) -> Text:
        status = _status(span)
        colour = _COLOURS.get(status, "yellow")
        name_width = self._width - _TYPE - _TIME - _BAR - _STATUS - 5
        attributes = span.attributes or {}
        kind = str(attributes.get(semconv.COMPONENT_TYPE, "run"))
        row = Text(no_wrap=True)
        row.append(self._fit(before + span.name, name_width), "bold" if span is root else "")
        row.append(" " + self._fit(kind, _TYPE), "dim")
        row.append(f" {_duration(span):>{_TIME}}  ")
        start, length = _place(span, root)
        row.append(self._signs.rest * start, "dim")
        row.append(self._signs.bar * length, colour)
        row.append(self._signs.rest * (_BAR - start - length), "dim")
        row.append(" " + status, colour)
        return row

    def _fit(self, text: str, width: int) -> str:
        """Exactly *width* wide, on one line."""
        fitting = Text(" ".join(text.splitlines()))
        if fitting.cell_len > width:
            fitting.truncate(width - 1)
            fitting.append(self._signs.cut)
        fitting.truncate(width, pad=True)
        return fitting.plain


def _id(span: ReadableSpan) -> int:
    return span.context.span_id if span.context is not None else 0


def _parent(span: ReadableSpan, known: set[int]) -> int:
    """The id of the parent, 0 for a root or if the parent is not among the spans."""
    return span.parent.span_id if span.parent is not None and span.parent.span_id in known else 0


def _nanos(span: ReadableSpan) -> int:
    return max(0, (span.end_time or 0) - (span.start_time or 0))


def _duration(span: ReadableSpan) -> str:
    millis = _nanos(span) / 1e6
    return f"{millis:.0f} ms" if millis < 1000 else f"{millis / 1000:.2f} s"


def _place(span: ReadableSpan, root: ReadableSpan) -> tuple[int, int]:
    """Where the bar of *span* starts and how long it is; at least one sign, never outside."""
    whole = max(1, _nanos(root))
    offset = max(0, (span.start_time or 0) - (root.start_time or 0))
    start = min(_BAR - 1, int(_BAR * offset / whole))
    return start, min(_BAR - start, max(1, round(_BAR * _nanos(span) / whole)))


def _status(span: ReadableSpan) -> str:
    attributes = span.attributes or {}
    said = attributes.get(semconv.RUN_STATUS) or attributes.get(semconv.COMPONENT_STATUS)
    if said:
        return str(said)
    failed = span.status.status_code is StatusCode.ERROR
    return semconv.STATUS_ERROR if failed else semconv.STATUS_OK


def _details(span: ReadableSpan) -> Iterator[tuple[str, str, str]]:
    """What stands below the line of a span: label, text, style."""
    attributes = span.attributes or {}
    if semconv.REDACTED in attributes and semconv.INPUT_VALUE in attributes:
        yield "input", str(attributes[semconv.INPUT_VALUE]), "dim"
    for event in span.events:
        said = event.attributes or {}
        if event.name == semconv.LOG:
            yield "log", str(said.get(semconv.LOG_MESSAGE, "")), "dim"
        elif event.name == semconv.EXCEPTION:
            kind, message = (
                said.get(semconv.EXCEPTION_TYPE, ""),
                said.get(semconv.EXCEPTION_MESSAGE, ""),
            )
            yield "error", f"{kind}: {message}", "red"
    for given, used in (
        (semconv.GEN_AI_USAGE_INPUT_TOKENS, semconv.GEN_AI_USAGE_OUTPUT_TOKENS),
        (semconv.USAGE_INPUT_TOKENS, semconv.USAGE_OUTPUT_TOKENS),
    ):
        if given in attributes or used in attributes:
            model = attributes.get(semconv.GEN_AI_REQUEST_MODEL)
            text = f"{attributes.get(given, 0)} in, {attributes.get(used, 0)} out"
            yield "tokens", text + (f" ({model})" if model else ""), "dim"
