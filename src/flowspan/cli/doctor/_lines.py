"""A line of the report: what was looked at, what was seen, what should be there, what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """The value is what `--json` says."""

    WELL = "well"
    NOTE = "note"
    """Nothing is wrong; somebody who looks for something may want to know."""
    WRONG = "wrong"
    SKIPPED = "skipped"
    """It could not be looked at, because of what is wrong above, or need not."""


class Section(enum.Enum):
    """In the order of the report."""

    SETTINGS = "Settings"
    PROCESS = "This process"
    WAY = "The way to the collector"
    SPOOL = "The spool"
    LANGFLOW = "Langflow"
    OTHERS = "Other tracers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """
    *expected* and *do* may be empty where all is well. *seconds*: how long the step took.

    *variable* is where a setting comes from; empty for its default, None for what is no setting.
    """

    section: Section
    what: str
    state: State = State.WELL
    seen: str
    expected: str = ""
    do: str = ""
    seconds: float | None = None
    variable: str | None = None
