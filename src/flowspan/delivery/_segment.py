"""
One append-only file of records, which belongs to one process as long as that one lives.

A segment is written by who made it, or only read and acknowledged by who adopted it. Its methods
are called with the spool's lock held, but for `read` and `load`, which may take long.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from flowspan.delivery import _format, _platform
from flowspan.delivery._format import Header, Record, Scan

SUFFIX = ".spans"
NEW = ".new"  # not yet locked: no business of anybody else


class Name(NamedTuple):
    """`<milliseconds>-<owner>-<salt>.<kind>`: sorts by age, and says whose it is."""

    millis: int
    owner: str
    salt: int
    suffix: str

    def __str__(self) -> str:
        return f"{self.millis:013d}-{self.owner}-{self.salt:08x}{self.suffix}"

    @classmethod
    def of(cls, text: str) -> Name | None:
        stem, dot, suffix = text.rpartition(".")
        parts = stem.split("-")
        if len(parts) != 3 or [len(part) for part in parts] != [13, 8, 8]:
            return None
        try:
            return cls(int(parts[0]), parts[1], int(parts[2], 16), dot + suffix)
        except ValueError:
            return None


def fresh_header(salt: int, clock: _platform.Clock, writer: str) -> bytes:
    return _format.encode_header(clock.wall(), clock.uptime(), clock.boot(), writer, salt)


def create(directory: str, name: Name, content: bytes) -> int:
    """
    A new private file with this content, locked before it has its name; its descriptor.

    Made under another name first: an adopter could lock it between its making and our lock. An
    older file of that name is replaced.
    """
    path = os.path.join(directory, str(name))
    made = path + NEW if _platform.RENAMES_OPEN_FILES else path
    fd = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | _platform.O_FLAGS, 0o600)
    try:
        if not _platform.lock(fd):
            raise BlockingIOError(errno.EAGAIN, f"{made} is locked by another process")
        _platform.write_all(fd, content, 0)
        if made != path:
            os.replace(made, path)
    except BaseException:
        _platform.remove(made, fd)
        raise
    return fd


def read_whole(fd: int) -> bytes:
    parts, at = [], 0
    while part := _platform.read_at(fd, 1 << 24, at):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


class Segment:
    """
    *waiting* is None where the records are not in memory: `load` finds them.

    *base* is the place of the first record among all that this process appended; None if adopted.
    """

    def __init__(self, path: str, fd: int, header: Header | None, salt: int) -> None:
        self.path = path
        self.fd = fd
        self.header = header
        self.salt = salt
        self.base: int | None = None
        self.waiting: deque[Record] | None = None
        self.flying: dict[int, Record] = {}
        self.next_number = 0
        self.acknowledged = 0
        self.end = _format.HEADER_SIZE
        self.spans = self.bytes = 0
        self.gone = False
        self.since = 0  # uptime when it became ours
        self._has_header = True
        self._reading = 0
        self._stale: list[int] = []

    @classmethod
    def new(
        cls, directory: str, name: Name, clock: _platform.Clock, writer: str, base: int
    ) -> Segment:
        data = fresh_header(name.salt, clock, writer)
        fd = create(directory, name, data)
        header, _ = _format.decode_header(data)
        segment = cls(os.path.join(directory, str(name)), fd, header, name.salt)
        segment.base, segment.waiting = base, deque()
        segment.since = clock.uptime()
        return segment

    def append(self, body: bytes, spans: int, time: int, kind: int = _format.SPANS) -> Record:
        """Raises OSError; a record that was written in part is taken back, or overwritten."""
        number, offset = self.next_number, self.end
        head, checksum = _format.encode_record(body, spans, number, time, kind, self.salt)
        try:
            _platform.write_all(self.fd, head + body, offset)
        except OSError:
            # If this fails, too, the next record is written over it, and a reader would skip it.
            with suppress(OSError):
                os.ftruncate(self.fd, offset)
            raise
        record = Record(number, offset, len(body), spans, time, kind, checksum)
        self.next_number = number + 1
        self.end = record.end
        self.spans += spans
        self.bytes += len(body)
        if self.waiting is not None:
            self.waiting.append(record)
        return record

    def unload(self) -> None:
        """Keep the records out of memory until they are needed, if the file tells all of them."""
        lowest = self.lowest()
        if self.waiting and not self.flying and len(self.waiting) == self.next_number - lowest:
            self.acknowledge()
            self.waiting = None

    def load(self) -> Scan:
        """Read and check the whole file. Call `use` with the answer. No lock needed."""
        return _format.scan(read_whole(self.fd), self.salt)

    def use(self, found: Scan) -> None:
        """What still waits is what the scan found and nobody has delivered."""
        self.acknowledged = max(self.acknowledged, found.acknowledged)
        first = min((record.offset for record in found.records), default=_format.HEADER_SIZE)
        # In a damaged header a record may lie where the acknowledgement would be written.
        self._has_header = found.header is not None and first >= _format.HEADER_SIZE
        records = [
            record
            for record in found.records
            if record.number >= self.acknowledged and record.kind == _format.SPANS
        ]
        self.waiting = deque(records)
        self.spans = sum(record.spans for record in records)
        self.bytes = sum(record.length for record in records)
        if found.records:
            self.next_number = max(self.next_number, found.records[-1].number + 1)

    def read(self, record: Record) -> bytes | None:
        """The record's body; None if it is damaged. No lock needed between `pin` and `unpin`."""
        body = _platform.read_at(self.fd, record.length, record.offset + _format.RECORD_SIZE)
        while len(body) < record.length:
            at = record.offset + _format.RECORD_SIZE + len(body)
            more = _platform.read_at(self.fd, record.length - len(body), at)
            if not more:
                return None
            body += more
        return body if _format.is_intact(body, record) else None

    def pin(self) -> None:
        """Somebody reads: the descriptor stays open until `unpin`."""
        self._reading += 1

    def unpin(self) -> None:
        self._reading -= 1
        if not self._reading:
            for fd in self._stale:
                os.close(fd)
            self._stale.clear()

    def settle(self, record: Record) -> bool:
        """Forget a record that was taken; False if somebody did already."""
        if self.flying.pop(record.number, None) is None:
            return False
        self._forget(record)
        return True

    def drop_oldest(self) -> int:
        """Forget the first waiting record. Returns its spans."""
        assert self.waiting
        record = self.waiting.popleft()
        self._forget(record)
        return record.spans

    def _forget(self, record: Record) -> None:
        self.spans -= record.spans
        self.bytes -= record.length

    def back(self, records: list[Record]) -> None:
        """Records that were taken wait again, before younger ones."""
        assert self.waiting is not None
        self.waiting = deque(sorted([*records, *self.waiting]))

    def lowest(self) -> int:
        """The number below which nothing waits and nothing is taken."""
        if self.waiting is None:
            return self.acknowledged
        lowest = self.waiting[0].number if self.waiting else self.next_number
        return min(lowest, *self.flying) if self.flying else lowest

    def acknowledge(self) -> None:
        """Remember in the file what is delivered, so that a crash resends little."""
        lowest = self.lowest()
        if lowest > self.acknowledged:
            self.acknowledged = lowest
            if not self._has_header:
                return
            mark = _format.encode_acknowledged(lowest, self.salt)
            with suppress(OSError):  # else a crash resends more
                _platform.write_all(self.fd, mark, _format.ACKNOWLEDGED_AT)

    @property
    def is_empty(self) -> bool:
        """Nothing waits and nothing is taken."""
        return self.waiting is not None and not self.waiting and not self.flying

    def rewind(self) -> None:
        """
        All is delivered: write over it. Numbers go on, so a reader knows what is left of the old.

        The same pages over and over cost half of new ones, and few of them reach the disk.
        """
        if self.next_number < 1 << 31:
            self.end = _format.HEADER_SIZE

    def is_unlinked(self) -> bool:
        """Somebody deleted the file under us. It can still be read and written."""
        return _platform.is_unlinked(self.fd)

    def was_emptied(self) -> bool:
        """Another process took the space back because the directory was over its bound."""
        try:
            # our acknowledgement may have been written since
            return os.fstat(self.fd).st_size < _format.HEADER_SIZE
        except OSError:
            return False

    def rescue(self, directory: str) -> None:
        """Copy a file that was deleted under us to *directory*, under its own name."""
        name = os.path.basename(self.path)
        known = Name.of(name)
        assert known is not None
        fd = create(directory, known, read_whole(self.fd))
        self._let_go(self.fd)
        self.fd, self.path = fd, os.path.join(directory, name)

    def close(self) -> None:
        """Leave the file to the next process."""
        if not self.gone:
            self.gone = True
            self._let_go(self.fd)

    def detach(self) -> tuple[str, int] | None:
        """Let go of the file. The answer, if any, is for `_platform.remove`, without the lock."""
        if self.gone:
            return None
        self.gone = True
        if self.waiting:
            self.waiting.clear()
        if not self._reading:
            return self.path, self.fd
        _platform.unlink(self.path)
        self._stale.append(self.fd)
        return None

    def abandon(self) -> None:
        """In a forked child: close the descriptors, which are the parent's, and nothing else."""
        for fd in (*self._stale, *(() if self.gone else (self.fd,))):
            with suppress(OSError):
                os.close(fd)
        self.gone = True
        self.flying.clear()
        self._stale.clear()

    def _let_go(self, fd: int) -> None:
        if self._reading:
            self._stale.append(fd)
        else:
            os.close(fd)


def new_salt() -> int:
    return secrets.randbits(32)


def new_owner() -> str:
    return secrets.token_hex(4)
