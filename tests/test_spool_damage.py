"""Damaged spool files: never a corrupt record delivered, never an undamaged one lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowspan.delivery import _format
from flowspan.delivery._inspect import inspect
from flowspan.delivery._spool import Spool

SALT = 0x5A17
QUICK = settings(max_examples=300, deadline=None)


def file_of(bodies: list[bytes], *, acknowledged: int = 0, salt: int = SALT) -> list[bytes]:
    """A file in pieces: its header, then a record each."""
    header = bytearray(_format.encode_header(1_000, 500, b"boot".ljust(16), "1.2.3", salt))
    at = _format.ACKNOWLEDGED_AT
    mark = _format.encode_acknowledged(acknowledged, salt)
    header[at : at + len(mark)] = mark
    pieces = [bytes(header)]
    for number, body in enumerate(bodies):
        head, _ = _format.encode_record(body, 2, number, 1_000 + number, _format.SPANS, salt)
        pieces.append(head + body)
    return pieces


def body_at(data: bytes, record: _format.Record) -> bytes:
    return data[record.offset + _format.RECORD_SIZE : record.end]


# what looks most like a record without being one: another file's, quoted in a span
QUOTED = b"".join(file_of([b"quoted", b""], salt=SALT + 1))
LIKE_RECORDS = [_format.MARKER, _format.MARKER * 20, QUOTED, QUOTED[100:], b"\0" * 99]
# None ends as a record begins: the end of one, cut off, would be made whole by the next.
BODY = st.one_of(st.binary(max_size=60), st.sampled_from(LIKE_RECORDS)).map(lambda b: b + b".")
BODIES = st.lists(BODY | st.just(b""), min_size=1, max_size=8)


@st.composite
def damaged(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """The pieces of an intact file, and its bytes after one to four accidents."""
    pieces = file_of(draw(BODIES))
    data = bytearray(b"".join(pieces))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.one_of(st.integers(1, 8), st.sampled_from([len(p) for p in pieces])))
        what = draw(st.sampled_from(["flip", "cut", "zero", "insert", "remove", "copy", "quote"]))
        if what == "flip" and at < len(data):
            data[at] ^= draw(st.integers(1, 255))
        elif what == "cut":
            del data[at:]
        elif what == "zero":
            data[at : at + length] = b"\0" * len(data[at : at + length])
        elif what == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=30))
        elif what == "remove":
            del data[at : at + length]
        elif what == "copy":
            data[at:at] = draw(st.sampled_from(pieces))
        elif what == "quote":
            data[at:at] = QUOTED
    return pieces, bytes(data)


@given(damaged())
@QUICK
def test_a_reader_finds_what_is_intact_and_nothing_else(case: tuple[list[bytes], bytes]):
    """After bits flipped, bytes cut, zeroed, inserted, removed and copied."""
    pieces, data = case

    found = _format.scan(data, SALT)

    got = {record.number: body_at(data, record) for record in found.records}
    intact = {n: p for n, p in enumerate(pieces[1:]) if p in data}
    assert got == {n: piece[_format.RECORD_SIZE :] for n, piece in intact.items()}
    assert [record.number for record in found.records] == sorted(got)
    assert all(record.spans == 2 for record in found.records)


@given(st.binary(max_size=300))
@QUICK
def test_no_file_makes_a_reader_fail(data: bytes):
    """Bytes of any kind, with and without the beginning of a header."""
    for start in (b"", _format.MAGIC, _format.MARKER, file_of([])[0]):
        assert _format.scan(start + data, SALT).records == []


def test_a_header_that_is_damaged_costs_no_record():
    """The salt is in the file's name too, and else in the first record."""
    header, *records = file_of([b"one", b"two"], acknowledged=1)
    data = b"?" + header[1:] + b"".join(records)

    for salt in (SALT, None):
        found = _format.scan(data, salt)
        assert (found.header, found.acknowledged) == (None, 0)
        assert [body_at(data, record) for record in found.records] == [b"one", b"two"]


