"""
The files that `flowspan view` writes: a page, OTLP JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import IO

import click

from flowspan.cli.view import _write
from flowspan.cli.view._asked import Asked
from flowspan.cli.view._model import Trace
from flowspan.cli.view._text import clean, count


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
