"""
flowspan's log lines where the logging of Langflow and lfx would lose them: on the process's stderr.

lfx leaves Python's logging bare, or sends all of it to its own, which shows errors at most unless
it is told otherwise and may be switched off by a flow. Adds one handler to the logger `flowspan`;
no logger, handler or level of anybody else is touched.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

from flowspan._guard import guard

_SAY: Final = guard("find a place for warnings", "they go where Python's logging sends them")


def show_warnings() -> None:
    """From now on a warning of ours is seen, unless the logger `flowspan` was set up already."""
    with _SAY:
        logger = logging.getLogger("flowspan")
        if logger.handlers:
            return
        if logger.level == logging.NOTSET and logger.getEffectiveLevel() >= logging.WARNING:
            logger.setLevel(logging.WARNING)  # `lfx serve` raises that of all loggers
        logger.addHandler(_OnStderr())


class _OnStderr(logging.Handler):
    """
    Writes what no other handler shows to the stderr that the process was started with.

    `lfx run` puts what is written to `sys.stderr` during a run into its answer.
    """

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if not _is_shown(record):
                print(f"flowspan: {self.format(record)}", file=sys.__stderr__, flush=True)
        except Exception:  # noqa: BLE001 - a closed pipe; a warning is worth no answer
            return


def _is_shown(record: logging.LogRecord) -> bool:
    return sys.__stderr__ is None or any(
        record.levelno >= handler.level and not _is_lost(handler, record.levelno)
        for handler in logging.getLogger().handlers
    )


def _is_lost(handler: logging.Handler, level: int) -> bool:
    """Whether *handler* only passes on to lfx's own logging, which drops that level."""
    lfx: Any = sys.modules.get("lfx.log.logger")
    if lfx is None or type(handler) is not getattr(lfx, "InterceptHandler", None):
        return False
    return not lfx.structlog.get_logger().is_enabled_for(level)
