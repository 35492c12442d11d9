"""
What `flowspan view` does once its arguments are known: read, choose, show or write.

Results go to the standard output, everything else to the other one. Exit codes: 0 well, 1
something is wrong with what was looked at, 2 with how it was asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn

import click

from flowspan import Config
from flowspan.cli._console import silence_loggers
from flowspan.cli.view._asked import CONFIGURED, Asked, chosen, refuse, wanted
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._files import write_files
from flowspan.cli.view._inputs import Intake, without_collector
from flowspan.cli.view._model import Trace
from flowspan.cli.view._show import DRAWN, LISTED, Page, as_json, listed, one_span, trees
from flowspan.cli.view._text import clean, count
from flowspan.delivery._storage import default_directory


def look(asked: Asked) -> NoReturn:
    """Ends by SystemExit."""
    silence_loggers()
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
        try:
            code = show(asked, traces, intake)
        except BrokenPipeError:
            raise  # whoever read has seen enough
        except OSError as error:
            click.echo(f"the standard output cannot be written ({error.strerror})", err=True)
            code = 1
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


def show(asked: Asked, traces: Sequence[Trace], intake: Intake) -> int:
    """Returns the exit code."""
    page = Page()
    code = 1 if intake.problems else 0
    found = chosen(asked, traces)
    if not found:
        if traces:
            read = f"{count(len(traces), 'trace')} {'was' if len(traces) == 1 else 'were'} read"
            intake.problems.append(f"No trace fits {wanted(asked)}: {read}")
            code = 1
        elif asked.as_json:
            page.json({"traces": [], "left_out": {"spans": 0, "traces": 0}})
    elif asked.html is not None or asked.otlp_json is not None:
        code = max(code, write_files(asked, found))
    elif asked.span is not None:
        code = max(code, one_span(asked, found, page))
    elif asked.as_json:
        page.json(as_json(asked, found, intake.collection))
    elif len(found) == 1 or asked.tree:
        page.lines(trees(found, page, None if asked.all else DRAWN))
    else:
        page.lines(listed(found, page, None if asked.all else LISTED))
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
