"""
The files of a spool directory, whoever's they are: which there are, and which may be taken.

Knows each descriptor it has given out until that is handed on, so that a forked child can close it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from flowspan.delivery import _platform
from flowspan.delivery._open_spans import OPEN_SUFFIX
from flowspan.delivery._segment import NEW, Name

LEFT_BEHIND = 600  # seconds until a file that never got its name is deleted


class File(NamedTuple):
    """Sorts by age."""

    name: Name
    path: str
    size: int


class Directory:
    """*lock* is the spool's: held while a descriptor is between its opening and its note here."""

    def __init__(
        self,
        path: str,
        lock: AbstractContextManager[bool],
        clock: _platform.Clock,
        on_newer: Callable[[str], None],
    ) -> None:
        self.path = path
        self._lock = lock
        self._clock = clock
        self._on_newer = on_newer
        self._newer: set[str] = set()
        self._descriptors: set[int] = set()

    def files(self) -> list[File]:
        """Every file of a spool, the oldest first. Raises OSError."""
        found = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.endswith(NEW):
                    self._sweep(entry)
                elif name := Name.of(entry.name):
                    try:
                        size = entry.stat(follow_symlinks=False).st_size
                    except OSError:
                        continue  # gone in the meantime
                    found.append(File(name, entry.path, size))
        return sorted(found)

    def _sweep(self, entry: os.DirEntry[str]) -> None:
        """A file that never got its name: its process died in the middle."""
        if Name.of(entry.name.removesuffix(NEW)) is None:
            return
        try:
            age = self._clock.wall() / 1e9 - entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            return
        if age > LEFT_BEHIND and (fd := self.open_dead(entry.path)) is not None:
            self.remove(entry.path, fd)

    def has_open_spans(self, owner: str) -> bool:
        """Whether the file that tells which spans of that process are open is still there."""
        names = (Name.of(text) for text in os.listdir(self.path))
        return any(n and n.owner == owner and n.suffix == OPEN_SUFFIX for n in names)

    def open_dead(self, path: str) -> int | None:
        """Lock a file whose process is gone; None if it lives, is not ours, or is no file."""
        with self._lock:
            fd = self._open(path)
            if fd is None:
                return None
            try:
                if _platform.lock(fd) and _platform.is_at(fd, path):
                    return fd
            except OSError:
                pass  # deleted in the meantime
            self.close(fd)
            return None

    def open_live(self, path: str) -> int | None:
        """Open a file that another process has."""
        with self._lock:
            return self._open(path)

    def _open(self, path: str) -> int | None:
        try:
            fd = os.open(path, os.O_RDWR | _platform.O_FLAGS)
        except OSError:
            return None
        self._descriptors.add(fd)
        if not _platform.is_own_file(fd):
            self.close(fd)
            return None
        return fd

    def close(self, fd: int) -> None:
        with self._lock:
            self._descriptors.discard(fd)
            os.close(fd)

    def remove(self, path: str, fd: int) -> None:
        self.hand_on(fd)
        _platform.remove(path, fd)

    def hand_on(self, fd: int) -> None:
        """It is somebody else's to close now."""
        self._descriptors.discard(fd)

    def is_newer(self, path: str) -> bool:
        """Whether a newer version wrote the file, as far as is known."""
        return path in self._newer

    def leave_alone(self, path: str) -> None:
        """A newer version wrote the file. Said once."""
        if path not in self._newer:
            self._newer.add(path)
            self._on_newer(path)

    def abandon(self) -> None:
        """In a forked child."""
        for fd in self._descriptors:
            os.close(fd)
        self._descriptors.clear()
