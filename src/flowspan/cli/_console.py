"""
How every command behaves: where it writes, how it ends, and that nobody is shown a traceback.

Results go to the standard output, all else to the standard error. A person at a terminal gets
rich's colours (unless NO_COLOR is set), a pipe gets plain lines. What a command ends with: 0 well,
1 something is wrong or remains, 2 wrong arguments, 130 Ctrl-C, 141 nobody reads any more.

rich is imported when it is asked for: `flowspan --help` does without it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console

WRONG, WRONG_ARGUMENTS, INTERRUPTED, NOBODY_READS = 1, 2, 130, 141


def console(*, stderr: bool = False) -> Console:
    """Where a person reads. Text in it is text: no markup, no emoji, no colour of its own."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def say(line: str, *, error: bool = False) -> None:
    """One plain line, however long."""
    click.echo(line, err=error)


def say_json(value: Mapping[str, Any]) -> None:
    """One JSON object on one line, for `--json`."""
    click.echo(json.dumps(value))


def fail(sentence: str, code: int = WRONG) -> NoReturn:
    """End the command with *sentence* on the standard error."""
    click.echo(sentence, err=True)
    raise SystemExit(code)


def refuse(sentence: str) -> NoReturn:
    """An argument is wrong: *sentence* names it, its value, and what is accepted."""
    fail(sentence, WRONG_ARGUMENTS)


def silence_loggers() -> None:
    """For a command that says itself what the library would log."""
    import logging

    for name in ("opentelemetry", "flowspan", "flowspan.runs"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


class NobodyReads(Exception):
    """A broken pipe, under a name that click has no ending of its own for."""


@contextmanager
def _pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise NobodyReads from error


class Group(click.Group):
    """The command with its subcommands, and the manners above for each of them."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        with _pipes():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        with _pipes():
            return super().invoke(ctx)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        def inner() -> Any:
            return super(Group, self).main(args, prog_name, complete_var, False, **extra)

        if not standalone_mode:
            return inner()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a sign that the terminal has not is no failure
                stream.reconfigure(errors="backslashreplace")
        sys.exit(self._ended(inner))

    def _ended(self, work: Callable[[], Any]) -> Any:
        """The exit code."""
        try:
            with _pipes():
                try:
                    code = work()
                except SystemExit as end:
                    code = end.code
                if sys.stdout is not None:
                    sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except (KeyboardInterrupt, click.Abort):
            code = INTERRUPTED
        except NobodyReads:
            code = NOBODY_READS
            _to_nowhere()
        except Exception as error:
            if sys.flags.dev_mode:
                raise
            click.echo(_sentence(self._name(), error), err=True)
            code = WRONG
            if isinstance(error, OSError):
                _to_nowhere()  # perhaps it is the output itself that fails
        return code if isinstance(code, (int, str)) else 0

    def _name(self) -> str:
        words = [word for word in sys.argv[1:] if not word.startswith("-")]
        return f"flowspan {words[0]}" if words and words[0] in self.commands else "flowspan"


def _to_nowhere() -> None:
    """What is still in a buffer is not tried again by the interpreter, which would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        if sys.stdout is not None:
            os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _sentence(name: str, error: Exception) -> str:
    """What went wrong and what to do, of an error that no command expected."""
    from flowspan._redaction import Redactor
    from flowspan.cli.doctor._opentelemetry import wrong_propagators

    if wrong := wrong_propagators(os.environ):
        return f"{name}: {wrong}"
    said = " ".join(str(error).split())
    said, _ = Redactor().redact(said)
    if isinstance(error, ImportError):
        return f"{name}: a package cannot be imported ({said}); flowspan doctor looks at that"
    if isinstance(error, OSError) and error.strerror:
        where = f": {os.fsdecode(error.filename)}" if error.filename else ""
        return f"{name}: {error.strerror.lower()}{where}"
    return (
        f"{name}: {type(error).__name__}{f': {said}' if said else ''}. This is a mistake in "
        "flowspan: please report it, with what the same command prints after PYTHONDEVMODE=1"
    )
