"""
What `flowspan view` does once its arguments are known: read, choose, show or write.

Results go to the standard output, everything else to the other one. Exit codes: 0 well, 1
something is wrong with what was looked at, 2 with how it was asked.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, NoReturn

import click
import orjson
from rich.console import Console
from rich.text import Text

from flowspan import Config, semconv
from flowspan.cli.view import _details, _write
from flowspan.cli.view._analysis import Analysis, analyse, summarise
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._inputs import Intake, without_collector
from flowspan.cli.view._list import List, moment
from flowspan.cli.view._model import Trace
from flowspan.cli.view._text import ASCII, UNICODE, clean, count, one_line
from flowspan.cli.view._tree import Tree
from flowspan.delivery._storage import default_directory

_MAX_WIDTH = 140
_MIN_WIDTH = 32
_LISTED = 50
_DRAWN = 2_000
CONFIGURED = ""  # of --spool without a directory


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


def look(asked: Asked) -> NoReturn:
    """Ends by SystemExit."""
    for name in ("opentelemetry", "flowspan"):  # we say it ourselves
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if asked.listen is not None:
        from flowspan.cli.view._live import run

        if asked.files or asked.spool is not None or asked.span is not None:
            refuse("--listen takes neither files nor --spool nor --span")
        run(asked, asked.listen)
    collection = Collection(asked.max_spans)
    intake = Intake(collection)
    if asked.spool is None and not asked.files:
        if sys.stdin is None or sys.stdin.isatty():
            refuse(
                "Nothing to look at: name a file with traces, - for the standard input, "
                "--spool or --listen"
            )
        asked = replace(asked, files=("-",))
    with without_collector():
        for path in asked.files:
            intake.file(path)
        if asked.spool is not None:
            _read_spool(asked.spool, intake)
        traces = collection.traces()
        code = show(asked, traces, intake)
    raise SystemExit(code)


def _read_spool(given: str, intake: Intake) -> None:
    config = Config.from_env()
    if given != CONFIGURED:
        directory, asked = os.path.expanduser(given), f"--spool={given!r}"
    elif config.spool.directory == "none":
        refuse("FLOWSPAN_SPOOL_DIR is none: nothing waits on the disk")
    elif config.spool.directory is not None:
        directory = os.path.expanduser(config.spool.directory)
        asked = f"FLOWSPAN_SPOOL_DIR={config.spool.directory!r}"
    else:
        directory = default_directory(config.otlp.endpoint, config.otlp.headers)
        asked = f"the user's state directory {directory!r}"
    before = intake.collection.taken
    try:
        intake.spool(directory)
    except OSError as error:
        why = error.strerror or type(error).__name__
        if given == CONFIGURED and isinstance(error, FileNotFoundError):
            intake.notes.append(f"Nothing waits in {directory} (there is no such directory)")
            return
        refuse(f"{asked}: expected the directory of a spool ({why})")
    if intake.collection.taken == before:
        intake.notes.append(f"Nothing waits in {directory}")


def refuse(sentence: str) -> NoReturn:
    click.echo(clean(sentence), err=True)
    raise SystemExit(2)


# ---- choose


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


def _wanted(asked: Asked) -> str:
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


# ---- show


def show(asked: Asked, traces: Sequence[Trace], intake: Intake) -> int:
    """Returns the exit code."""
    page = Page()
    code = 1 if intake.problems else 0
    found = chosen(asked, traces)
    if not found:
        if traces:
            intake.problems.append(
                f"No trace fits {_wanted(asked)}: {count(len(traces), 'trace')} were read"
            )
            code = 1
        elif asked.as_json:
            page.json({"traces": [], "left_out": {"spans": 0, "traces": 0}})
    elif asked.html is not None or asked.otlp_json is not None:
        code = max(code, write_files(asked, found))
    elif asked.span is not None:
        code = max(code, _span(asked, found, page))
    elif asked.as_json:
        page.json(_json(asked, found, intake.collection))
    elif len(found) == 1 or asked.tree:
        page.lines(_trees(found, page, None if asked.all else _DRAWN))
    else:
        page.lines(_listed(found, page, None if asked.all else _LISTED))
    for problem in intake.problems:
        click.echo(clean(problem), err=True)
    for note in intake.notes:
        click.echo(clean(note), err=True)
    if intake.collection.left_out:
        click.echo(
            f"{count(intake.collection.left_out, 'span')} of "
            f"{count(intake.collection.left_traces, 'trace')} left out, the oldest: "
            f"--max-spans keeps more than {asked.max_spans:,}",
            err=True,
        )
    if len(intake.problems) == intake.refused > 0 and not traces:
        return 2
    return code


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
        click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))

    def json_line(self, value: Any) -> None:
        click.echo(orjson.dumps(value))


def summary(found: Analysis) -> Iterator[Text]:
    """What stands below a tree."""
    trace = found.trace
    parts = [moment(trace.start), count(len(trace.spans), "span")]
    if any(found.tokens):
        parts.append(f"{found.tokens.input:,} tokens in, {found.tokens.output:,} out")
    if found.errors:
        parts.append(count(len(found.errors), "error"))
    run_id = trace.root.attributes.get(semconv.RUN_ID)
    where = f"trace {trace.trace_id}" + (f", run {run_id}" if run_id else "")
    for line in (", ".join(parts), where):
        yield Text(one_line(line), style="dim")


def _trees(found: Sequence[Trace], page: Page, max_spans: int | None) -> Iterator[Text]:
    for number, trace in enumerate(found):
        if number:
            yield Text()
        yield from tree_lines(analyse(trace), page, max_spans)


def tree_lines(found: Analysis, page: Page, max_spans: int | None) -> Iterator[Text]:
    tree = Tree(found, page.width, page.signs, figures=True)
    yield tree.header()
    yield from tree.lines(max_spans)
    yield from summary(found)


def _listed(found: Sequence[Trace], page: Page, limit: int | None) -> Iterator[Text]:
    shown = found if limit is None else found[-limit:]
    table = List([summarise(trace) for trace in shown], page.width, page.signs)
    yield from table.lines()
    earlier = len(found) - len(shown)
    day = f", {table.day}" if table.day else ""
    yield Text(f"{count(len(found), 'trace')}{day}; --trace ID shows one", style="dim")
    if earlier:
        yield Text(f"{count(earlier, 'earlier trace')}: --all lists them", style="dim")


def _json(asked: Asked, found: Sequence[Trace], collection: Collection) -> Any:
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


def _span(asked: Asked, found: Sequence[Trace], page: Page) -> int:
    wanted = (asked.span or "").lower()
    spans = [
        (trace, span) for trace in found for span in trace.spans if span.span_id.startswith(wanted)
    ]
    if not spans:
        click.echo(f"No span fits {clean(_wanted(asked))}", err=True)
        return 1
    if len(spans) > 1:
        some = ", ".join(f"{span.span_id} ({one_line(span.name)})" for _, span in spans[:5])
        click.echo(f"--span {clean(wanted)} fits {len(spans)} spans: {some}", err=True)
        return 2
    ((trace, span),) = spans
    analysis = analyse(trace)
    if asked.as_json:
        page.json(_details.span_object(analysis, span, whole=True))
    else:
        page.lines(_details.lines(analysis, span, page.signs))
    return 0


# ---- write


def write_files(asked: Asked, found: Sequence[Trace]) -> int:
    code = 0
    spans = sum(len(trace.spans) for trace in found)
    what = f"{count(len(found), 'trace')}, {count(spans, 'span')}"
    if asked.otlp_json is not None:
        code |= written(asked.otlp_json, what, lambda file: _write.write(found, file))
    if asked.html is not None:
        code |= written(asked.html, what, lambda file: _html(found, file))
    return code


def _html(found: Sequence[Trace], file: IO[bytes]) -> None:
    from io import TextIOWrapper

    from flowspan.cli.view._page import write

    text = TextIOWrapper(file, encoding="utf-8", newline="\n")
    write(found, text)
    text.flush()
    text.detach()


def written(path: str, what: str, write: Callable[[IO[bytes]], object]) -> int:
    """The exit code. `-` is the standard output, and then nothing is said there."""
    try:
        if path == "-":
            write(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return 0
        with open(path, "wb") as file:
            write(file)
    except BrokenPipeError:
        raise
    except OSError as error:
        why = error.strerror or type(error).__name__
        click.echo(f"{clean(path)}: cannot be written ({why})", err=True)
        return 1
    click.echo(f"Wrote {what} to {clean(path)}")
    return 0
