"""
The store on disk: a directory of segments that several processes share.

Each process appends to a segment of its own and takes over those of dead processes. No thread and
no timer is here: everything happens inside the calls. One lock, never held while a file is
read: an append does not wait for a reader. docs/spool-format.md says what lies in the files.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from flowspan._version import __version__
from flowspan.delivery import _format, _open_spans, _parked, _platform, _segment
from flowspan.delivery._bound import Drop, make_room
from flowspan.delivery._directory import Directory, File
from flowspan.delivery._format import Record
from flowspan.delivery._open_spans import OPEN_SUFFIX, OpenSpans
from flowspan.delivery._parked import PARKED_SUFFIX
from flowspan.delivery._segment import SUFFIX, Name, Segment, read_whole
from flowspan.delivery._stored import OnDropped, Taken

MAX_SEGMENTS = 128  # each has a descriptor open; more are adopted when some are delivered
SEGMENT_BYTES = 64 << 10, 8 << 20
REWIND_ABOVE = 512 << 10  # a file that is delivered whole is written from its start again
LOOK_EVERY = 50_000_000  # nanoseconds until an append looks again whether its file is still there
OPEN_SPANS_BYTES = 16 << 20
GRACE = 3600 * 10**9  # what is adopted is tried this long, whatever a clock says of its age
ABANDONED_BYTES = 1 << 20

FULL, OLD, DAMAGED, DISK = "spool full", "too old", "damaged", "disk failed"
PARKED_FULL = "parked full"


class Sizes(NamedTuple):
    """Of the whole directory, all processes together."""

    bytes: int
    segments: int
    parked: int


class Spool:
    """
    Keeps records in *directory*, at most *max_bytes* of all processes and *max_age* seconds.

    *adopts*: take over what dead processes left at once; a large spool takes seconds.

    The directory is made if it is missing. Raises OSError, or `Refused` with a sentence that says
    why, if it cannot be used. *on_dropped* is told of spans that went: "spool full", "too old",
    "damaged", "disk failed", "parked full".
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_bytes: int = 512 << 20,
        max_age: float = 72 * 3600,
        on_dropped: OnDropped,
        on_newer: Callable[[str], None] = lambda path: None,
        version: str = __version__,
        clock: _platform.Clock | None = None,
        adopts: bool = True,
    ) -> None:
        self.directory = os.path.abspath(os.fspath(directory))
        if os.fspath(directory).startswith("~"):
            raise _platform.Refused(
                f"the spool directory {directory} is unknown, since this user has no home"
            )
        self.damaged = 0  # places in files that could not be read
        self._max_bytes = max_bytes
        self._max_age = int(max_age * 1e9)
        self._segment_bytes = min(max(max_bytes // 64, SEGMENT_BYTES[0]), SEGMENT_BYTES[1])
        self._step = self._segment_bytes // 4
        self._lasts = self._max_age // 16  # nanoseconds, so that age is known well enough
        self._on_dropped = on_dropped
        self._on_newer = on_newer
        self._version = version
        self._clock = clock or _platform.Clock()
        self._start()
        _platform.private_directory(self.directory)
        if adopts:
            self.adopt()

    def _start(self) -> None:
        # Re-entrant: the garbage collector may end a span while it is held.
        self._lock = threading.RLock()
        self._owner = _segment.new_owner()
        self._millis = 0
        self._segments: list[Segment] = []  # oldest first; ours that is written to among them
        self._current: Segment | None = None
        self._appended = self._looked = 0
        self._unchecked = self._step  # bytes appended since the bound was looked at
        self._busy = self._adopting = self._bounding = self._closed = False
        self._has_more = False  # dead processes' segments than could be adopted
        self._late: list[tuple[bytes, int]] = []
        self._noting = False
        self._late_notes: list[tuple[bytes, bytes | None]] = []
        self._files = Directory(self.directory, self._lock, self._clock, self._on_newer)
        self._postponed: set[str] = set()  # processes whose open spans could not be recovered
        self._open_spans: OpenSpans | None = None

    # -- writing

    def append(self, body: bytes, spans: int) -> None:
        if len(body) + _format.RECORD_SIZE + _format.HEADER_SIZE > self._max_bytes:
            self._on_dropped(spans, FULL)
            return
        lost = 0
        with self._lock:
            if self._busy:  # from a finalizer or a signal, in the middle of another append
                self._late.append((body, spans))
                return
            self._busy = True
            try:
                self._write(body, spans)
                while self._late:
                    lost += self._write_late(*self._late.pop(0))
            finally:
                self._busy = False
            due = self._unchecked >= self._step
        if lost:
            self._on_dropped(lost, DISK)
        if due:
            self._keep_bound()

    def _write_late(self, body: bytes, spans: int) -> int:
        """How many spans were lost: their caller has gone on and cannot be told."""
        try:
            self._write(body, spans)
        except OSError:
            return spans
        return 0

    def _write(self, body: bytes, spans: int) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the spool is closed")
        size = _format.RECORD_SIZE + len(body)
        uptime = self._clock.uptime()
        segment = self._current
        if segment is None or self._is_over(segment, size, uptime):
            segment = self._rotate()
        try:
            segment.append(body, spans, _when(segment, uptime))
        except OSError as error:
            if error.errno != errno.EFBIG or segment.end <= _format.HEADER_SIZE:
                raise
            segment = self._rotate()  # it is a limit on the size of one file (`ulimit -f`)
            segment.append(body, spans, _when(segment, uptime))
        self._appended += 1
        self._unchecked += size

    def _rotate(self) -> Segment:
        """A new segment; the one before is left as it is if there cannot be one."""
        before = self._current
        try:
            segment = self._new_segment()
        except OSError:  # no descriptor left, no room for a header
            if before is None or before.is_unlinked():
                raise
            return before
        self._current = segment
        insort(self._segments, segment, key=_age)
        self._unchecked = self._step
        if before is not None:
            if before.is_empty:
                self._remove(before)
            elif before is not self._segments[0]:
                before.unload()
        return segment

    def _new_segment(self) -> Segment:
        made = self._clock, self._version, self._appended
        try:
            return Segment.new(self.directory, self._new_name(SUFFIX), *made)
        except FileNotFoundError:
            _platform.private_directory(self.directory)
        except BlockingIOError:
            pass  # an adopter was faster than our lock, where that can be
        return Segment.new(self.directory, self._new_name(SUFFIX), *made)

    def _new_name(self, suffix: str) -> Name:
        """A later one than any before, whatever the wall clock does."""
        self._millis = max(self._millis + 1, self._clock.wall() // 1_000_000)
        return Name(self._millis, self._owner, _segment.new_salt(), suffix)

    def _is_over(self, segment: Segment, size: int, uptime: int) -> bool:
        """Whether the segment takes no more: too large, too old, or deleted and not to be saved."""
        if uptime - self._looked > LOOK_EVERY and self._was_unlinked(segment, uptime):
            return True
        if segment.end + size <= self._segment_bytes and uptime - segment.since <= self._lasts:
            return False
        return segment.end > _format.HEADER_SIZE

    def _was_unlinked(self, segment: Segment, uptime: int) -> bool:
        """Whether the file we write to was deleted and could not be saved."""
        self._looked = uptime
        if not segment.is_unlinked():
            return False
        self._looked = 0  # until it is put right
        self._rescue()
        return segment.is_unlinked()

    def _rescue(self) -> None:
        """Files were deleted under us: copy to the directory, made anew, what is still open."""
        _platform.private_directory(self.directory)
        for segment in self._segments:
            if segment.is_unlinked() and not segment.was_emptied():
                segment.rescue(self.directory)

    # -- sending

    def take(self, max_bytes: int, max_spans: int) -> Taken | None:
        while True:
            picked, unread = self._pick(max_bytes, max_spans)
            if unread is not None:
                self._load(unread)
                continue
            if not picked:
                if self._has_more and self.adopt():
                    continue
                return None
            if taken := self._read(picked):
                return taken

    def _pick(
        self, max_bytes: int, max_spans: int
    ) -> tuple[list[tuple[Segment, Record]], Segment | None]:
        """The records to read next, pinned; or a segment that must be loaded first."""
        picked: list[tuple[Segment, Record]] = []
        size = spans = old = 0
        unread = None
        with self._lock:
            for segment in self._segments.copy():
                if segment.waiting is None:
                    if not picked:
                        segment.pin()
                        unread = segment
                    break
                if segment.waiting and (dropped := self._drop_old(segment)):
                    old += dropped
                full = False
                while segment.waiting and not segment.gone:
                    record = segment.waiting[0]
                    size += record.length
                    spans += record.spans
                    full = bool(picked) and (size > max_bytes or spans > max_spans)
                    if full:
                        break
                    segment.flying[record.number] = segment.waiting.popleft()
                    segment.pin()
                    picked.append((segment, record))
                if full:
                    break
        if old:
            self._on_dropped(old, OLD)
        return picked, unread

    def _load(self, segment: Segment) -> None:
        try:
            found = segment.load()
        except OSError:
            found = None
        finally:
            with self._lock:
                segment.unpin()
        with self._lock:
            if segment.gone or segment.waiting is not None:
                return  # somebody was faster
            lost = segment.spans
            if segment.was_emptied():
                self._remove(segment)
                return
            if found is None:  # the disk fails; another process may have better luck
                self._segments.remove(segment)
                segment.close()
            else:
                segment.use(found)
                lost -= segment.spans
                self._tidy(segment)
        if lost > 0:
            self._damaged((found and found.damaged) or 1, lost)

    def _read(self, picked: list[tuple[Segment, Record]]) -> Taken | None:
        bodies: list[bytes] = []
        held: list[tuple[Segment, Record]] = []
        lost: list[tuple[Segment, Record]] = []
        try:
            for segment, record in picked:
                try:
                    body = segment.read(record)
                except OSError:
                    body = None
                if body is None:
                    lost.append((segment, record))
                else:
                    bodies.append(body)
                    held.append((segment, record))
        finally:
            with self._lock:
                for segment, _ in picked:
                    segment.unpin()
        if lost:
            self._unreadable(lost)
        if not held:
            return None
        spans = sum(record.spans for _, record in held)
        return Taken(b"".join(bodies), spans, len(held), held)

    def _unreadable(self, lost: list[tuple[Segment, Record]]) -> None:
        """Damaged since it was appended; or emptied by a process that said so itself."""
        with self._lock:
            emptied = [s for s in self._segments if s is not self._current and s.was_emptied()]
            for segment in emptied:
                self._remove(segment)
        damaged = [record for segment, record in lost if segment not in emptied]
        self.done(Taken(b"", 0, 0, lost))
        if damaged:
            self._damaged(len(damaged), sum(record.spans for record in damaged))

    def _damaged(self, places: int, spans: int) -> None:
        self.damaged += places
        self._on_dropped(spans, DAMAGED)

    def done(self, taken: Taken) -> None:
        with self._lock:
            touched = {id(segment): segment for segment, _ in taken.held}
            for segment, record in taken.held:
                segment.settle(record)
            for segment in touched.values():
                self._tidy(segment)

    def put_back(self, taken: Taken) -> None:
        back: dict[int, tuple[Segment, list[Record]]] = {}
        dropped = 0
        with self._lock:
            for segment, record in taken.held:
                if segment.flying.pop(record.number, None) is None:
                    continue
                if segment.gone:
                    dropped += 0 if self._closed else record.spans
                else:
                    back.setdefault(id(segment), (segment, []))[1].append(record)
            for segment, records in back.values():
                segment.back(records)
        if dropped:
            self._on_dropped(dropped, FULL)

    def _tidy(self, segment: Segment) -> None:
        """Remember what is delivered, and let go of a segment that is delivered whole."""
        if segment.gone:
            return
        segment.acknowledge()
        if not segment.is_empty:
            return
        if segment is not self._current:
            self._remove(segment)
        elif segment.end > REWIND_ABOVE:
            segment.rewind()

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        if detached := segment.detach():
            _platform.remove(*detached)

    def _drop_old(self, segment: Segment) -> int:
        spans = 0
        while segment.waiting and self._is_too_old(segment, segment.waiting[0]):
            spans += segment.drop_oldest()
        if spans:
            self._tidy(segment)
        return spans

    def _is_too_old(self, segment: Segment, record: Record) -> bool:
        """
        By the time since boot where that is known, else by the wall clock, which may be wrong.

        So a record of another boot is tried for a while before its age counts.
        """
        uptime, header = self._clock.uptime(), segment.header
        if header is not None and (
            segment.base is not None or (header.boot and header.boot == self._clock.boot())
        ):
            return uptime - (record.time - header.created + header.uptime) > self._max_age
        if uptime - segment.since < min(GRACE, self._max_age):
            return False
        return self._clock.wall() - record.time > self._max_age

    # -- other processes

    def adopt(self) -> int:
        """
        Take over the segments of processes that are gone. Returns how many.

        Their spans that were open become records, as abandoned. Not more at once than
        descriptors are good for; `take` adopts the others when it finds nothing else.
        """
        with self._flag("_adopting") as free:
            if not free or self._closed:
                return 0
            try:
                return self._adopt()
            except OSError:
                return 0  # the directory is gone, perhaps: the next append makes it anew

    def _adopt(self) -> int:
        count = 0
        self._has_more = False
        theirs = [file for file in self._files.files() if file.name.owner != self._owner]
        for file in theirs:
            if file.name.suffix == OPEN_SUFFIX:
                self._recover(file)
        for file in theirs:
            if file.name.suffix != SUFFIX or self._files.is_newer(file.path):
                continue
            if len(self._segments) >= MAX_SEGMENTS:
                self._has_more = True
                break
            count += self._adopt_segment(file)
        return count

    def _adopt_segment(self, file: File) -> bool:
        fd = self._files.open_dead(file.path)
        if fd is None:
            return False
        owner = file.name.owner
        try:
            # Which of its open spans have ended is seen in its segments: first the one, see there.
            is_early = owner not in self._postponed and self._files.has_open_spans(owner)
            found = None if is_early else _format.scan(read_whole(fd), file.name.salt)
        except OSError:
            found = None
        if found is None or found.is_newer:
            self._files.close(fd)
            if found is not None:
                self._files.leave_alone(file.path)
            return False
        segment = Segment(file.path, fd, found.header, file.name.salt)
        segment.since = self._clock.uptime()
        segment.use(found)
        with self._lock:
            self._files.hand_on(fd)
            if self._closed:
                segment.close()
                return False
            insort(self._segments, segment, key=_age)
            self._tidy(segment)
            if not segment.gone and segment is not self._segments[0]:
                segment.unload()
        if found.damaged:
            self._damaged(found.damaged, found.damaged_spans)
        return True

    def _recover(self, file: File) -> None:
        """Make spans of those that a dead process left open."""
        if self._files.is_newer(file.path) or (fd := self._files.open_dead(file.path)) is None:
            return
        try:
            bodies = _open_spans.recover(self.directory, file.name, fd, lambda: time.sleep(0))
            if bodies is None:
                self._files.leave_alone(file.path)
            else:
                for joined, spans in _joined(bodies):
                    self.append(joined, spans)
                self._files.remove(file.path, fd)
                return
        except OSError:
            # No room, perhaps: it comes when the segments are delivered, and must not stop that.
            self._postponed.add(file.name.owner)
        self._files.close(fd)

    # -- the bound

    def _keep_bound(self) -> None:
        """Delete the oldest segments of the directory until the next look has room."""
        with self._flag("_bounding") as free:
            if not free:
                return
            self._unchecked = 0
            with self._lock:
                own: dict[str, Drop] = {segment.path: self._drop for segment in self._segments}
            try:
                left, spans = make_room(self._files, self._max_bytes - self._step, own)
            except OSError:
                return  # the directory is gone, perhaps; what was appended is kept all the same
            if left > self._max_bytes:
                spans += self._drop_current()
        if spans:
            self._on_dropped(spans, FULL)

    def _drop(self, path: str) -> int | None:
        """Drop a segment of ours that is not written to. Returns its waiting spans."""
        with self._lock:
            for segment in self._segments:
                if segment.path == path and segment is not self._current:
                    spans = segment.spans - sum(r.spans for r in segment.flying.values())
                    self._remove(segment)
                    return spans
        return None

    def _drop_current(self) -> int:
        """All else is of live processes that write to it."""
        with self._lock:
            current = self._current
            if current is None or current.flying:
                return 0
            self._current = None
            self._remove(current)
            return current.spans

    # -- the rest

    def park(self, body: bytes, spans: int, reason: str) -> bool:
        """Raises OSError if it cannot be kept. The oldest make room for it."""
        bound = self._max_bytes // 16
        if len(body) > bound:
            self._on_dropped(spans, PARKED_FULL)
            return False
        with self._lock:
            name = self._new_name(PARKED_SUFFIX)
            made = (self.directory, name, body, spans, reason, self._clock, self._version)
            try:
                _parked.park(*made)
            except FileNotFoundError:
                _platform.private_directory(self.directory)
                _parked.park(*made)
        gone = 0
        with suppress(OSError):  # it is kept; the next one looks again
            gone = _parked.keep_bound(self.directory, bound)
        if gone:
            self._on_dropped(gone, PARKED_FULL)
        return True

    def unsent(self) -> tuple[int, int]:
        with self._lock:
            segments = self._segments
            return sum(s.spans for s in segments), sum(s.bytes for s in segments)

    def mark(self) -> Callable[[], bool]:
        with self._lock:
            end = self._appended

        def settled() -> bool:
            with self._lock:
                return all(
                    segment.base is None
                    or segment.base >= end
                    or segment.base + segment.lowest()
                    >= min(end, segment.base + segment.next_number)
                    for segment in self._segments
                )

        return settled

    def opened(self, key: bytes, body: bytes) -> None:
        self._note(key, body)

    def closed(self, key: bytes) -> None:
        self._note(key, None)

    def _note(self, key: bytes, body: bytes | None) -> None:
        """A span has opened, or ended: *body* None."""
        with self._lock:
            if self._noting:  # from a finalizer or a signal, in the middle of another
                self._late_notes.append((key, body))
                return
            self._noting = True
            try:
                self._write_note(key, body)
            finally:
                while self._late_notes:
                    with suppress(OSError):  # their caller has gone on
                        self._write_note(*self._late_notes.pop(0))
                self._noting = False

    def _write_note(self, key: bytes, body: bytes | None) -> None:
        if body is None:
            if self._open_spans is not None:
                self._open_spans.closed(key)
        elif not self._closed:
            if self._open_spans is None:
                name = self._new_name(OPEN_SUFFIX)
                limit = min(OPEN_SPANS_BYTES, self._max_bytes // 8)
                self._open_spans = OpenSpans(
                    self.directory, name, self._clock, self._version, limit
                )
            try:
                self._open_spans.opened(key, body)
            except FileNotFoundError:
                _platform.private_directory(self.directory)
                self._open_spans.opened(key, body)

    def sizes(self) -> Sizes:
        """What the directory holds now, of all processes."""
        try:
            files = self._files.files()
        except OSError:
            return Sizes(0, 0, 0)
        kinds = [file.name.suffix for file in files]
        total = sum(file.size for file in files)
        return Sizes(total, kinds.count(SUFFIX), kinds.count(PARKED_SUFFIX))

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            with suppress(OSError):  # nowhere to copy it to
                if any(segment.is_unlinked() and segment.spans for segment in self._segments):
                    self._rescue()
            self._closed = True
            self._current = None
            for segment in self._segments.copy():
                segment.acknowledge()
                if segment.is_empty:
                    self._remove(segment)
                else:
                    segment.close()
            self._segments.clear()
            if self._open_spans is not None:
                self._open_spans.close()
                self._open_spans = None

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork(self) -> None:
        """In the child: close what was inherited, unlocking nothing, and start empty."""
        for segment in self._segments:
            segment.abandon()
        self._files.abandon()
        if self._open_spans is not None:
            self._open_spans.abandon()
        closed = self._closed
        self._start()
        self._closed = closed

    @contextmanager
    def _flag(self, name: str) -> Iterator[bool]:
        """Whether this thread is the only one at it."""
        with self._lock:
            free = not getattr(self, name)
            setattr(self, name, True)
        try:
            yield free
        finally:
            if free:
                setattr(self, name, False)


def _when(segment: Segment, uptime: int) -> int:
    """The wall clock may jump while the segment is written; its age may not."""
    assert segment.header is not None
    return segment.header.created + max(0, uptime - segment.header.uptime)


def _age(segment: Segment) -> str:
    return os.path.basename(segment.path)


def _joined(bodies: list[bytes]) -> Iterator[tuple[bytes, int]]:
    """Requests of one span each, joined to larger ones."""
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        if batch and size + len(body) > ABANDONED_BYTES:
            yield b"".join(batch), len(batch)
            batch, size = [], 0
        batch.append(body)
        size += len(body)
    if batch:
        yield b"".join(batch), len(batch)
