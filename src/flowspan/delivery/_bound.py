"""
Keeps a directory below its size: the oldest segments go, whoever's they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from flowspan.delivery import _format, _platform
from flowspan.delivery._directory import Directory, File
from flowspan.delivery._segment import SUFFIX, read_whole

Drop = Callable[[str], "int | None"]


def make_room(directory: Directory, limit: int, drop_own: dict[str, Drop]) -> tuple[int, int]:
    """
    Delete segments until *limit* bytes are left. Returns what is left, and the spans that went.

    *drop_own*: this process's segments by path, and how to drop one; None if it has to stay.
    """
    files = directory.files()
    total, spans = sum(file.size for file in files), 0
    newest = {file.name.owner: file.path for file in files if file.name.suffix == SUFFIX}
    for file in files:
        if total <= limit:
            break
        if file.name.suffix != SUFFIX or directory.is_newer(file.path):
            continue
        if drop := drop_own.get(file.path):
            went = drop(file.path)
        else:
            went = _drop(directory, file, is_newest=file.path == newest[file.name.owner])
        if went is not None:
            total -= file.size
            spans += went
    return total, spans


def _drop(directory: Directory, file: File, *, is_newest: bool) -> int | None:
    fd = directory.open_dead(file.path)
    if fd is None:
        return None if is_newest else _empty(directory, file)
    spans = _waiting(fd, file)
    if spans is None:
        directory.close(fd)
        directory.leave_alone(file.path)
    else:
        directory.remove(file.path, fd)
    return spans


def _empty(directory: Directory, file: File) -> int | None:
    """
    Take the space of a live process's oldest segment, which it no longer writes to.

    It keeps the file open: emptying it frees the space and tells it, deleting would do neither.
    """
    fd = directory.open_live(file.path)
    if fd is None:
        return None
    try:
        spans = _waiting(fd, file)
        if spans is not None:
            os.ftruncate(fd, 0)
            _platform.unlink(file.path)
        return spans
    except OSError:
        return None
    finally:
        directory.close(fd)


def _waiting(fd: int, file: File) -> int | None:
    """How many spans a segment still has to deliver; None if its format is a newer one."""
    found = _format.scan(read_whole(fd), file.name.salt)
    if found.is_newer:
        return None
    return sum(r.spans for r in found.records if r.number >= found.acknowledged)
