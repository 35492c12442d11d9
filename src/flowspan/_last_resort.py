"""
Where a line of flowspan's goes that no handler shows: `logging.lastResort`, of our own.

Python's own shows warnings only, and knows nothing of handlers that show less than they take.
Leans on nothing.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO


class LastResort(logging.Handler):
    """Writes to stderr what no other handler shows, as things are when the line comes."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = self.stream()
            if stream is not None and not self._is_shown(record):
                print(f"flowspan: {self.format(record)}", file=stream, flush=True)
        except Exception:  # noqa: BLE001 - a closed pipe; a line is worth no answer
            return

    def stream(self) -> TextIO | None:
        return sys.stderr

    def loses(self, handler: logging.Handler, level: int) -> bool:
        """Whether *handler* takes that level and shows it to nobody."""
        return False

    def _is_shown(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            for handler in logger.handlers:
                takes = record.levelno >= handler.level and not isinstance(handler, LastResort)
                if takes and not self.loses(handler, record.levelno):
                    return True
            logger = logger.parent if logger.propagate else None
        return False


def set_last_resort(handler: LastResort, *, instead: bool = False) -> None:
    """Give the logger `flowspan` one, if it has none, or *instead* of the one that it has."""
    logger = logging.getLogger("flowspan")
    before = [one for one in logger.handlers if isinstance(one, LastResort)]
    if instead or not before:
        for one in before:
            logger.removeHandler(one)
        logger.addHandler(handler)
