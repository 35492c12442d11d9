"""
Which spans of this process are open, in a file of its own, for the case that it is killed.

Append-only: a record when a span opens, one when its end is in the spool. Written anew when most
of it is of spans that have ended. Whoever finds the file without its process makes spans of what
is left (`recover`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from flowspan.delivery import _format, _platform, _requests
from flowspan.delivery._format import CLOSED, OPENED, Header, Record
from flowspan.delivery._segment import SUFFIX, Name, create, fresh_header, read_whole

OPEN_SUFFIX = ".open"
KEY_SIZE = 24  # a trace id and a span id
COMPACT_ABOVE = 1 << 20


class OpenSpans:
    """
    Called with the spool's lock held. The file is made with the first span.

    At most *max_bytes* are kept: spans opened above that are not found again after a crash.
    """

    def __init__(
        self, directory: str, name: Name, clock: _platform.Clock, writer: str, max_bytes: int
    ) -> None:
        self._directory = directory
        self._name = name
        self._clock = clock
        self._writer = writer
        self._max_bytes = max_bytes
        self._open: dict[bytes, Record] = {}
        self._fd = -1
        self._header: Header | None = None
        self._end = self._live = self._number = 0
        self._compact_at = COMPACT_ABOVE

    def opened(self, key: bytes, body: bytes) -> None:
        """Raises OSError if it cannot be kept."""
        if self._live + len(body) > self._max_bytes:
            return
        if self._fd < 0 or _platform.is_unlinked(self._fd):
            self._rewrite()
        self.closed(key)
        record = self._write(OPENED, key + body)
        self._open[key] = record
        self._live += record.end - record.offset

    def closed(self, key: bytes) -> None:
        """Raises OSError if the disk fails; the span is not recovered even then."""
        record = self._open.pop(key, None)
        if record is None:
            return
        self._live -= record.end - record.offset
        try:
            self._write(CLOSED, key)
        except OSError:
            self._blot_out(record)
            raise
        if self._end > self._compact_at:
            self._compact()

    def _blot_out(self, record: Record) -> None:
        """Its end cannot be added: there may be no room. In place of its start there is."""
        try:
            body = _platform.read_at(self._fd, record.length, record.offset + _format.RECORD_SIZE)
            head, _ = _format.encode_record(
                body, 1, record.number, record.time, CLOSED, self._name.salt
            )
            _platform.write_all(self._fd, head, record.offset)
        except OSError:
            # Rather none of these than one that has ended: the next that opens writes it anew.
            _platform.unlink(os.path.join(self._directory, str(self._name)))

    def _write(self, kind: int, body: bytes) -> Record:
        assert self._header is not None
        time = self._header.created + self._clock.uptime() - self._header.uptime
        head, checksum = _format.encode_record(body, 1, self._number, time, kind, self._name.salt)
        record = Record(self._number, self._end, len(body), 1, time, kind, checksum)
        _platform.write_all(self._fd, head + body, self._end)
        self._number += 1
        self._end = record.end
        return record

    def _compact(self) -> None:
        if self._live * 4 < self._end:
            with suppress(OSError):  # else it goes on as it is
                self._rewrite()
        self._compact_at = max(COMPACT_ABOVE, self._end * 2)

    def _rewrite(self) -> None:
        """A new file with what is open, in place of the old one, at one stroke."""
        content = bytearray(fresh_header(self._name.salt, self._clock, self._writer))
        header, _ = _format.decode_header(bytes(content))
        assert header is not None
        moved: dict[bytes, Record] = {}
        for key, record in self._open.items():
            at = record.offset + _format.RECORD_SIZE
            body = _platform.read_at(self._fd, record.length, at)
            if not _format.is_intact(body, record):
                continue
            shift = 0 if self._header is None else _shift(self._header, header)
            time = record.time + shift
            head, checksum = _format.encode_record(
                body, 1, len(moved), time, OPENED, self._name.salt
            )
            moved[key] = Record(
                len(moved), len(content), record.length, 1, time, OPENED, checksum
            )  # numbered anew: a gap would pass for damage
            content += head + body
        fd = create(self._directory, self._name, bytes(content))
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._header, self._open, self._end = fd, header, moved, len(content)
        self._number = len(moved)
        self._live = sum(record.end - record.offset for record in moved.values())

    def close(self) -> None:
        """Leave what is open to the next process; delete the file if that is nothing."""
        if self._fd < 0:
            return
        if self._open:
            with suppress(OSError):  # the directory is gone for good
                if _platform.is_unlinked(self._fd):
                    self._rewrite()
            os.close(self._fd)
        else:
            _platform.remove(os.path.join(self._directory, str(self._name)), self._fd)
        self._fd = -1

    def abandon(self) -> None:
        """In a forked child: the file is the parent's."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _shift(old: Header, new: Header) -> int:
    """What makes a time on the clock of one header one on the clock of another."""
    return (new.created - new.uptime) - (old.created - old.uptime)


def still_open(data: bytes, records: Sequence[Record]) -> dict[bytes, Record]:
    """The records of *data*, a whole file, whose spans it does not say to have ended; by key."""
    left: dict[bytes, Record] = {}
    for record in records:
        start = record.offset + _format.RECORD_SIZE
        key = data[start : start + KEY_SIZE]
        if record.kind == OPENED:
            left[key] = record
        else:
            left.pop(key, None)
    return left


def recover(directory: str, name: Name, fd: int, breathe: Callable[[], None]) -> list[bytes] | None:
    """
    The spans that a dead process left open, as spans that were abandoned; None: a newer format.

    A span whose end is in one of the process's segments has ended. Its segments must still be
    there: they may be adopted after this only.
    """
    found = _format.scan(data := read_whole(fd), name.salt)
    if found.is_newer:
        return None
    left: dict[bytes, tuple[Record, bytes]] = {}
    last = 0
    for record in found.records:
        start = record.offset + _format.RECORD_SIZE
        key = data[start : start + KEY_SIZE]
        last = max(last, record.time)
        if record.kind == OPENED:
            left[key] = record, data[start + KEY_SIZE : record.end]
        elif record.kind == CLOSED:
            left.pop(key, None)
    if not left:
        return []
    opened = min(_uptime(found.header, record) for record, _ in left.values())
    for header, record, body in _ended(directory, name.owner, name.millis):
        last = max(last, record.time)
        if _uptime(header, record) < opened and header and found.header:
            continue
        with suppress(ValueError):  # not a request: nothing of ours
            for trace_id, span_id in _requests.span_ids(body):
                left.pop(trace_id + span_id, None)
        breathe()
    ended = []
    for _, body in left.values():
        with suppress(ValueError):
            ended.append(_requests.mark_abandoned(body, last))
    return ended


def _uptime(header: Header | None, record: Record) -> int:
    return record.time - header.created + header.uptime if header else 0


def _ended(directory: str, owner: str, since: int) -> Iterator[tuple[Header | None, Record, bytes]]:
    """Every record of a process that is still on the disk, delivered or not."""
    for text in sorted(os.listdir(directory)):
        name = Name.of(text)
        if name is None or name.owner != owner or name.suffix != SUFFIX:
            continue
        try:
            fd = os.open(os.path.join(directory, text), os.O_RDONLY | _platform.O_FLAGS)
        except OSError:
            continue
        try:
            data = read_whole(fd)
        finally:
            os.close(fd)
        found = _format.scan(data, name.salt)
        for record in found.records:
            yield found.header, record, data[record.offset + _format.RECORD_SIZE : record.end]
