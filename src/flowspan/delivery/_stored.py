"""
What a store of encoded spans is: the hole that the spool on disk and memory both fit.

A record's body is always one complete ExportTraceServiceRequest, so bodies can be joined.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

OnDropped = Callable[[int, str], None]
"""Told how many spans went and why. Called from whatever thread noticed, with no lock held."""


@dataclass(slots=True, eq=False)
class Taken:
    """
    Records joined into one request. Belongs to whoever took it until `done` or `put_back`.

    *held* is the store's own note of which records these are, *store* where they are from.
    """

    body: bytes
    spans: int
    records: int
    held: Any = field(default=None, repr=False)
    store: Store | None = field(default=None, repr=False)


class Store(Protocol):
    """Every method may be called from any thread, by several at once."""

    def append(self, body: bytes, spans: int) -> None:
        """Keep a record. Raises OSError if it cannot be kept: the caller still has it then."""

    def take(self, max_bytes: int, max_spans: int) -> Taken | None:
        """The oldest waiting records up to the limits, at least one however large; else None."""

    def done(self, taken: Taken) -> None:
        """Delivered, or given up by the caller: never again. A second time changes nothing."""

    def put_back(self, taken: Taken) -> None:
        """To be taken again, before younger ones."""

    def park(self, body: bytes, spans: int, reason: str) -> bool:
        """
        Keep spans aside that a collector will never accept; they are not sent again.

        False if they could not be kept and have been reported as dropped.
        """

    def unsent(self) -> tuple[int, int]:
        """Spans and bytes that wait or are taken."""

    def mark(self) -> Callable[[], bool]:
        """What answers true once all that this process appended before is done or dropped."""

    def opened(self, key: bytes, body: bytes) -> None:
        """A span is open: its trace id and span id, and a request that holds it as it is now."""

    def closed(self, key: bytes) -> None:
        """The span's end is in the store. An unknown key changes nothing."""

    def close(self) -> None:
        """Release files. What waits stays on disk for the next process; in memory it is lost."""

    def before_fork(self) -> None:
        """Hold what must not be half done in a child."""

    def after_fork_in_parent(self) -> None:
        """Let go of it."""

    def after_fork(self) -> None:
        """In the child: what was inherited is the parent's. Start empty."""
