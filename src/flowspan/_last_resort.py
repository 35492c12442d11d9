"""
Where a line of flowspan's goes that nobody has made a place for: `logging.lastResort`, of our own.

Python's own shows warnings only, and asks no one which stream may be written to. Leans on nothing.
"""

from __future__ import annotations

import logging
import sys


class LastResort(logging.Handler):
    """
    Writes what no other handler takes at its level, as things are when the line comes.

    *own_stream*: to the stderr of the process, whoever has put another in place of `sys.stderr`.
    """

    def __init__(self, level: int, *, own_stream: bool = False) -> None:
        super().__init__(level)
        self._own_stream = own_stream

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.__stderr__ if self._own_stream else sys.stderr
        if stream is None or _is_taken(record):
            return
        try:
            print(f"flowspan: {self.format(record)}", file=stream, flush=True)
        except Exception:  # noqa: BLE001 - a closed pipe; a line is worth no answer
            return


def add_last_resort(name: str, level: int, *, own_stream: bool = False) -> None:
    """Give the logger *name* one, once. The first decides on the stream."""
    logger = logging.getLogger(name)
    if not any(isinstance(handler, LastResort) for handler in logger.handlers):
        logger.addHandler(LastResort(level, own_stream=own_stream))


def _is_taken(record: logging.LogRecord) -> bool:
    """Whether a handler of the application's gets it."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            if not isinstance(handler, LastResort) and record.levelno >= handler.level:
                return True
        logger = logger.parent if logger.propagate else None
    return False
