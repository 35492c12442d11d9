"""
Keeps our failures away from the application: counts each one, says each kind once.

Every public method is guarded once, at its edge; inside, code raises normally. `Exception` is
caught, `BaseException` passes: a cancellation belongs to the application. The handler can be
replaced, so that tests make a failure raise. Never used around the application's own code.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final

logger = logging.getLogger("flowspan")

Handler = Callable[[str, BaseException | None, str], None]

# Re-entrant: the garbage collector may end an abandoned generator's span while it is held.
_lock = threading.RLock()
_counts: Counter[str] = Counter()
_said: set[str] = set()


def _log_once(kind: str, error: BaseException | None, advice: str) -> None:
    """The default handler: one warning a kind, the traceback only for those who debug."""
    with _lock:
        first = kind not in _said
        _said.add(kind)
    try:
        if first:
            cause = f" ({type(error).__name__})" if error is not None else ""
            logger.warning("%s%s: %s; said once, counted from here on", kind, cause, advice)
        if error is not None:
            logger.debug("%s", kind, exc_info=error)
    except Exception:  # noqa: BLE001 - a handler of the application's; the count stands
        return


_handler: Handler = _log_once


def set_handler(handler: Handler | None) -> Handler:
    """
    Replace what happens with a failure of ours; None restores the log. Returns the one before.

    The handler gets the kind, the exception if there is one, and what to do about it.
    What it raises reaches the application, which is what tests want of it.
    """
    global _handler
    previous = _handler
    _handler = handler or _log_once
    return previous


def report(kind: str, advice: str, error: BaseException | None = None) -> None:
    """Count one failure or misuse of *kind* and hand it to the handler. Safe from any thread."""
    with _lock:
        _counts[kind] += 1
    _handler(kind, error, advice)


def counts() -> dict[str, int]:
    """How often each kind happened in this process."""
    with _lock:
        return dict(_counts)


def reset() -> None:
    """Forget all counts, so that each kind is said again."""
    with _lock:
        _counts.clear()
        _said.clear()


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it
    _counts.clear()
    _said.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class guard:
    """
    `with guard("start run span"):` keeps an `Exception` of ours from the application.

    Stateless: make one per kind at import and use it from any thread, nested or not.
    """

    __slots__ = ("_advice", "_kind")

    def __init__(self, what: str, advice: str = "the span may lack it; please report this") -> None:
        self._kind: Final = f"could not {what}"
        self._advice: Final = advice

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self.failed(error)
        return True

    def failed(self, error: Exception) -> None:
        """For a `try` of one's own, where an `except` is hot enough to spare the two calls."""
        report(self._kind, self._advice, error)
