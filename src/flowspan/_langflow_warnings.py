"""
flowspan's log lines where the logging of Langflow and lfx would lose them: on the process's stderr.

lfx leaves Python's logging bare, or sends all of it to its own, which shows errors at most unless
it is told otherwise and may be switched off by a flow. Adds one handler to the logger `flowspan`;
no logger, handler or level of anybody else is touched.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

from flowspan._guard import guard
from flowspan._last_resort import LastResort, set_last_resort

_SAY: Final = guard("find a place for warnings", "they go where Python's logging sends them")


def show_warnings() -> None:
    """From now on a warning of ours is seen, unless the logger `flowspan` was set up already."""
    with _SAY:
        logger = logging.getLogger("flowspan")
        if any(not isinstance(handler, LastResort) for handler in logger.handlers):
            return
        if logger.level == logging.NOTSET and logger.getEffectiveLevel() >= logging.WARNING:
            logger.setLevel(logging.WARNING)  # `lfx serve` raises that of all loggers
        set_last_resort(_OnStderr(), instead=True)


class _OnStderr(LastResort):
    """
    To the stderr that the process was started with.

    `lfx run` puts what is written to `sys.stderr` during a run into its answer.
    """

    def stream(self) -> TextIO | None:
        return sys.__stderr__

    def loses(self, handler: logging.Handler, level: int) -> bool:
        """One that only passes on to lfx's own logging, which drops that level."""
        lfx: Any = sys.modules.get("lfx.log.logger")
        if lfx is None or type(handler) is not getattr(lfx, "InterceptHandler", None):
            return False
        try:
            return not lfx.structlog.get_logger().is_enabled_for(level)
        except Exception:  # noqa: BLE001 - of another version: twice is better than never
            return True
