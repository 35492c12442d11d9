"""
The bytes of a spool file: its header, its records, and how a reader goes on after damage.

Works on bytes alone and opens nothing. docs/spool-format.md is the same in words.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from zlib import crc32

VERSION: Final = 1
MAGIC: Final = b"flowspan"
MARKER: Final = b"\xf5FS\x01"  # the last byte is the version: a reader finds only what it can read

SPANS, OPENED, CLOSED, PARKED = 1, 2, 3, 4

# magic, version, size, salt, created, uptime, boot, writer, pid | checksum
_HEADER: Final = struct.Struct("<8sHHIQQ16s16sI")
_U32: Final = struct.Struct("<I")
_ACKNOWLEDGED: Final = struct.Struct("<QI")
_ACKNOWLEDGED_AT: Final = _HEADER.size + _U32.size
HEADER_SIZE: Final = 96
# marker, length, checksum of the body, salt, number, spans, time, kind | checksum of these
_FIELDS: Final = struct.Struct("<4sIIIIIQI")
RECORD_SIZE: Final = _FIELDS.size + _U32.size
MAX_BODY: Final = 0xFFFFFFFF


class Header(NamedTuple):
    """Who wrote a file and when. *created* and *uptime* name one moment on two clocks."""

    version: int
    size: int
    salt: int
    created: int
    uptime: int
    boot: bytes
    writer: str
    pid: int


class Record(NamedTuple):
    """Where a record lies. Sorts by *number*, which never comes twice in a file."""

    number: int
    offset: int
    length: int
    spans: int
    time: int
    kind: int
    checksum: int

    @property
    def end(self) -> int:
        return self.offset + RECORD_SIZE + self.length


@dataclass(slots=True)
class Scan:
    """
    What a file holds. *header* is None if it is damaged.

    *damaged* records are missing that were not delivered; *damaged_spans* were in those of them
    that can still tell.
    """

    header: Header | None
    acknowledged: int
    records: list[Record] = field(default_factory=list)
    damaged: int = 0
    damaged_spans: int = 0

    @property
    def is_newer(self) -> bool:
        return self.header is not None and self.header.version > VERSION


def encode_header(created: int, uptime: int, boot: bytes, writer: str, salt: int) -> bytes:
    """The first bytes of a new file, nothing in it acknowledged."""
    name = writer.encode()[:16]
    fields = _HEADER.pack(
        MAGIC, VERSION, HEADER_SIZE, salt, created, uptime, boot, name, os.getpid()
    )
    start = fields + _U32.pack(crc32(fields)) + encode_acknowledged(0, salt)
    return start.ljust(HEADER_SIZE, b"\0")


def encode_acknowledged(number: int, salt: int) -> bytes:
    """To be written at `ACKNOWLEDGED_AT`: all records below *number* are delivered."""
    return _ACKNOWLEDGED.pack(number, crc32(number.to_bytes(8, "little"), salt))


ACKNOWLEDGED_AT: Final = _ACKNOWLEDGED_AT


def encode_record(
    body: bytes, spans: int, number: int, time: int, kind: int, salt: int
) -> tuple[bytes, int]:
    """The bytes that go before *body*, and the body's checksum."""
    checksum = crc32(body)
    fields = _FIELDS.pack(MARKER, len(body), checksum, salt, number, spans, time, kind)
    return fields + _U32.pack(crc32(fields)), checksum


def decode_header(data: bytes) -> tuple[Header | None, int]:
    """The header and what it acknowledges. A damaged acknowledgement means: nothing."""
    if len(data) < _ACKNOWLEDGED_AT or not data.startswith(MAGIC):
        return None, 0
    if _U32.unpack_from(data, _HEADER.size)[0] != crc32(data[: _HEADER.size]):
        return None, 0
    _, version, size, salt, created, uptime, boot, writer, pid = _HEADER.unpack_from(data)
    header = Header(
        version,
        size,
        salt,
        created,
        uptime,
        boot,
        writer.rstrip(b"\0").decode("utf-8", "replace"),
        pid,
    )
    if version > VERSION or len(data) < _ACKNOWLEDGED_AT + _ACKNOWLEDGED.size:
        return header, 0
    number, check = _ACKNOWLEDGED.unpack_from(data, _ACKNOWLEDGED_AT)
    intact = check == crc32(number.to_bytes(8, "little"), salt)
    return header, number if intact else 0


def is_intact(body: bytes, record: Record) -> bool:
    """Whether these bytes, read where the record's body lies, are what was appended."""
    return len(body) == record.length and crc32(body) == record.checksum


def scan(data: bytes, salt: int | None = None) -> Scan:
    """
    Find every intact record of a file, in the order in which they were appended.

    *salt* is what the file's name says: it wins over the header, which may be damaged.

    Only a record whose two checksums and salt are right counts. After anything else the search for
    the next marker goes on with the very next byte, never behind a length that may be wrong, so
    damage costs only what it touches. The salt keeps what a body quotes from another file from
    being taken for a record. A number that came before is a copy.
    """
    header, acknowledged = decode_header(data)
    found = Scan(header, acknowledged)
    if found.is_newer:
        return found
    view = memoryview(data)
    if salt is None:
        salt = header.salt if header else None
    elif header is not None and header.salt != salt:
        found.header, found.acknowledged = None, 0  # another file's
    records: dict[int, Record] = {}
    broken: dict[int, Record] = {}  # their header is intact
    position = data.find(MARKER)  # from 0: a header that lost bytes is shorter
    while position >= 0:
        record, intact = _record_at(view, position, salt)
        if record is not None and intact:
            salt = _FIELDS.unpack_from(view, position)[3]
            records.setdefault(record.number, record)
            position = data.find(MARKER, record.end)
        else:
            if record is not None:
                broken[record.number] = record
            position = data.find(MARKER, position + 1)
    found.records = sorted(records.values())
    _count_damage(found, records, broken)
    return found


def _count_damage(found: Scan, records: dict[int, Record], broken: dict[int, Record]) -> None:
    """What was not delivered and is missing: numbers follow each other without a gap."""
    seen = records.keys() | broken.keys()
    if not seen:
        return
    # Without an acknowledgement nobody knows how much was delivered and written over.
    first = found.acknowledged or min(seen)
    lost = [number for number in range(first, max(seen) + 1) if number not in records]
    found.damaged = len(lost)
    found.damaged_spans = sum(broken[number].spans for number in lost if number in broken)


def _record_at(view: memoryview, at: int, salt: int | None) -> tuple[Record | None, bool]:
    """The record whose marker is at *at*, if its header is intact, and whether its body is."""
    if at + RECORD_SIZE > len(view):
        return None, False
    (check,) = _U32.unpack_from(view, at + _FIELDS.size)
    if check != crc32(view[at : at + _FIELDS.size]):
        return None, False
    _, length, checksum, its_salt, number, spans, time, kind = _FIELDS.unpack_from(view, at)
    if salt is not None and its_salt != salt:
        return None, False
    record = Record(number, at, length, spans, time, kind, checksum)
    start = at + RECORD_SIZE
    body = view[start : start + length]
    return record, len(body) == length and crc32(body) == checksum
