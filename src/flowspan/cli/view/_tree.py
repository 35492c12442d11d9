"""
A trace as a tree of lines for a terminal. Prints nothing itself.

A line says what ran, how long, how much of that was its own, where in its run (the bar, solid
where the run waited for it) and how it ended; every word is there without colour, and no line is
longer than the width given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.text import Text

from flowspan import semconv
from flowspan.cli.view._analysis import OPEN, Analysis, Section, error_text, tokens_of
from flowspan.cli.view._model import Event, Span, Trace
from flowspan.cli.view._text import Signs, duration, fit, one_line

_TYPE, _TIME, _BAR, _STATUS = 11, 7, 20, 9
_NAME: Final = 20  # what a name must have before a column is worth its place
_INDENT: Final = 3
_MAX_INDENT: Final = 1 / 2  # of the name's column
_COLOURS: Final = {
    semconv.STATUS_OK: "green",
    semconv.STATUS_ERROR: "bold red",
    OPEN: "cyan",
}


def colour_of(status: str) -> str:
    return _COLOURS.get(status, "yellow")


class Tree:
    """
    *figures*: with self times and the critical path.

    On a narrow terminal first the type goes, then the bar, then the self times.
    """

    def __init__(self, analysis: Analysis, width: int, signs: Signs, *, figures: bool) -> None:
        self._analysis = analysis
        self._trace = analysis.trace
        self._signs = signs
        self._width = width
        room = width - _TIME - _STATUS - 2 - _NAME
        self._has_self = figures and room >= _TIME + 2
        room -= (_TIME + 2) * self._has_self
        self._has_bar = room >= _BAR + 2
        room -= (_BAR + 2) * self._has_bar
        self._has_type = room >= _TYPE + 1 + (8 if figures else 0)
        room -= (_TYPE + 1) * self._has_type
        self._name = max(8, _NAME + room)
        self._figures = figures
        self._sections: dict[str, list[Section]] = {}
        if figures:
            for section in analysis.path:
                self._sections.setdefault(section.span.span_id, []).append(section)
        self._whole = trace_window(self._trace)
        self._errors = {span.span_id for span in analysis.errors}

    def lines(self, max_spans: int | None = None) -> Iterator[Text]:
        """At most so many spans, each with what belongs to it; then one that counts the others."""
        signs = self._signs
        above: list[str] = []  # for each level but the first, what stands before what is below it
        for number, (span, depth) in enumerate(self._trace.walk()):
            if number == max_spans:
                left = len(self._trace.spans) - number
                line = f"{signs.cut} {left:,} more spans: --all shows them"
                yield Text(fit(line, self._width, signs).rstrip(), style="dim")
                return
            del above[max(0, depth - 1) :]
            before = ""
            if depth:
                is_last = self._is_last(span)
                before = self._shortened(above, signs.last if is_last else signs.branch)
                above.append("   " if is_last else signs.trunk)
            yield self._row(span, before, is_root=not depth)
            trunk = self._shortened(above, signs.trunk if self._trace.children(span) else "   ")
            for label, text, style in details(span, began=span.span_id in self._errors):
                said = f"{label} {one_line(text[:4000])}"
                line = trunk + fit(said, self._width - len(trunk), signs).rstrip()
                yield Text(line, style=style)

    def _is_last(self, span: Span) -> bool:
        above = self._trace.parent(span)
        return above is None or self._trace.children(above)[-1] is span

    def header(self) -> Text:
        """What the columns are."""
        row = f"{'':<{self._name + (_TYPE + 1) * self._has_type}} {'took':>{_TIME}}"
        if self._has_self:
            row += f"  {'self':>{_TIME}}"
        if self._has_bar:
            signs = self._signs
            row += f"  {signs.critical} critical path".ljust(_BAR + 2)
        elif self._figures:
            row = f"{'* critical path':<{self._name}}" + row[self._name :]
        return Text(f"{row} status"[: self._width], style="dim")

    def _shortened(self, above: Sequence[str], sign: str) -> str:
        """Of a deep tree the levels in the middle are left out: names need room."""
        fitting = max(2, int(self._name * _MAX_INDENT) // _INDENT)
        if len(above) < fitting:
            return "".join((*above, sign))
        is_row = sign in (self._signs.branch, self._signs.last)
        depth = f"{len(above) + 1} " if is_row else ""
        return "".join((depth.ljust(_INDENT), *above[len(above) - fitting + 2 :], sign))

    def _row(self, span: Span, before: str, *, is_root: bool) -> Text:
        outcome = span.outcome if span.end else OPEN
        colour = colour_of(outcome)
        signs = self._signs
        on_path = span.span_id in self._analysis.critical
        row = Text(no_wrap=True)
        name = before + fit(span.name or "(no name)", max(1, self._name - len(before)), signs)
        row.append(name[: self._name], "bold" if is_root else "")
        if self._has_type:
            row.append(" " + fit(kind_of(span, is_root=is_root), _TYPE, signs), "dim")
        took = duration(span.duration) if span.end else signs.dash
        mark = "*" if self._figures and not self._has_bar and on_path else " "
        row.append(f"{mark}{took:>{_TIME}}")
        if self._has_self:
            own = self._analysis.self_times.get(span.span_id, 0)
            shown = duration(own) if span.end and self._trace.children(span) else ""
            row.append(f"  {shown:>{_TIME}}", "dim")
        if self._has_bar:
            row.append("  ")
            for sign, text in self._bar(span):
                row.append(text, "dim" if sign == signs.rest else colour)
        row.append(" " + fit(outcome, _STATUS, signs).rstrip(), colour)
        return row

    def _bar(self, span: Span) -> Iterator[tuple[str, str]]:
        """Runs of the same sign."""
        signs = self._signs
        end = span.end or self._whole[1]
        first, last = _cells(span.start, end, self._whole)
        cells = [signs.rest] * _BAR
        cells[first:last] = [signs.bar if self._figures else signs.critical] * (last - first)
        for section in self._sections.get(span.span_id, ()):
            one, two = (self._cell(time) for time in (section.start, section.end))
            cells[one:two] = [signs.critical] * (two - one)
        own = self._analysis.critical.get(span.span_id, 0)
        if last - first == 1 and own * 2 > end - span.start:
            cells[first] = signs.critical
        start = 0
        for at in range(1, _BAR + 1):
            if at == _BAR or cells[at] != cells[start]:
                yield cells[start], "".join(cells[start:at])
                start = at

    def _cell(self, time: int) -> int:
        start, end = self._whole
        return round(_BAR * min(1, max(0, (time - start) / (end - start))))


def trace_window(trace: Trace) -> tuple[int, int]:
    """From when to when the bars go: the run, or all there is where no run has ended."""
    root = trace.root
    if root.end > root.start and len(trace.roots) == 1:
        return root.start, root.end
    return trace.start, max(trace.end, trace.start + 1)


def _cells(start: int, end: int, whole: tuple[int, int]) -> tuple[int, int]:
    """At least one cell, never outside, whatever the clocks say."""
    length = whole[1] - whole[0]
    first = min(_BAR - 1, max(0, _BAR * (start - whole[0]) // length))
    cells = max(1, round(_BAR * (min(end, whole[1]) - max(start, whole[0])) / length))
    return first, min(_BAR, first + cells)


def kind_of(span: Span, *, is_root: bool) -> str:
    """One word for what it is."""
    attributes = span.attributes
    for key in (
        semconv.COMPONENT_TYPE,
        semconv.LANGWATCH_SPAN_TYPE,
        semconv.OPENINFERENCE_SPAN_KIND,
    ):
        said = attributes.get(key)
        if isinstance(said, str) and said:
            if said == "workflow":
                break
            return said.lower()
    if is_root and semconv.RUN_ID in attributes:
        return "run"
    return _KINDS.get(span.kind, "span")


_KINDS: Final = {2: "server", 3: "client", 4: "producer", 5: "consumer"}


def details(span: Span, *, began: bool) -> Iterator[tuple[str, str, str]]:
    """What stands below a span's line: label, text, style. *began*: an error did, in it."""
    attributes = span.attributes
    if semconv.REDACTED in attributes and semconv.INPUT_VALUE in attributes:
        yield "input", str(attributes[semconv.INPUT_VALUE]), "dim"
    said_error = False
    for event in span.events:
        if event.name == semconv.LOG:
            yield "log", str(event.attributes.get(semconv.LOG_MESSAGE, "")), "dim"
        elif event.name == semconv.EXCEPTION:
            said_error = True
            yield "error", _exception(event), "red"
    if began and not said_error and (text := error_text(span)):
        yield "error", text, "red"
    tokens = tokens_of(span)
    if any(tokens):
        model = attributes.get(semconv.GEN_AI_REQUEST_MODEL)
        text = f"{tokens.input} in, {tokens.output} out"
        yield "tokens", text + (f" ({model})" if model else ""), "dim"


def _exception(event: Event) -> str:
    said: Mapping[str, object] = event.attributes
    parts = (said.get(semconv.EXCEPTION_TYPE), said.get(semconv.EXCEPTION_MESSAGE))
    return ": ".join(str(part) for part in parts if part)
