"""
Delivers what dead processes left in a spool, and says what became of it. For `flowspan drain`.

As any process that uses the spool would, by the same store and senders; but it ends when there is
nothing left, or when the collector takes no more. No age and no bound costs a span here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from flowspan.config import Config
from flowspan.delivery import _platform
from flowspan.delivery._exporter import Exporter
from flowspan.delivery._inspect import SegmentInfo, inspect
from flowspan.delivery._parked import Parked, parked
from flowspan.delivery._storage import Storage
from flowspan.delivery._transport import Answer, Transport, Verdict, make_transport

PATIENCE: Final = 10.0
"""Seconds without a span taken, after which a collector that took some before is given up."""
_LAST_REQUEST = 1.0  # seconds for the answer to what is under way when somebody interrupts
_NO_BOUND = 1 << 60
_LOOKS, _LOOK_AGAIN = 5, 0.1  # times, and seconds in between, that a file may be out of reach

Progress = Callable[[int, int], None]
"""Told how many spans are dealt with, and of how many. Called from one thread, in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """
    What became of a spool. Numbers of spans, but for *files* and *damaged*.

    *abandoned* were open when their process died; they are among the *delivered* or the
    *remaining*. *oldest*: seconds since the epoch when the oldest was written; None if nothing was
    there. *reason*: the collector's words, or why else something remains. *damaged*: places in
    files that could not be read. *parked* are those that are parked now, *parked_now* those of
    them that were not before, *refused* those that were tried again in vain.
    """

    delivered: int = 0
    files: int = 0
    abandoned: int = 0
    oldest: float | None = None
    remaining: int = 0
    reason: str = ""
    rejected: int = 0
    rejection: str = ""
    dropped: Mapping[str, int] = field(default_factory=dict)
    damaged: int = 0
    held: Mapping[int, int] = field(default_factory=dict)
    """By the process id; 0 where that is not known."""
    newer: tuple[SegmentInfo, ...] = ()
    parked: tuple[Parked, ...] = ()
    parked_now: int = 0
    refused: int = 0
    interrupted: bool = False

    @property
    def is_complete(self) -> bool:
        """Nothing is left that this command was to deliver."""
        left = self.remaining or self.parked_now or self.refused or self.interrupted
        return not left and not any(not info.owner_pid_alive for info in self.newer)


