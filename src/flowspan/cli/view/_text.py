"""
Words and figures as a terminal shows them: harmless, on one line, of a given width.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len, set_cell_size

# What moves the cursor, colours, or turns the direction of what follows; and halves of letters.
_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class Signs:
    """What trees and bars are drawn with."""

    branch: str
    last: str
    trunk: str
    critical: str
    bar: str
    rest: str
    cut: str
    dash: str


UNICODE: Final = Signs("├─ ", "└─ ", "│  ", "█", "▒", "·", "…", "\u2013")
ASCII: Final = Signs("|- ", "`- ", "|  ", "#", "=", ".", "~", "-")


def clean(text: str) -> str:
    """*text* with control characters as escapes; newlines and tabs stay."""
    return _CONTROLS.sub(_escape, text)


def clean_json(text: str) -> str:
    """The same within the strings of a JSON document."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _escape(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def one_line(text: str) -> str:
    return clean(" ".join(text.split()))


def fit(text: str, width: int, signs: Signs = UNICODE, *, right: bool = False) -> str:
    """Exactly *width* cells wide, on one line, harmless; the end is cut off, with a sign for it."""
    if width <= 0:
        return ""
    fitting = one_line(text[: width * 8])
    if signs is ASCII:
        fitting = ascii_only(fitting)
    size = cell_len(fitting)
    if size > width:
        return set_cell_size(fitting, width - 1) + signs.cut
    padding = " " * (width - size)
    return padding + fitting if right else fitting + padding


def ascii_only(text: str) -> str:
    """For a terminal that has no more: other letters as escapes."""
    return text.encode("ascii", "backslashreplace").decode()


def duration(nanos: int) -> str:
    """At most seven wide."""
    millis = nanos / 1e6
    if millis < 1:
        return f"{nanos / 1e3:.0f} us" if nanos > 0 else "0 ms"
    if millis < 999.5:
        return f"{millis:.0f} ms"
    seconds = millis / 1e3
    if seconds < 99.995:
        return f"{seconds:.2f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} m"
    return f"{seconds / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
