"""
The store for where no disk is to be had: bounded in bytes, the oldest go first, lost at exit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from flowspan.delivery._stored import OnDropped, Taken

_Record = tuple[int, bytes, int]  # sequence, body, spans


class Memory:
    """
    Holds at most *max_bytes* of records, what is taken included.

    What is parked is dropped: there is no file to keep it in.
    """

    def __init__(self, *, max_bytes: int = 16 << 20, on_dropped: OnDropped) -> None:
        self._max_bytes = max_bytes
        self._on_dropped = on_dropped
        self._next = 0  # goes on in a forked child: what the parent had taken is not its own
        self._start()

    def _start(self) -> None:
        # Re-entrant: the garbage collector may end a span while it is held.
        self._lock = threading.RLock()
        self._waiting: deque[_Record] = deque()
        self._flying: dict[int, _Record] = {}
        self._spans = self._bytes = 0

    def append(self, body: bytes, spans: int) -> None:
        dropped = 0
        with self._lock:
            self._waiting.append((self._next, body, spans))
            self._next += 1
            self._spans += spans
            self._bytes += len(body)
            while self._bytes > self._max_bytes and self._waiting:
                dropped += self._forget(self._waiting.popleft())
        if dropped:
            self._on_dropped(dropped, "memory full")

    def take(self, max_bytes: int, max_spans: int) -> Taken | None:
        with self._lock:
            picked: list[_Record] = []
            size = spans = 0
            while self._waiting:
                record = self._waiting[0]
                size += len(record[1])
                spans += record[2]
                if picked and (size > max_bytes or spans > max_spans):
                    break
                picked.append(self._waiting.popleft())
                self._flying[record[0]] = record
        if not picked:
            return None
        body = b"".join(record[1] for record in picked)
        return Taken(body, sum(record[2] for record in picked), len(picked), picked)

    def done(self, taken: Taken) -> None:
        with self._lock:
            for record in taken.held:
                if self._flying.pop(record[0], None):
                    self._forget(record)

    def put_back(self, taken: Taken) -> None:
        with self._lock:
            back = [record for record in taken.held if self._flying.pop(record[0], None)]
            self._waiting = deque(sorted([*back, *self._waiting]))

    def recall(self) -> None:
        """What is taken waits again, whoever has it: it may be sent twice, but is not lost."""
        with self._lock:
            self._waiting = deque(sorted([*self._flying.values(), *self._waiting]))
            self._flying.clear()

    def park(self, body: bytes, spans: int, reason: str) -> bool:
        self._on_dropped(spans, "refused by the collector")
        return False

    def unsent(self) -> tuple[int, int]:
        with self._lock:
            return self._spans, self._bytes

    def mark(self) -> Callable[[], bool]:
        with self._lock:
            end = self._next

        def settled() -> bool:
            with self._lock:
                waits = bool(self._waiting) and self._waiting[0][0] < end
                return not waits and not any(number < end for number in self._flying)

        return settled

    def opened(self, key: bytes, body: bytes) -> None:
        return None

    def closed(self, key: bytes) -> None:
        return None

    def close(self) -> None:
        """What waits stays readable, so that the caller can say how much was lost."""

    def before_fork(self) -> None:
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        self._lock.release()

    def after_fork(self) -> None:
        self._start()

    def _forget(self, record: _Record) -> int:
        self._spans -= record[2]
        self._bytes -= len(record[1])
        return record[2]
