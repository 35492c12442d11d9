"""
Where spans wait: on the disk if that works, in memory as long as it does not.

What goes to memory because the disk fails comes back to the disk when that works again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import platformdirs

from flowspan._version import __version__
from flowspan.delivery import _platform
from flowspan.delivery._memory import Memory
from flowspan.delivery._spool import Spool
from flowspan.delivery._stored import OnDropped, Taken

logger = logging.getLogger("flowspan")

RETRY = 1.0, 60.0  # seconds until the disk is tried again, at first and at most
_PORTS = {"http": 80, "https": 443}
# What one tenant left must not be sent with another's headers. Credentials are no part of it: who
# mends a wrong one finds what has waited for that.
_TENANT = re.compile(
    "(^|[-_.])(tenant|org|project|dataset|workspace|space|account|namespace|stream|environment)"
)
_CREDENTIAL = re.compile("key|token|secret|auth|pass")


def default_directory(endpoint: str, headers: Mapping[str, str]) -> str:
    """
    Where spans for *endpoint* wait: a directory of its own below the user's state directory.

    Named after a hash of scheme, host, port and path, and of *headers* that name a tenant, project
    or the like; credentials play no part in it. It begins with `~`, which a spool refuses, if the
    user has no home.
    """
    url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    try:
        port = url.port or _PORTS.get(url.scheme)
    except ValueError:
        port = None
    target = f"{url.scheme}://{url.hostname or ''}:{port or ''}{url.path}"
    for header, value in sorted((name.lower(), value) for name, value in headers.items()):
        if _TENANT.search(header) and not _CREDENTIAL.search(header):
            target += f"\n{header}: {value}"
    name = hashlib.sha256(target.encode("utf-8", "replace")).hexdigest()[:16]
    try:
        state = str(platformdirs.user_state_path("flowspan", appauthor=False))
    except RuntimeError:
        state = "~/.local/state/flowspan"
    return os.path.join(state, name)


class Storage:
    """
    What the processor holds. No method raises OSError.

    *directory* None means memory alone. *say* gets one sentence for each kind of trouble, once.
    *adopts*: take over what dead processes left at once; else with the first `adopt`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None,
        *,
        max_bytes: int = 512 << 20,
        max_age: float = 72 * 3600,
        memory_bytes: int = 16 << 20,
        on_dropped: OnDropped,
        say: Callable[[str], None] = logger.warning,
        version: str = __version__,
        clock: _platform.Clock | None = None,
        adopts: bool = True,
    ) -> None:
        self._memory = Memory(max_bytes=memory_bytes, on_dropped=on_dropped)
        self._directory = directory
        self._open: Callable[[], Spool] = lambda: Spool(
            directory or "",
            max_bytes=max_bytes,
            max_age=max_age,
            on_dropped=on_dropped,
            on_newer=self._newer,
            version=version,
            clock=clock,
            adopts=adopts,
        )
        self._memory_bytes = memory_bytes
        self._say = say
        self._said: set[str] = set()
        self._lock = threading.RLock()
        self._spool: Spool | None = None
        self._is_failing = self._is_opening = False
        self._retry_at = 0.0
        self._delay = RETRY[0]
        self._moves = 0
        self._closed = False
        self._left = 0, 0  # spans and bytes, when it was closed
        if directory is not None:
            self._ready()

    # -- which of the two

    def _ready(self) -> Spool | None:
        """The spool, if it is worth a try now."""
        if self._closed:
            return None
        if not self._is_failing and self._spool is not None:
            return self._spool
        if self._directory is None or time.monotonic() < self._retry_at:
            return None
        if self._spool is None:
            with self._lock:
                if self._is_opening or self._spool is not None:
                    return self._spool
                self._is_opening = True
            try:
                self._spool = self._open()
            except OSError as error:
                self._failed(error)
            finally:
                self._is_opening = False
        return self._spool

    def _failed(self, error: BaseException) -> None:
        with self._lock:
            self._is_failing = True
            self._retry_at = time.monotonic() + self._delay
            self._delay = min(self._delay * 2, RETRY[1])
        why = (
            str(error)
            if isinstance(error, _platform.Refused)
            else (
                f"the spool directory {self._directory} cannot be used: "
                f"{getattr(error, 'strerror', None) or str(error) or type(error).__name__}"
            )
        )
        self._say_once(
            f"{why}; spans wait in memory instead, at most {self._memory_bytes} bytes, and are "
            "lost if the process ends before they are delivered"
        )

    def _newer(self, path: str) -> None:
        self._say_once(
            f"a newer flowspan wrote {path}; it is left alone, that version will deliver it"
        )

    def _say_once(self, sentence: str) -> None:
        with self._lock:
            first = sentence not in self._said
            self._said.add(sentence)
        if first:
            self._say(sentence)

    def _back_to_disk(self, spool: Spool) -> None:
        """Move what went to memory."""
        self._is_failing = False
        while taken := self._memory.take(1 << 20, 1 << 30):
            try:
                spool.append(taken.body, taken.spans)
            except BaseException as error:
                self._memory.put_back(taken)
                self._failed(error)  # whatever it is: what comes next goes to memory, behind it
                if not isinstance(error, Exception):
                    raise
                return
            with self._lock:
                self._moves += 1
            self._memory.done(taken)
        self._delay = RETRY[0]

    # -- a store

    def append(self, body: bytes, spans: int) -> None:
        spool = self._ready()
        if spool is not None:
            try:
                spool.append(body, spans)
            except OSError as error:
                self._failed(error)
            else:
                if self._is_failing:
                    self._back_to_disk(spool)
                return
        self._memory.append(body, spans)

    def append_again(self, body: bytes, spans: int) -> None:
        """What was taken and is not done yet: a mark that was made before waits for it, too."""
        self.append(body, spans)
        with self._lock:
            self._moves += 1

    def take(self, max_bytes: int, max_spans: int) -> Taken | None:
        """What is in memory first: it is what can be lost."""
        for store in (self._memory, self._spool):
            if store is not None and (taken := store.take(max_bytes, max_spans)):
                taken.store = store
                return taken
        return None

    def done(self, taken: Taken) -> None:
        if taken.store is not None:
            taken.store.done(taken)

    def put_back(self, taken: Taken) -> None:
        if taken.store is not None:
            taken.store.put_back(taken)

    def park(self, body: bytes, spans: int, reason: str) -> bool:
        if (spool := self._ready()) is not None:
            try:
                return spool.park(body, spans, reason)
            except OSError as error:
                self._failed(error)
        return self._memory.park(body, spans, reason)

    def unsent(self) -> tuple[int, int]:
        if self._closed:
            return self._left
        spans, size = self._memory.unsent()
        if self._spool is not None:
            more_spans, more = self._spool.unsent()
            return spans + more_spans, size + more
        return spans, size

    def in_memory(self) -> int:
        """Spans that would be lost if the process ended now."""
        return self._memory.unsent()[0]

    def mark(self) -> Callable[[], bool]:
        with self._lock:
            moves, memory = self._moves, self._memory.mark()
            on_disk = self._spool.mark() if self._spool is not None else None

        def settled() -> bool:
            nonlocal moves, memory, on_disk
            with self._lock:
                if moves != self._moves:  # something stands behind what this mark knew of now
                    moves, memory = self._moves, self._memory.mark()
                    on_disk = self._spool.mark() if self._spool is not None else None
            return memory() and (on_disk is None or on_disk())

        return settled

    def opened(self, key: bytes, body: bytes) -> None:
        if self._spool is not None and not self._is_failing:
            try:
                self._spool.opened(key, body)
            except OSError as error:
                self._failed(error)

    def closed(self, key: bytes) -> None:
        if self._spool is not None:
            try:
                self._spool.closed(key)
            except OSError as error:
                self._failed(error)

    def adopt(self) -> int:
        """Take over what dead processes left, and see whether the disk works again."""
        spool = self._ready()
        if spool is None:
            return 0
        if self._is_failing:
            self._back_to_disk(spool)
        return spool.adopt()

    def close(self) -> int:
        """What is in memory goes to the disk if that takes it. Returns how many spans are lost."""
        if self._closed:
            return 0
        self._retry_at = 0.0
        if self.in_memory() and (spool := self._ready()) is not None:
            self._memory.recall()
            self._back_to_disk(spool)
        if self._spool is not None:
            self._left = self._spool.unsent()
        self._closed = True
        if self._spool is not None:
            self._spool.close()
        lost = self.in_memory()
        self._memory.close()
        return lost

    # -- to be looked at

    def describe(self) -> str:
        """The directory, or "memory"."""
        if self._spool is not None and not self._is_failing:
            return self._spool.directory
        return "memory"

    @property
    def is_memory(self) -> bool:
        """Whether what waits is lost with the process."""
        return self._spool is None or self._is_failing

    # -- fork

    def before_fork(self) -> None:
        self._lock.acquire()
        if self._spool is not None:
            self._spool.before_fork()
        self._memory.before_fork()

    def after_fork_in_parent(self) -> None:
        self._memory.after_fork_in_parent()
        if self._spool is not None:
            self._spool.after_fork_in_parent()
        self._lock.release()

    def after_fork(self) -> None:
        self._lock = threading.RLock()
        self._is_opening = False
        self._memory.after_fork()
        if self._spool is not None:
            self._spool.after_fork()
