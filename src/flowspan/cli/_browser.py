"""
A page on the disk, and the browser that shows it, where there is one.

Opening never waits: a browser that does not come is left alone, and the page lies where it lies.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from flowspan.cli.view._model import Trace
from flowspan.cli.view._page import write

_PATIENCE = 3.0  # seconds that a browser has to start


def save(traces: Sequence[Trace]) -> Path:
    """The page of *traces*, where the user's caches are; among temporary files if not there."""
    with suppress(OSError):
        directory = user_cache_path("flowspan")
        directory.mkdir(parents=True, exist_ok=True)
        return _written(traces, directory)
    return _written(traces, Path(tempfile.mkdtemp(prefix="flowspan-")))


def _written(traces: Sequence[Trace], directory: Path) -> Path:
    path = directory / "demo.html"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        write(traces, file)
    return path


def open_page(page: Path) -> bool:
    """Whether a browser was asked to show it: there is one, and somebody is looking."""
    if not (sys.stdout.isatty() and _has_display()) or os.environ.get("CI"):
        return False
    opened: list[bool] = []

    def open_it() -> None:
        with suppress(webbrowser.Error, OSError):
            opened.append(webbrowser.open(page.as_uri()))

    thread = threading.Thread(target=open_it, name="flowspan-browser", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return thread.is_alive() or any(opened)  # one that we would wait for is open


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
