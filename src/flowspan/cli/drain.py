"""
`flowspan drain`: delivers what processes that are gone have left in a spool, and says what it did.

The result goes to the standard output, progress and troubles to the other one. `delivery._drain`
does the work.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flowspan import Config
from flowspan._config_parse import BASE_URL, GRPC_TARGET, OTLP_EXPORTERS, URL, Wrong
from flowspan.delivery._drain import Drained, drain
from flowspan.delivery._drain import Progress as Tell
from flowspan.delivery._inspect import inspect
from flowspan.delivery._storage import default_directory

_LINES = 10  # of progress, where there is no terminal


def run(spool: str | None, endpoint: str | None, parked: bool, as_json: bool) -> None:
    """Ends by SystemExit: 0 all is delivered, 1 something remains, 2 an argument is wrong."""
    for name in ("opentelemetry", "flowspan"):  # we say it ourselves
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    config = Config.from_env()
    for problem in config.problems:
        click.echo(problem, err=True)
    for name, protocol in OTLP_EXPORTERS.items():
        if name in config.exporters:
            config = replace(config, otlp=config.otlp.speaking(protocol))
    if endpoint is not None:
        config = _sent_to(config, endpoint)
    directory, asked = _directory(config, spool)
    if directory is None:
        click.echo("FLOWSPAN_SPOOL_DIR is none: nothing waits on the disk", err=as_json)
        if as_json:
            click.echo(json.dumps(_figures(Drained(), "", config.otlp.shown_endpoint)))
        raise SystemExit(0)
    try:
        with _progress(quiet=as_json) as tell:
            done = drain(config, directory, again=parked, progress=tell)
    except OSError as error:
        why = str(error) if len(error.args) == 1 else error.strerror or type(error).__name__
        _refuse(f"{asked}: expected the directory of a spool ({why})")
    if as_json:
        click.echo(json.dumps(_figures(done, directory, config.otlp.shown_endpoint)))
    else:
        for line in _report(done, directory, config.otlp.shown_endpoint, tried=parked):
            click.echo(line)
        if spool is None and config.spool.directory is None:
            for line in _elsewhere(directory):
                click.echo(line)
    raise SystemExit(0 if done.is_complete else 1)


# ---- what is asked for


def _sent_to(config: Config, endpoint: str) -> Config:
    """With another endpoint; without a path it gets the one for spans, as in the environment."""
    kind = URL
    if config.otlp.protocol == "grpc":
        kind = GRPC_TARGET
    elif urlsplit(endpoint.partition("://")[2].replace("[", "")).path.partition("/")[2] == "":
        kind = BASE_URL
    try:
        if not endpoint.strip():
            raise Wrong
        given = kind.parse(endpoint.strip())
    except Wrong as error:
        detail = f" ({error.detail})" if error.detail else ""
        _refuse(f"--endpoint={kind.show(endpoint)}: expected {kind.accepts}{detail}")
    return replace(config, otlp=replace(config.otlp, endpoint=given))


def _directory(config: Config, spool: str | None) -> tuple[str | None, str]:
    """Where to look, and who says so, for a message."""
    if spool is not None:
        if not spool.strip():
            _refuse(f"--spool={spool!r}: expected the directory of a spool")
        return os.path.expanduser(spool), f"--spool={spool!r}"
    named = config.spool.directory
    if named == "none":
        return None, ""
    if named is not None:
        return os.path.expanduser(named), f"FLOWSPAN_SPOOL_DIR={named!r}"
    directory = default_directory(config.otlp.endpoint, config.otlp.headers)
    return directory, f"the user's state directory {directory!r}"


def _refuse(sentence: str) -> NoReturn:
    click.echo(sentence, err=True)
    raise SystemExit(2)


# ---- while it works


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Tell]:
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield lambda done, total: None
    elif console.is_terminal:
        columns = (
            TextColumn("Delivering"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("spans"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("", total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        yield _Lines()


class _Lines:
    """A line each time that a tenth more is done."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, done: int, total: int) -> None:
        tenth = done * _LINES // total if total else 0
        if tenth > self._said:
            self._said = tenth
            with suppress(OSError):  # nobody listens any more
                click.echo(f"{done} of {total} spans", err=True)


