"""
The spool: where it is, what waits in it and for how long, who holds it, and whether it can be used.

Changes nothing in it. A directory that is missing is not made, only asked whether it could be.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator

from flowspan.cli._words import count, period, size
from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.cli.doctor._settings import Settings
from flowspan.config import OtlpConfig
from flowspan.delivery import _platform
from flowspan.delivery._inspect import SegmentInfo, inspect
from flowspan.delivery._storage import default_directory

Look = Callable[[], "list[SegmentInfo] | None"]
"""What `inspect` finds; None if it was not done in time."""


def directory_of(settings: Settings, otlp: OtlpConfig) -> str | None:
    """None if there is none by the configuration."""
    named = settings.config.spool.directory
    if named == "none":
        return None
    if named is None:
        return default_directory(otlp.endpoint, otlp.headers)
    return os.path.expanduser(named)


def looking(directory: str | None) -> list[SegmentInfo]:
    """What is in it. Reads all of it, so it may take a while."""
    return [] if directory is None else inspect(directory)


def lines(settings: Settings, directory: str | None, look: Look) -> Iterator[Line]:
    if directory is None:
        yield _line(
            "directory",
            State.NOTE,
            "none: FLOWSPAN_SPOOL_DIR is none",
            "a directory, or what has not arrived when the process ends is lost",
            "take FLOWSPAN_SPOOL_DIR out, if spans are to survive the process",
        )
        return
    from_variable = settings.sources["directory"]
    yield _usable(directory, from_variable)
    there = _existing(directory)
    if there is None:
        return
    yield _room(there, settings.config.spool.max_bytes)
    if there != directory:
        return
    try:
        found = look()
    except OSError as error:
        yield _line(
            "waiting",
            State.WRONG,
            f"{directory} cannot be read: {(error.strerror or str(error)).lower()}",
            "a directory of this user's",
            f"chown it, or name another in {from_variable or 'FLOWSPAN_SPOOL_DIR'}",
        )
        return
    if found is None:
        yield _line(
            "waiting",
            State.NOTE,
            f"{size(_size(directory))} in files; too many to count the spans in this time",
            do="--timeout 30 gives it longer",
        )
        return
    yield from _waiting(directory, found)


def _usable(directory: str, variable: str) -> Line:
    place = f"{directory} ({variable or 'default'})"
    do = f"name a directory of this user's alone in {'FLOWSPAN_SPOOL_DIR'}; docs/delivery.md"
    there = _existing(directory)
    trouble = ""
    if directory.startswith("~") or there is None:
        trouble = "this user has no home directory"
    elif there == directory:
        try:
            _platform.private_directory(directory)
            _write(directory)
        except OSError as error:
            trouble = str(error) if isinstance(error, _platform.Refused) else _why(error)
    else:
        try:
            _write(there)
        except OSError as error:
            trouble = f"it is missing, and cannot be made in {there}: {_why(error)}"
    if trouble:
        return _line(
            "directory",
            State.WRONG,
            f"{place}: {trouble}; spans wait in memory, and are lost if the process ends",
            "a directory that this user alone can write to",
            do,
        )
    missing = "" if there == directory else "; it is made with the first span"
    return _line("directory", State.WELL, f"{place}: can be written{missing}")


def _existing(directory: str) -> str | None:
    """*directory* or the nearest one above it that is there."""
    path = os.path.abspath(directory)
    while not os.path.lexists(path):
        above = os.path.dirname(path)
        if above == path:
            return None
        path = above
    return directory if path == os.path.abspath(directory) else path


def _write(directory: str) -> None:
    """A file without a name: it is gone when it is closed."""
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(b"\0" * 4096)
        file.flush()


def _room(directory: str, max_bytes: int) -> Line:
    free = shutil.disk_usage(directory).free
    seen = f"{size(free)} free; at most {size(max_bytes)} may wait"
    if free < 1 << 20:
        return _line(
            "disk", State.WRONG, seen, "room", "make room: spans wait in memory until there is"
        )
    if free < max_bytes:
        return _line(
            "disk",
            State.NOTE,
            seen,
            "as much as may wait",
            "make room, or set FLOWSPAN_SPOOL_MAX_BYTES to less",
        )
    return _line("disk", State.WELL, seen)


def _waiting(directory: str, found: list[SegmentInfo]) -> Iterator[Line]:
    waits = [info for info in found if info.kind == "spans"]
    spans = sum(info.spans for info in waits)
    oldest = min((info.oldest for info in waits if info.oldest is not None), default=None)
    cut_off = sum(i.spans for i in found if i.kind == "open" and not i.owner_pid_alive)
    if cut_off:
        yield _line(
            "cut off",
            State.NOTE,
            f"{count(cut_off, 'span')} had not ended when the process died",
            "none",
            "nothing: what waits is delivered with them, and flowspan.status says abandoned",
        )
    if spans:
        amount = sum(info.bytes for info in waits if info.spans)
        age = f", the oldest for {period(time.time() - oldest)}" if oldest else ""
        yield _line(
            "waiting",
            State.NOTE,
            f"{count(spans, 'span')} in {size(amount)}{age}",
            "none, while a collector takes them",
            "nothing, if the way to the collector is well: the next process with flowspan sends "
            f"them, or `flowspan drain --spool {directory}`",
        )
    else:
        yield _line("waiting", State.WELL, "no span waits")
    held = sorted({info.pid for info in found if info.owner_pid_alive})
    if held:
        pids = ", ".join(str(pid) if pid else "unknown" for pid in held)
        yield _line("held by", State.WELL, f"{count(len(held), 'process')}: {pids}")
    parked = [info for info in found if info.kind == "parked"]
    if parked:
        yield _line(
            "parked",
            State.NOTE,
            f"{count(sum(info.spans for info in parked), 'span')} that a collector refused for "
            "good",
            "none",
            f"`flowspan drain --spool {directory}` lists them with the reason, `--parked` tries "
            "them again",
        )
    damaged = sum(info.damaged for info in found)
    if damaged:
        yield _line(
            "damaged",
            State.WRONG,
            f"{count(damaged, 'record')} cannot be read",
            "none",
            "look at the disk: they are skipped",
        )
    for info in found:
        if info.is_newer:
            yield _line(
                "newer",
                State.NOTE,
                f"flowspan {info.writer} wrote {info.path}, and this is an older one",
                "one version on one directory",
                "run the newer one, or its `flowspan drain`",
            )


def _size(directory: str) -> int:
    with os.scandir(directory) as entries:
        return sum(entry.stat(follow_symlinks=False).st_size for entry in entries)


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _line(what: str, state: State, seen: str, expected: str = "", do: str = "") -> Line:
    return Line(section=Section.SPOOL, what=what, state=state, seen=seen, expected=expected, do=do)
