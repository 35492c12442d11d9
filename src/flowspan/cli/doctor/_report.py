"""
Lines for a person, or as one JSON object. Nothing secret passes: what the variables hold as
credentials is searched for once more, whatever a line may say.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flowspan._redaction import REPLACEMENT, Redactor
from flowspan.cli._console import console, say
from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.config import Config

if TYPE_CHECKING:
    from rich.console import Console

_SIGNS = {
    State.WELL: ("✓", "ok", "green"),
    State.NOTE: ("•", "--", "cyan"),
    State.WRONG: ("✗", "!!", "bold red"),
    State.SKIPPED: ("○", "  ", "dim"),
}
_SECRET = re.compile("(?i)key|token|secret|password|passwd|credential|dsn|connection_string")


def scrubber(config: Config, env: Mapping[str, str]) -> Callable[[str], str]:
    """Hides what the environment holds of credentials, and what redaction would hide."""
    from flowspan.delivery._http import secrets_of

    secrets = set(secrets_of(config.otlp))
    for name, value in env.items():
        if name.lower().endswith("_proxy") or name in ("JAEGER_URL",):
            secrets |= _userinfo(value)
        elif _SECRET.search(name) and len(value) >= 8 and not os.path.exists(value):
            secrets.add(value)
    ordered = sorted(secrets, key=len, reverse=True)
    redactor = Redactor(config.redact_keys, config.redact_patterns)

    def scrub(text: str) -> str:
        for secret in ordered:
            text = text.replace(secret, REPLACEMENT)
        text = re.sub(r"//[^/@\s]*@", "//", text)
        return redactor.redact(text)[0]

    return scrub


def _userinfo(url: str) -> set[str]:
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        found = {parts.username or "", parts.password or ""}
    except ValueError:
        return set()
    return {text for one in found for text in (one, unquote(one)) if len(text) > 3}


def scrubbed(lines: Iterable[Line], scrub: Callable[[str], str]) -> list[Line]:
    return [
        replace(line, seen=scrub(line.seen), expected=scrub(line.expected), do=scrub(line.do))
        for line in lines
    ]


def as_json(lines: Sequence[Line], version: str, trace: str, url: str) -> Mapping[str, Any]:
    """The shape that docs/doctor.md tells."""
    return {
        "flowspan": version,
        "well": is_well(lines),
        "trace": trace or None,
        "url": url or None,
        "lines": [
            {
                "section": line.section.value,
                "what": line.what,
                "state": line.state.value,
                "seen": line.seen,
                "expected": line.expected,
                "do": line.do,
                "seconds": None if line.seconds is None else round(line.seconds, 4),
                "variable": line.variable,
            }
            for line in lines
        ],
    }


def is_well(lines: Iterable[Line]) -> bool:
    return not any(line.state is State.WRONG for line in lines)


def show(lines: Sequence[Line], url: str) -> None:
    """A block for each section; what is expected where it is not what was seen."""
    there = console()
    width = max(len(line.what) for line in lines)
    before = ""
    for section in Section:
        here = [line for line in lines if line.section is section]
        if here:
            there.print(f"{before}{section.value}", style="bold")
            before = "\n"
        for line in here:
            _show(there, line, width) if there.is_terminal else _print(line)
    wrong = [line for line in lines if line.state is State.WRONG]
    if wrong:
        others = f" ({len(wrong) - 1} more above)" if len(wrong) > 1 else ""
        last = f"Begin with {wrong[0].what}: {wrong[0].do}{others}"
    else:
        last = f"All is well{f': {url}' if url else ''}"
    there.print(f"\n{last}", soft_wrap=True, style="bold")


def _print(line: Line) -> None:
    """For a pipe: what was seen on one line, however long, and what to do below it."""
    say(f"  {line.state.value:<7}  {line.what}: {_seen(line)}{_took(line)}")
    for label, text in _more(line):
        say(f"           {label}: {text}")


def _show(there: Console, line: Line, width: int) -> None:
    from rich.table import Table
    from rich.text import Text

    sign, plain, style = _SIGNS[line.state]
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(width=3, justify="right")
    row.add_column(width=width)
    row.add_column(ratio=1, overflow="fold")
    row.add_column(justify="right", style="dim", no_wrap=True)
    mark = Text(plain if there.options.ascii_only else sign, style)
    row.add_row(mark, Text(line.what), Text(_seen(line)), _took(line))
    for label, text in _more(line):
        row.add_row("", Text(label, "dim", justify="right"), Text(text), "")
    there.print(row)


def _seen(line: Line) -> str:
    source = "" if line.variable is None else f" ({line.variable or 'default'})"
    return line.seen + source


def _took(line: Line) -> str:
    return "" if line.seconds is None else f"  {line.seconds * 1000:,.0f} ms"


def _more(line: Line) -> Iterator[tuple[str, str]]:
    if line.state in (State.WRONG, State.NOTE):
        yield from ((k, t) for k, t in (("expected", line.expected), ("do", line.do)) if t)
