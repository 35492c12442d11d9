"""
Writes what the reference takes from the code: `python docs/made.py`, after a change of a name.

Attributes and metrics are `semconv.py`'s, variables `config.py`'s, commands click's. The tables are
kept in the pages, so that these read the same on a Git host; a test says when one is out of date.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click

from flowspan import semconv
from flowspan.cli import main
from flowspan.config import VARIABLES

DOCS = Path(__file__).parent
WIDTH = 80
NOTHING = "–"  # noqa: RUF001 - typography


def described() -> Iterator[tuple[str, str, str]]:
    """Each constant of `semconv` that has a text below it: its name, its value, the text."""
    assert semconv.__file__ is not None
    statements = ast.parse(Path(semconv.__file__).read_text()).body
    for statement, below in pairwise(statements):
        if isinstance(statement, ast.AnnAssign) and isinstance(below, ast.Expr):
            assert isinstance(statement.target, ast.Name)
            text = " ".join(ast.literal_eval(below.value).split())
            yield statement.target.id, getattr(semconv, statement.target.id), text


def attributes() -> Iterator[str]:
    yield from _table("name", "where and what")
    for name, value, text in described():
        if not name.startswith("METRIC_"):
            yield _row(f"`{value}`", text)


def metrics() -> Iterator[str]:
    yield from _table("name", "what")
    for name, value, text in described():
        if name.startswith("METRIC_"):
            yield _row(f"`{value}`", text)


def variables() -> Iterator[str]:
    yield from _table("variable", "default", "accepted", "meaning")
    for each in VARIABLES.values():
        yield _row(f"`{each.name}`", each.default or NOTHING, each.accepts, each.meaning)


def commands() -> Iterator[str]:
    with click.Context(main, info_name="flowspan", **main.context_settings) as context:
        yield from _help(main, context)
        for name in main.list_commands(context):
            command = main.get_command(context, name)
            assert command is not None
            with click.Context(command, info_name=name, parent=context) as below:
                yield from ("", f"### flowspan {name}", "")
                yield from _help(command, below)


def _help(command: click.Command, context: click.Context) -> Iterator[str]:
    context.terminal_width = context.max_content_width = WIDTH
    text = command.get_help(context)
    yield from ("```text", *(line.rstrip() for line in text.splitlines()), "```")


def _table(*heads: str) -> Iterator[str]:
    yield _row(*heads)
    yield "|" + "---|" * len(heads)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


PAGES = {
    "reference.md": {"attributes": attributes, "metrics": metrics, "variables": variables},
    "commands.md": {"commands": commands},
}


def made(page: str) -> str:
    """The page as it should be."""
    text = (DOCS / page).read_text()
    for name, lines in PAGES[page].items():
        begin, end = f"<!-- {name}: made by docs/made.py -->\n", "<!-- end -->\n"
        pattern = re.escape(begin) + ".*?" + re.escape(end)
        content = begin + "".join(f"{line}\n" for line in lines()) + end
        text, found = re.subn(pattern, lambda _, content=content: content, text, flags=re.DOTALL)
        assert found == 1, f"{page} has no place for {name}"
    return text


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).write_text(made(page))
