"""
The list of traces as lines for a terminal: when, what, how long, how it ended, what it cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from rich.text import Text

from flowspan.cli.view._analysis import Analysis
from flowspan.cli.view._text import Signs, duration, fit
from flowspan.cli.view._tree import colour_of

_NAME: Final = 16


class _Column(NamedTuple):
    title: str
    width: int
    keep: int  # those with the least go first where there is no room
    text: Callable[[Analysis], str]
    right: bool = True


def moment(nanos: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """In the time zone of who looks; empty for no time that a calendar has."""
    try:
        return datetime.fromtimestamp(nanos / 1e9).strftime(form)
    except (ValueError, OverflowError, OSError):
        return ""


def name_of(found: Analysis) -> str:
    return found.trace.root.name or "(no name)"


def _status(found: Analysis) -> str:
    return found.status[:9]


def _tokens(found: Analysis) -> str:
    return f"{found.tokens.input:,}/{found.tokens.output:,}" if any(found.tokens) else ""


class List:
    """A header, then a line for each trace; no line is longer than *width*."""

    def __init__(self, found: Sequence[Analysis], width: int, signs: Signs) -> None:
        self._found = found
        self._signs = signs
        days = {moment(each.trace.start, "%Y-%m-%d") for each in found}
        self._day = days.pop() if len(days) == 1 else ""
        form = "%H:%M:%S" if self._day else "%Y-%m-%d %H:%M:%S"
        started = len(moment(0, form))
        columns = [
            _Column("started", started, 5, lambda a: moment(a.trace.start, form), right=False),
            _Column("name", 0, 9, name_of, right=False),
            _Column("duration", 8, 8, lambda a: duration(a.duration)),
            _Column("status", self._widest(_status, 6), 7, _status, right=False),
            _Column("spans", 5, 3, lambda a: f"{len(a.trace.spans):,}"),
            _Column("tokens", self._widest(_tokens, 6), 2, _tokens),
            _Column("errors", 6, 4, lambda a: f"{len(a.errors):,}" if a.errors else ""),
            _Column("trace", 8, 6, lambda a: a.trace.trace_id[:8], right=False),
        ]
        while (room := width - sum(column.width + 2 for column in columns) + 2) < _NAME and any(
            column.keep < 7 for column in columns
        ):
            columns.remove(min(columns, key=lambda column: column.keep))
        name = max(4, min(room, self._widest(name_of, 4)))
        self._columns = [c if c.width else c._replace(width=name) for c in columns]

    def lines(self) -> Iterator[Text]:
        header = "  ".join(fit(c.title, c.width, self._signs, right=c.right) for c in self._columns)
        yield Text(header.rstrip(), style="dim")
        for each in self._found:
            yield self.line(each)

    def line(self, found: Analysis) -> Text:
        row = Text(no_wrap=True)
        for column in self._columns:
            style = {
                "name": "bold",
                "status": colour_of(found.status),
                "errors": "bold red",
                "duration": "",
            }.get(column.title, "dim")
            row.append("  " if row else "")
            row.append(
                fit(column.text(found), column.width, self._signs, right=column.right), style
            )
        row.rstrip()
        return row

    @property
    def day(self) -> str:
        """On which all of them started; empty if on several."""
        return self._day

    def _widest(self, text: Callable[[Analysis], str], least: int) -> int:
        return max(least, *(len(text(each)) for each in self._found), 0)
