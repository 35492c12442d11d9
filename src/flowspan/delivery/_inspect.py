"""
Looks at a spool directory without changing anything in it, for the commands.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from flowspan.delivery import _format, _open_spans, _platform
from flowspan.delivery._open_spans import OPEN_SUFFIX
from flowspan.delivery._parked import PARKED_SUFFIX
from flowspan.delivery._segment import SUFFIX, Name, read_whole

_KINDS = {SUFFIX: "spans", OPEN_SUFFIX: "open", PARKED_SUFFIX: "parked"}


class SegmentInfo(NamedTuple):
    """
    One file. *spans* wait in it, are open or are parked, by *kind*.

    *oldest* in seconds since the epoch, None if nothing waits. *owner_pid_alive*: a process has it.
    *is_newer*: written by a version whose format this one cannot read; then *spans* is 0.
    *pid*: who made the file; 0 if its header is damaged. Another process may have adopted it.
    """

    path: str
    spans: int
    bytes: int
    oldest: float | None
    owner_pid_alive: bool
    kind: str
    damaged: int
    is_newer: bool
    writer: str
    pid: int


def inspect(directory: str | os.PathLike[str]) -> list[SegmentInfo]:
    """Every file of the spool, the oldest first; none if there is no directory."""
    try:
        names = sorted(name for text in os.listdir(directory) if (name := Name.of(text)))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        if name.suffix in _KINDS:
            try:
                found.append(_look(os.path.join(directory, str(name)), name))
            except FileNotFoundError:
                continue  # delivered in the meantime
    return found


def _look(path: str, name: Name) -> SegmentInfo:
    fd = os.open(path, os.O_RDONLY | _platform.O_FLAGS)
    try:
        data = read_whole(fd)
        alive = name.suffix != PARKED_SUFFIX and _platform.is_locked(fd)
        found = _format.scan(data, name.salt)
        records = [record for record in found.records if record.number >= found.acknowledged]
        spans = sum(record.spans for record in records)
        if name.suffix == OPEN_SUFFIX:
            records = list(_open_spans.still_open(data, records).values())
            spans = len(records)
            if not alive:  # their ends may be in a segment already
                directory = os.path.dirname(path)
                spans = len(_open_spans.recover(directory, name, fd, lambda: None) or ())
    finally:
        os.close(fd)
    return SegmentInfo(
        path=path,
        spans=spans,
        bytes=len(data),
        oldest=min((record.time / 1e9 for record in records), default=None),
        owner_pid_alive=alive,
        kind=_KINDS[name.suffix],
        damaged=found.damaged,
        is_newer=found.is_newer,
        writer=found.header.writer if found.header else "",
        pid=found.header.pid if found.header else 0,
    )