# ---- what became of it


def _report(done: Drained, directory: str, endpoint: str, *, tried: bool) -> Iterator[str]:
    if done.delivered:
        waited = (
            f"; the oldest had waited {_period(time.time() - done.oldest)}" if done.oldest else ""
        )
        files = f" from {_count(done.files, 'file')}" if done.files else ""
        yield f"Delivered {_count(done.delivered, 'span')}{files} to {endpoint}{waited}"
    if done.abandoned:
        yield (
            f"{_count(done.abandoned, 'span')} had not ended when the process died: "
            "flowspan.status says abandoned"
        )
    if done.rejected:
        _, _, words = done.rejection.partition(f"{endpoint}: ")
        last = f" (lastly: {words})" if words else ""
        yield f"{_count(done.rejected, 'span')} lost: the collector rejected them{last}"
    for reason, spans in done.dropped.items():
        if spans:
            yield f"{_count(spans, 'span')} lost: {reason}"
    if done.damaged:
        yield f"{_count(done.damaged, 'damaged record')} skipped"
    if done.remaining:
        yield (
            f"{_count(done.remaining, 'span')} {_remain(done.remaining)} in {directory}: "
            f"{done.reason}"
        )
    elif done.interrupted:
        yield "Interrupted: what was not delivered stays in the spool"
    for pid, spans in done.held.items():
        who = f"the running process {pid}" if pid else "another running process"
        yield f"{_count(spans, 'span')} {_are(spans)} held by {who}, which delivers {_them(spans)}"
    for info in done.newer:
        yield (
            f"flowspan {info.writer}, which is newer, wrote {info.path}; it is left alone, "
            "that version delivers it"
        )
    yield from _parked_lines(done, tried)
    if not (done.delivered or done.rejected or done.remaining or done.held or done.newer):
        missing = "" if os.path.isdir(directory) else " (there is no such directory)"
        yield f"Nothing waits in {directory}{missing}"


def _elsewhere(directory: str) -> Iterator[str]:
    """Spans for other endpoints: each has a directory of its own beside this one."""
    parent = os.path.dirname(directory)
    with suppress(OSError):
        for name in sorted(os.listdir(parent)):
            other = os.path.join(parent, name)
            spans = 0
            with suppress(OSError):
                spans = sum(i.spans for i in inspect(other) if i.kind != "parked")
            if spans and other != directory:
                yield f"{_count(spans, 'span')} for another endpoint or tenant: --spool {other}"


def _parked_lines(done: Drained, tried: bool) -> Iterator[str]:
    if not done.parked:
        return
    spans = sum(one.spans for one in done.parked)
    if done.refused:
        then = "refused again" + (f" ({done.reason})" if done.reason else "")
    elif tried:
        then = "refused"
    else:
        then = "refused; --parked tries again"
    yield f"{_count(spans, 'span')} {_are(spans)} parked, {then}:"
    for one in done.parked:
        yield f"  {_moment(one.time)}  {one.path}  {one.reason}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _remain(number: int) -> str:
    return "remains" if number == 1 else "remain"


def _them(number: int) -> str:
    return "it" if number == 1 else "them"


def _period(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _moment(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _figures(done: Drained, directory: str, endpoint: str) -> Mapping[str, Any]:
    return {
        "spool": directory,
        "endpoint": endpoint,
        "delivered": done.delivered,
        "files": done.files,
        "abandoned": done.abandoned,
        "oldest": None if done.oldest is None else _moment(done.oldest),
        "remaining": done.remaining,
        "reason": done.reason,
        "rejected": done.rejected,
        "dropped": dict(done.dropped),
        "damaged": done.damaged,
        "held": [{"pid": pid or None, "spans": spans} for pid, spans in done.held.items()],
        "newer": [{"path": info.path, "version": info.writer} for info in done.newer],
        "parked": [
            {"path": one.path, "spans": one.spans, "time": _moment(one.time), "reason": one.reason}
            for one in done.parked
        ],
        "interrupted": done.interrupted,
        "complete": done.is_complete,
    }
