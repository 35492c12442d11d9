"""
What waits in a spool, looked at as it lies: nothing is locked, adopted or acknowledged.

Spans that ended and were not delivered, spans that are open or whose process died with them open,
and those that a collector refused. docs/spool-format.md says what the files are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from flowspan.cli.view._source import Unreadable
from flowspan.delivery import _format, _open_spans, _parked, _platform
from flowspan.delivery._open_spans import KEY_SIZE, OPEN_SUFFIX
from flowspan.delivery._parked import PARKED_SUFFIX
from flowspan.delivery._segment import SUFFIX, Name, read_whole


def requests_in(directory: str) -> Iterator[bytes]:
    """
    Every request that waits, oldest file first. Raises OSError if there is no such directory.

    What is damaged or of a newer format is said by `Unreadable`, at the end.
    """
    problems = []
    for text in sorted(os.listdir(directory)):
        name = Name.of(text)
        if name is None or name.suffix not in (SUFFIX, OPEN_SUFFIX, PARKED_SUFFIX):
            continue
        path = os.path.join(directory, text)
        try:
            fd = os.open(path, os.O_RDONLY | _platform.O_FLAGS)
        except FileNotFoundError:
            continue  # delivered meanwhile
        except OSError as error:
            problems.append(f"{text} cannot be read ({error.strerror})")
            continue
        try:
            yield from _in_file(directory, name, fd)
        except Unreadable as error:
            problems.append(f"{text} {error}")
        finally:
            os.close(fd)
    if problems:
        raise Unreadable("; ".join(problems))


def _in_file(directory: str, name: Name, fd: int) -> Iterator[bytes]:
    data = read_whole(fd)
    found = _format.scan(data, name.salt)
    if found.is_newer:
        raise Unreadable("was written by a newer flowspan, which can show it")
    waiting = [record for record in found.records if record.number >= found.acknowledged]
    if name.suffix == OPEN_SUFFIX:
        if _platform.is_locked(fd):  # its process lives
            for record in _open_spans.still_open(data, waiting).values():
                yield data[record.offset + _format.RECORD_SIZE + KEY_SIZE : record.end]
        else:
            yield from _open_spans.recover(directory, name, fd, lambda: None) or ()
        return
    for record in waiting:
        body = data[record.offset + _format.RECORD_SIZE : record.end]
        if name.suffix == PARKED_SUFFIX:
            _, body = _parked.parted(body)
        yield body
    if found.damaged:
        records = "record" if found.damaged == 1 else "records"
        raise Unreadable(f"has {found.damaged} damaged {records}")
