"""
Spans that a collector will never accept, each record in a file of its own, for somebody to look at.

Bounded: the oldest go first. Nothing here is ever sent by itself.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from flowspan.delivery import _format, _platform
from flowspan.delivery._segment import Name, create, fresh_header, read_whole

PARKED_SUFFIX = ".parked"
MAX_FILES = 100


class Parked(NamedTuple):
    """A parked record. *time* in seconds since the epoch."""

    path: str
    body: bytes
    spans: int
    reason: str
    time: float


def park(
    directory: str,
    name: Name,
    body: bytes,
    spans: int,
    reason: str,
    clock: _platform.Clock,
    writer: str,
) -> None:
    """Raises OSError if it cannot be kept."""
    why = reason.encode("utf-8", "replace")[:1000]
    content = len(why).to_bytes(2, "little") + why + body
    header = fresh_header(name.salt, clock, writer)
    head, _ = _format.encode_record(content, spans, 0, clock.wall(), _format.PARKED, name.salt)
    os.close(create(directory, name, header + head + content))


def keep_bound(directory: str, max_bytes: int) -> None:
    """Delete the oldest parked files until the others fit."""
    files = sorted(
        (entry.name, entry.path, entry.stat(follow_symlinks=False).st_size)
        for entry in os.scandir(directory)
        if (name := Name.of(entry.name)) and name.suffix == PARKED_SUFFIX
    )
    total = sum(size for _, _, size in files)
    for number, (_, path, size) in enumerate(files):
        if total <= max_bytes and len(files) - number <= MAX_FILES:
            return
        _platform.unlink(path)
        total -= size


def parked(directory: str) -> list[Parked]:
    """What was parked, oldest first. Damaged and newer files are left out."""
    found = []
    for text in sorted(os.listdir(directory)):
        name = Name.of(text)
        if name is None or name.suffix != PARKED_SUFFIX:
            continue
        path = os.path.join(directory, text)
        try:
            fd = os.open(path, os.O_RDONLY | _platform.O_FLAGS)
        except OSError:
            continue
        try:
            data = read_whole(fd)
        finally:
            os.close(fd)
        for record in _format.scan(data, name.salt).records:
            content = data[record.offset + _format.RECORD_SIZE : record.end]
            size = 2 + int.from_bytes(content[:2], "little")
            reason = content[2:size].decode("utf-8", "replace")
            found.append(Parked(path, content[size:], record.spans, reason, record.time / 1e9))
    return found
