"""A program that ends spans, and then itself: `ends.py HOW KIND`."""

import os
import signal
import sys
from typing import Any

from made import Made, say

how, kind = sys.argv[1:]


def end_and_exit(*_: Any) -> None:
    made.end(5)
    sys.exit(5)


def end_and_raise_again(number: int, _: Any) -> None:
    """As uvicorn: what it does at the end is done, then the signal takes its usual way."""
    made.end(5)
    if "FLOWSPAN_DURABILITY" not in os.environ:
        made.wait_until_safe()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


made = Made(kind)
made.end(30)
match how:
    case "return":
        made.end(5)
    case "sys.exit":
        made.end(5)
        sys.exit(3)
    case "exception":
        made.end(5)
        raise ValueError("theirs")
    case "os._exit":
        made.wait_until_safe()
        os._exit(4)
    case "os._exit at once":
        made.end(5)
        os._exit(4)
    case "SIGKILL while it works":
        while True:
            made.end()
    case "SIGTERM handled":
        signal.signal(signal.SIGTERM, end_and_exit)
    case "SIGTERM raised again":
        signal.signal(signal.SIGTERM, end_and_raise_again)
    case _:
        made.wait_until_safe()
if how.startswith("SIG"):
    say("ready")
    while True:
        signal.pause()