class _Listening:
    """A transport that keeps what the collector said."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.close, self.after_fork = transport.close, transport.after_fork
        self.answer = Answer(Verdict.ACCEPTED)
        self.rejection = ""
        self.accepted_at: float | None = None

    def send(self, body: bytes, timeout: float) -> Answer:
        answer = self._transport.send(body, timeout)
        self.answer = answer
        if answer.verdict is Verdict.ACCEPTED:
            self.accepted_at = time.monotonic()
            if answer.rejected or answer.message:
                self.rejection = answer.message
        return answer


def drain(
    config: Config,
    directory: str,
    *,
    again: bool = False,
    progress: Progress = lambda done, total: None,
) -> Drained:
    """
    Deliver what lies in *directory* to the collector of *config*. *again*: parked spans, too.

    Raises OSError, or its `Refused` with a sentence, if the directory cannot be used. What is not
    delivered stays there, also if somebody interrupts (KeyboardInterrupt is not passed on).
    """
    found = inspect(directory)
    if not found:
        return Drained()
    _platform.private_directory(directory)
    drainage = _Drainage(config, directory, found, progress)
    try:
        drainage.deliver()
        if again:
            drainage.deliver_parked()
    except KeyboardInterrupt:
        drainage.interrupted = True
    finally:
        drainage.close()
    return drainage.outcome()


class _Drainage:
    def __init__(
        self, config: Config, directory: str, found: list[SegmentInfo], progress: Progress
    ) -> None:
        self._directory, self._progress = directory, progress
        self._started = time.monotonic()
        self._to_do = [info for info in found if _is_left_behind(info) and not info.is_newer]
        self._total = sum(info.spans for info in self._to_do)
        self._parked_before = {info.path for info in found if info.kind == "parked"}
        self._transport = _Listening(make_transport(config.otlp))
        self._timeout = min(config.otlp.timeout, config.batch.export_timeout)
        self._dropped: Counter[str] = Counter()
        self._again = self._refused = 0
        self._failure = self._parked_reason = ""
        self.interrupted = False
        self._storage: Storage | None = None
        if self._to_do:
            self._storage = Storage(
                directory,
                max_bytes=_NO_BOUND,
                max_age=_NO_BOUND / 1e9,
                on_dropped=self._was_dropped,
                say=lambda sentence: None,
            )
        self._exporter = Exporter(
            self._storage or Storage(None, on_dropped=self._was_dropped),
            self._transport,
            name=config.otlp.shown_endpoint,
            timeout=self._timeout,
            delay=0.0,
            max_spans=config.batch.max_export_batch_size,
        )

    def _was_dropped(self, spans: int, reason: str) -> None:
        self._dropped[reason] += spans

    # ---- spans that wait

    def deliver(self) -> None:
        if self._storage is None:
            return
        looks = 0
        while looks < _LOOKS:
            self._exporter.appended()
            while not self._exporter.wait(self._is_over, 1.0):
                pass
            if self._storage.unsent()[0]:
                return
            # more files than are opened at once, or open spans that had no room on the disk
            if self._storage.adopt() or self._storage.unsent()[0]:
                continue
            if not any(i.spans and _is_left_behind(i) for i in inspect(self._directory)):
                return
            looks += 1  # somebody looked at it just now, another drain perhaps, and had its lock
            time.sleep(_LOOK_AGAIN)

    def _is_over(self) -> bool:
        assert self._storage is not None
        waiting, _ = self._storage.unsent()
        counts = self._exporter.counts
        dropped = sum(list(self._dropped.values()))  # senders write to it
        done = counts.exported + counts.rejected + counts.parked + dropped
        self._progress(done, max(self._total, done + waiting))
        return not waiting or (self._exporter.failing and self._is_hopeless())

    def _is_hopeless(self) -> bool:
        """Whether the collector is not worth another try in this run."""
        answer, accepted_at = self._transport.answer, self._transport.accepted_at
        if answer.verdict is Verdict.MISCONFIGURED:
            return True
        is_down = answer.verdict is Verdict.UNAVAILABLE and answer.retry_after is None
        if is_down and accepted_at is None:
            return True
        return time.monotonic() - (accepted_at or self._started) > PATIENCE

    # ---- spans that were set aside

    def deliver_parked(self) -> None:
        if self._exporter.failing:
            return
        for one in parked(self._directory):
            if one.path not in self._parked_before:
                continue
            answer = self._transport.send(one.body, self._timeout)
            if answer.verdict is Verdict.ACCEPTED and not answer.rejected:
                _platform.unlink(one.path)
                self._again += one.spans
                continue
            self._refused += one.spans
            self._parked_reason = answer.message
            if answer.verdict in (Verdict.UNAVAILABLE, Verdict.MISCONFIGURED):
                return

    # ---- the end

    def close(self) -> None:
        if self._exporter.failing:  # asked before we cut the connections ourselves
            self._failure = self._exporter.counts.last_error
        self._exporter.close(time.monotonic() + (_LAST_REQUEST if self.interrupted else 0.0))
        self._transport.close()
        if self._storage is not None and (lost := self._storage.close()):
            self._was_dropped(lost, "the disk takes nothing")

    def outcome(self) -> Drained:
        after = inspect(self._directory)
        left = [info for info in after if _is_left_behind(info)]
        remaining = sum(info.spans for info in left)
        still_open = sum(info.spans for info in left if info.kind == "open")
        was_open = sum(info.spans for info in self._to_do if info.kind == "open")
        there = {info.path for info in after}
        kept = parked(self._directory)
        counts = self._exporter.counts
        return Drained(
            delivered=counts.exported + self._again,
            files=sum(info.path not in there for info in self._to_do if info.spans),
            abandoned=max(0, was_open - still_open),
            oldest=min((info.oldest for info in self._to_do if info.oldest), default=None),
            remaining=remaining,
            reason=self._why(remaining) or self._parked_reason,
            rejected=counts.rejected,
            rejection=self._transport.rejection,
            dropped=dict(self._dropped),
            damaged=sum(info.damaged for info in self._to_do),
            held=_held(after),
            newer=tuple(info for info in after if info.is_newer),
            parked=tuple(kept),
            parked_now=sum(one.spans for one in kept if one.path not in self._parked_before),
            refused=self._refused,
            interrupted=self.interrupted,
        )

    def _why(self, remaining: int) -> str:
        if not remaining:
            return ""
        if self._failure or self.interrupted:
            return self._failure or "it was interrupted"
        return "the files cannot be taken over; is the disk full?"


def _is_left_behind(info: SegmentInfo) -> bool:
    """Its process is gone, and nobody has parked it."""
    return info.kind != "parked" and not info.owner_pid_alive


def _held(found: list[SegmentInfo]) -> dict[int, int]:
    held: Counter[int] = Counter()
    for info in found:
        if info.kind == "spans" and info.owner_pid_alive and info.spans:
            held[info.pid if _platform.is_running(info.pid) else 0] += info.spans
    return dict(held)
