"""
What `flowspan view` is asked, and which traces fit it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from flowspan import semconv
from flowspan.cli import _console
from flowspan.cli.view._model import Trace
from flowspan.cli.view._text import clean

CONFIGURED: Final = ""  # of --spool without a directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The arguments, as they were given."""

    files: tuple[str, ...] = ()
    spool: str | None = None
    listen: str | None = None
    trace: str | None = None
    run: str | None = None
    name: str | None = None
    errors: bool = False
    span: str | None = None
    tree: bool = False
    all: bool = False
    as_json: bool = False
    html: str | None = None
    otlp_json: str | None = None
    max_spans: int


def chosen(asked: Asked, traces: Sequence[Trace]) -> list[Trace]:
    return [trace for trace in traces if all(fits(trace) for fits in _filters(asked))]


def _filters(asked: Asked) -> Iterator[Callable[[Trace], bool]]:
    if asked.trace:
        trace_id = asked.trace.lower()
        yield lambda trace: trace.trace_id.startswith(trace_id)
    if asked.run:
        run = asked.run
        yield lambda trace: any(str(s.attributes.get(semconv.RUN_ID)) == run for s in trace.spans)
    if asked.name:
        name = asked.name.casefold()
        yield lambda trace: name in trace.root.name.casefold()
    if asked.errors:
        yield lambda trace: any(span.is_error for span in trace.spans)


def wanted(asked: Asked) -> str:
    given = (
        ("--trace", asked.trace),
        ("--run", asked.run),
        ("--name", asked.name),
        ("--errors", asked.errors or None),
        ("--span", asked.span),
    )
    return " ".join(
        option if value is True else f"{option} {value}" for option, value in given if value
    )


def refuse(sentence: str) -> NoReturn:
    _console.refuse(clean(sentence))