def test_an_acknowledgement_that_is_damaged_sends_again():
    """Rather twice than never."""
    data = bytearray(b"".join(file_of([b"one", b"two"], acknowledged=2)))
    assert _format.scan(bytes(data)).acknowledged == 2

    data[_format.ACKNOWLEDGED_AT] ^= 1

    assert _format.scan(bytes(data)).acknowledged == 0


def test_damage_is_counted_by_what_is_missing():
    """Records by their numbers, spans where the header of a record can still tell."""
    header, *records = file_of([b"zero", b"one", b"two", b"three", b"four"], acknowledged=1)
    body_broken = records[2][:-1] + b"!"
    header_broken = b"!" + records[3][1:]

    found = _format.scan(b"".join([header, records[1], body_broken, header_broken, records[4]]))

    assert [record.number for record in found.records] == [1, 4]
    assert (found.damaged, found.damaged_spans) == (2, 2)


def test_what_was_delivered_and_written_over_is_no_damage(tmp_path: Path):
    """A file that is delivered whole is written from its start again."""
    spool = Spool(tmp_path / "spool", on_dropped=lambda spans, reason: None)
    for _ in range(2):
        for _ in range(7):
            spool.append(os.urandom(100_000), 1)
        taken = spool.take(1 << 30, 1 << 30)
        assert taken
        spool.done(taken)
    spool.append(b"last", 3)

    (info,) = inspect(spool.directory)
    assert (info.spans, info.damaged) == (3, 0)
    assert info.bytes < 900_000
    spool.close()


def test_the_page_tells_enough_to_read_a_file(tmp_path: Path):
    """docs/spool-format.md against a file: each offset in its tables, nothing of our reader."""
    spool = Spool(tmp_path / "spool", on_dropped=lambda spans, reason: None, version="1.2.3")
    for body in (b"one", b"two", b"three"):
        spool.append(body, len(body))
    taken = spool.take(1, 1)
    assert taken
    spool.done(taken)
    (path,) = Path(spool.directory).iterdir()
    data = path.read_bytes()
    page = (Path(__file__).parents[1] / "docs" / "spool-format.md").read_text()
    header, record = (
        [int(row.split("|")[1]) for row in table.splitlines() if row[2:3].isdigit()]
        for table in page.split("## A file")[1].split("| kind | body |")[0].split("Then records")
    )

    def number(start: int, size: int) -> int:
        return int.from_bytes(data[start : start + size], "little")

    magic, version, size, salt, wall, _, _, writer, pid, check, acked, acked_check, end = header
    assert data[magic : magic + 8] == b"flowspan"
    assert (number(version, 2), number(size, 2)) == (1, end + 12)
    assert path.name.split("-")[2] == f"{number(salt, 4):08x}.spans"
    assert path.name.split("-")[0] == f"{number(wall, 8) // 1_000_000:013d}"
    assert data[writer : writer + 16] == b"1.2.3".ljust(16, b"\0")
    assert number(pid, 4) == os.getpid()
    assert number(check, 4) == crc32(data[:check])
    assert number(acked, 8) == 1
    assert number(acked_check, 4) == crc32(data[acked:acked_check], number(salt, 4))

    at, bodies = number(size, 2), []
    while at < len(data):
        marker, length, body_check, its_salt, count, spans, time, kind, check = (
            at + offset for offset in record
        )
        assert data[marker:length] == bytes.fromhex("F5465301")
        assert number(check, 4) == crc32(data[at:check])
        body = data[check + 4 : check + 4 + number(length, 4)]
        assert number(body_check, 4) == crc32(body)
        assert number(its_salt, 4) == number(salt, 4)
        assert (number(count, 4), number(spans, 4), number(kind, 4)) == (
            len(bodies),
            len(body),
            1,
        )
        assert number(time, 8) >= number(wall, 8)
        bodies.append(body)
        at = check + 4 + len(body)
    assert bodies == [b"one", b"two", b"three"]
    spool.close()


