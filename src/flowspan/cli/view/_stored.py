"""
What most views never ask for, out of memory: attributes, events and links as they were read.

They lie encoded in temporary files without a name, which go with the last span that is in them; a
small input never gets that far. What lists and sums need stays at hand (`KEPT`). Each format
brings its own decoder.
"""

from __future__ import annotations

import os
import tempfile
import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar, overload

from flowspan import semconv
from flowspan.cli.view._analysis import USAGE_KEYS
from flowspan.cli.view._model import NO_ATTRIBUTES, Event, Link, Span

KEPT: Final = frozenset(
    (
        *USAGE_KEYS,
        semconv.SPAN_STATUS,
        semconv.RUN_STATUS,
        semconv.COMPONENT_STATUS,
        semconv.CALL_STATUS,
        semconv.RUN_ID,
        semconv.RUN_NAME,
        semconv.COMPONENT_TYPE,
        semconv.OPENINFERENCE_SPAN_KIND,
        semconv.GEN_AI_OPERATION_NAME,
        semconv.GEN_AI_REQUEST_MODEL,
        semconv.ERROR_TYPE,
    )
)

_IN_MEMORY: Final = 1 << 20  # bytes of a file that are not yet written
_FILE: Final = 64 << 20
T = TypeVar("T")


class Details(NamedTuple):
    """What a span carries beside its name and times."""

    attributes: Mapping[str, Any] = NO_ATTRIBUTES
    events: Sequence[Event] = ()
    links: Sequence[Link] = ()
    more: Mapping[str, Any] = NO_ATTRIBUTES
    """What no view shows, by its name in OTLP's JSON: trace state, flags, dropped counts."""


def more_of(span: Span) -> Mapping[str, Any]:
    """`Details.more`."""
    stored = span.attributes
    return stored.details().more if isinstance(stored, Stored) else NO_ATTRIBUTES


class _File:
    """Appended by one thread, read by any. Stays in memory where no file can be made."""

    __slots__ = ("_fd", "_lock", "_tail", "_written", "size")

    def __init__(self) -> None:
        self._fd = -1
        self._lock = threading.Lock()
        self._tail = bytearray()
        self._written = 0
        self.size = 0

    def append(self, data: bytes) -> int:
        at = self.size
        with self._lock:
            self._tail += data
            self.size += len(data)
            if len(self._tail) >= _IN_MEMORY:
                with suppress(OSError):  # no room: it stays here
                    self._write()
        return at

    def read(self, at: int, size: int) -> bytes:
        with self._lock:
            if at >= self._written:
                at -= self._written
                return bytes(self._tail[at : at + size])
            os.lseek(self._fd, at, os.SEEK_SET)
            data = b""
            while len(data) < size and (part := os.read(self._fd, size - len(data))):
                data += part
            return data

    def _write(self) -> None:
        if self._fd < 0:
            with tempfile.TemporaryFile() as made:
                self._fd = os.dup(made.fileno())
        os.lseek(self._fd, self._written, os.SEEK_SET)
        view = memoryview(self._tail)
        done = 0
        while done < len(view):
            done += os.write(self._fd, view[done:])
        view.release()
        self._written += done
        self._tail = bytearray()

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class Store:
    """Where the details of one input's spans go."""

    def __init__(self) -> None:
        self._file = _File()

    def put(self, data: bytes) -> tuple[_File, int]:
        if self._file.size >= _FILE:
            self._file = _File()
        return self._file, self._file.append(data)


class Stored(Mapping[str, Any]):
    """The attributes of a span, decoded when one is asked for that is not in `KEPT`."""

    __slots__ = ("_at", "_file", "_kept", "size")

    def __init__(self, store: Store, data: bytes, kept: Mapping[str, Any]) -> None:
        self._file, self._at = store.put(data)
        self.size = len(data)
        self._kept = kept

    @staticmethod
    @abstractmethod
    def decode(data: bytes) -> Details:
        """Never raises: *data* was read once already."""

    def details(self) -> Details:
        return _latest.of(self)

    def load(self) -> Details:
        return self.decode(self._file.read(self._at, self.size))

    def __getitem__(self, key: str) -> Any:
        return self._kept[key] if key in KEPT else self.details().attributes[key]

    def get(self, key: str, default: Any = None) -> Any:
        mapping = self._kept if key in KEPT else self.details().attributes
        return mapping.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in (self._kept if key in KEPT else self.details().attributes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.details().attributes)

    def __len__(self) -> int:
        return len(self.details().attributes)


class _Latest(threading.local):
    """The details that were asked for last: one span is looked at several times in a row."""

    owner: Stored | None = None
    details: Details = Details()

    def of(self, owner: Stored) -> Details:
        if self.owner is not owner:
            self.owner, self.details = owner, owner.load()
        return self.details


_latest = _Latest()


class _Part(Sequence[T]):
    __slots__ = ("_stored",)

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    @abstractmethod
    def _all(self) -> Sequence[T]: ...

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        return self._all()[at]

    def __iter__(self) -> Iterator[T]:
        return iter(self._all())


class StoredEvents(_Part[Event]):
    """The events of a span that has some."""

    __slots__ = ()

    def _all(self) -> Sequence[Event]:
        return self._stored.details().events


class StoredLinks(_Part[Link]):
    """The links of a span that has some."""

    __slots__ = ()

    def _all(self) -> Sequence[Link]:
        return self._stored.details().links
