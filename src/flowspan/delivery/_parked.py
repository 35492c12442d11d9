"""
Spans that a collector will never accept, each record in a file of its own, for somebody to look at.

Bounded: the oldest go first. Nothing here is ever sent by itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
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


def keep_bound(directory: str, max_bytes: int) -> int:
    """
    Delete the oldest parked files until the others fit. Returns how many spans went.

    A file whose spans cannot be told counts as one.
    """
    files: list[tuple[str, Name, int]] = []
    for text in sorted(os.listdir(directory)):
        name, path = Name.of(text), os.path.join(directory, text)
        if name is not None and name.suffix == PARKED_SUFFIX:
            with suppress(OSError):  # another process was faster
                files.append((path, name, os.lstat(path).st_size))
    total = sum(size for _, _, size in files)
    gone = 0
    for number, (path, name, size) in enumerate(files):
        if total <= max_bytes and len(files) - number <= MAX_FILES:
            break
        spans = sum(record.spans for record in _format.scan(_read(path), name.salt).records)
        with suppress(OSError):  # it counts what it deletes, and nobody else does
            os.unlink(path)
            gone += spans or 1
        total -= size
    return gone


def parked(directory: str) -> list[Parked]:
    """What was parked, oldest first. Damaged and newer files are left out."""
    found = []
    for text in sorted(os.listdir(directory)):
        name = Name.of(text)
        if name is None or name.suffix != PARKED_SUFFIX:
            continue
        path = os.path.join(directory, text)
        data = _read(path)
        for record in _format.scan(data, name.salt).records:
            content = data[record.offset + _format.RECORD_SIZE : record.end]
            reason, body = parted(content)
            found.append(Parked(path, body, record.spans, reason, record.time / 1e9))
    return found


def parted(content: bytes) -> tuple[str, bytes]:
    """Why a parked record was refused, and the request itself."""
    size = 2 + int.from_bytes(content[:2], "little")
    return content[2:size].decode("utf-8", "replace"), content[size:]


def _read(path: str) -> bytes:
    """Nothing if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | _platform.O_FLAGS)
    except OSError:
        return b""
    try:
        return read_whole(fd)
    except OSError:
        return b""
    finally:
        os.close(fd)