@pytest.fixture
def spool_file(tmp_path: Path) -> Callable[[list[bytes]], Path]:
    """Writes a file as a process left it that is dead."""
    directory = tmp_path / "spool"
    directory.mkdir(mode=0o700)

    def write(pieces: list[bytes], name: str = "spans") -> Path:
        path = directory / f"0000000001000-0a0b0c0d-{SALT:08x}.{name}"
        path.write_bytes(b"".join(pieces))
        return path

    return write


def taken_from(spool: Spool) -> list[bytes]:
    bodies = []
    while taken := spool.take(1, 1):
        bodies.append(taken.body)
        spool.done(taken)
    return bodies


@given(damaged())
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_spool_delivers_what_is_intact(
    spool_file: Callable[[list[bytes]], Path], case: tuple[list[bytes], bytes]
):
    """The same through the spool, which then deletes the file."""
    pieces, data = case
    path = spool_file([data])

    spool = Spool(path.parent, on_dropped=lambda spans, reason: None)

    assert taken_from(spool) == [p[_format.RECORD_SIZE :] for p in pieces[1:] if p in data]
    spool.close()
    assert os.listdir(path.parent) == []


def test_an_acknowledgement_is_not_written_over_a_record(
    spool_file: Callable[[list[bytes]], Path],
):
    """Where the header has lost bytes, a record lies in its place."""
    header, *records = file_of([b"one", b"two"])
    for rest in (header[:76], b""):
        path = spool_file([rest, records[1], records[0]])
        spool = Spool(path.parent, on_dropped=lambda spans, reason: None)
        assert taken_from(spool) == [b"one", b"two"]
        spool.close()


def test_damage_that_comes_later_is_found_as_well(tmp_path: Path):
    """A record that changes on the disk after it was appended is dropped and counted."""
    dropped: list[tuple[int, str]] = []
    spool = Spool(tmp_path / "spool", on_dropped=lambda *drop: dropped.append(drop))
    for body in (b"first", b"second", b"third"):
        spool.append(body, 4)
    (info,) = inspect(spool.directory)
    path = Path(info.path)
    path.write_bytes(path.read_bytes().replace(b"second", b"sEcond"))

    assert taken_from(spool) == [b"first", b"third"]
    assert (dropped, spool.damaged, spool.unsent()) == ([(4, "damaged")], 1, (0, 0))
    spool.close()


def test_damage_in_an_adopted_file_is_counted(spool_file: Callable[[list[bytes]], Path]):
    header, first, second = file_of([b"first", b"second"])
    path = spool_file([header, first[:-1], second])
    dropped: list[tuple[int, str]] = []

    spool = Spool(path.parent, on_dropped=lambda *drop: dropped.append(drop))

    assert (dropped, spool.damaged, spool.unsent()[0]) == ([(2, "damaged")], 1, 2)
    spool.close()


def test_a_newer_format_is_left_alone_and_said_once(spool_file: Callable[[list[bytes]], Path]):
    """Its spans wait for the version that can read them, even when the spool is full."""
    header = bytearray(file_of([])[0])
    header[8] = _format.VERSION + 1
    header[68:72] = _format._U32.pack(_format.crc32(header[:68]))
    path = spool_file([bytes(header), b"what a later version means" * 10_000])
    newer: list[str] = []

    spool = Spool(
        path.parent, max_bytes=150_000, on_dropped=lambda *drop: None, on_newer=newer.append
    )
    spool.adopt()
    for _ in range(5):
        spool.append(b"x" * 30_000, 1)

    assert newer == [str(path)]
    assert inspect(path.parent)[0].is_newer
    assert path.stat().st_size > 200_000
    spool.close()


def test_files_of_others_are_no_business_of_ours(tmp_path: Path):
    """Only names of ours are read, counted or deleted."""
    directory = tmp_path / "spool"
    directory.mkdir(mode=0o700)
    names = ["notes.spans", "x.spans.new", "a-b-c.spans", "0000000001000-0a0b0c0d-zzzzzzzz.spans"]
    for name in names:
        (directory / name).write_bytes(b"mine")

    spool = Spool(directory, on_dropped=lambda *drop: None)

    assert (spool.sizes().bytes, spool.unsent()) == (0, (0, 0))
    spool.close()
    assert sorted(os.listdir(directory)) == sorted(names)
