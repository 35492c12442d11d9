"""
Traces -> what stands on the terminal or in the pipe: a list, trees, one span, or JSON of the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click
import orjson
from rich.console import Console
from rich.text import Text

from flowspan import semconv
from flowspan.cli.view import _details
from flowspan.cli.view._analysis import Analysis, analyse, summarise
from flowspan.cli.view._asked import Asked, wanted
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._list import List, moment
from flowspan.cli.view._model import Trace
from flowspan.cli.view._odd import oddities
from flowspan.cli.view._text import ASCII, UNICODE, clean, clean_json, count, one_line
from flowspan.cli.view._tree import Tree

_MAX_WIDTH: Final = 140
_MIN_WIDTH: Final = 32
_MAX_ID: Final = 1_024  # letters of a run's id, as flowspan records it
LISTED: Final = 50
DRAWN: Final = 2_000


class Page:
    """Colours and the width of the terminal where a person reads, plain lines elsewhere."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, markup=False, emoji=False)
        self.is_terminal = self.console.is_terminal
        self.signs = ASCII if self.console.options.ascii_only else UNICODE
        self.width = max(_MIN_WIDTH, min(self.console.width, _MAX_WIDTH))

    def lines(self, lines: Iterable[Text]) -> None:
        if self.is_terminal:
            for line in lines:
                self.console.print(line, soft_wrap=True)
        else:
            for line in lines:
                click.echo(line.plain.rstrip())

    def json(self, value: Any) -> None:
        click.echo(clean_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()))

    def json_line(self, value: Any) -> None:
        click.echo(clean_json(orjson.dumps(value).decode()))


def summary(found: Analysis, width: int) -> Iterator[Text]:
    """What stands below a tree: whole words, as many to a line as fit."""
    trace = found.trace
    parts = [moment(trace.start), count(len(trace.spans), "span")]
    if any(found.tokens):
        parts.append(f"{found.tokens.input:,} tokens in, {found.tokens.output:,} out")
    if found.errors:
        parts.append(count(len(found.errors), "error"))
    parts.extend(oddities(trace))
    parts.append(f"trace {trace.trace_id}")
    if run_id := trace.root.attributes.get(semconv.RUN_ID):
        parts.append(f"run {one_line(str(run_id)[:_MAX_ID])}")
    line = ""
    for part in filter(None, parts):
        if line and len(line) + 2 + len(part) > width:
            yield Text(line, style="dim")
            line = ""
        line += f", {part}" if line else part
    yield Text(line, style="dim")


def trees(found: Sequence[Trace], page: Page, max_spans: int | None) -> Iterator[Text]:
    for number, trace in enumerate(found):
        if number:
            yield Text()
        yield from tree_lines(analyse(trace), page, max_spans)


def tree_lines(found: Analysis, page: Page, max_spans: int | None) -> Iterator[Text]:
    tree = Tree(found, page.width, page.signs, figures=True)
    yield tree.header()
    yield from tree.lines(max_spans)
    yield from summary(found, page.width)


def listed(found: Sequence[Trace], page: Page, limit: int | None) -> Iterator[Text]:
    shown = found if limit is None else found[-limit:]
    table = List([summarise(trace) for trace in shown], page.width, page.signs)
    yield from table.lines()
    earlier = len(found) - len(shown)
    day = f", {table.day}" if table.day else ""
    yield Text(f"{count(len(found), 'trace')}{day}; --trace ID shows one", style="dim")
    if earlier:
        yield Text(f"{count(earlier, 'earlier trace')}: --all lists them", style="dim")


def as_json(asked: Asked, found: Sequence[Trace], collection: Collection) -> Any:
    rows = []
    for trace in found:
        if asked.tree or len(found) == 1:
            analysis = analyse(trace)
            spans = [
                {"depth": depth} | _details.span_object(analysis, span, whole=False)
                for span, depth in trace.walk()
            ]
            rows.append(_details.trace_object(analysis) | {"tree": spans})
        else:
            rows.append(_details.trace_object(summarise(trace)))
    left = {"spans": collection.left_out, "traces": collection.left_traces}
    return {"traces": rows, "left_out": left}


def one_span(asked: Asked, found: Sequence[Trace], page: Page) -> int:
    digits = (asked.span or "").lower()
    spans = [
        (trace, span) for trace in found for span in trace.spans if span.span_id.startswith(digits)
    ]
    if not spans:
        click.echo(f"No span fits {clean(wanted(asked))}", err=True)
        return 1
    if len(spans) > 1:
        some = ", ".join(f"{span.span_id} ({one_line(span.name)})" for _, span in spans[:5])
        click.echo(f"--span {clean(digits)} fits {len(spans)} spans: {some}", err=True)
        return 2
    ((trace, span),) = spans
    analysis = analyse(trace)
    if asked.as_json:
        page.json(_details.span_object(analysis, span, whole=True))
    else:
        page.lines(_details.lines(analysis, span, page.signs))
    return 0
