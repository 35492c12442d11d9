"""
Takes requests from the store, gives them to the transport, and decides what each answer means.

A request leaves the store when the collector has it, and for no other reason of ours: an outage
only makes it wait. Sender threads start with the first request, sleep without a timer while
nothing is due, and are up to eight while the collector is slow; while it fails, one of them tries.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field

from flowspan import _guard
from flowspan.delivery._requests import shrink, split
from flowspan.delivery._storage import Storage
from flowspan.delivery._stored import Taken
from flowspan.delivery._transport import Answer, Transport, Verdict

logger = logging.getLogger("flowspan")

MAX_SENDERS = 8
REQUEST_BYTES = 1_000_000
"""How much is joined into one request: little is sent twice when an acknowledgement is lost."""
_LEAST_BYTES = 4096  # a span that is refused as too large at this size will never fit
_GROWTH = 32  # so many full requests double what is sent at once, after a 413
_FIRST_BACKOFF, _LONGEST_BACKOFF, _LONGEST_MISCONFIGURED = 0.5, 15.0, 60.0
_MOST_REFUSALS = 32  # while nothing was accepted: then it is not one span that the collector means
_MOST_SPANS = 8192  # in such a request: the youngest of them are what is tried
_MOST_OTHERS = 3  # requests that are tried, to see whether a collector takes any span at all
_SAY_EVERY = 60.0  # seconds, for a collector that comes and goes
_SLOW = 0.1  # seconds for a request, from where on several are sent at once
_ADOPT_EVERY = 30.0  # seconds, and only while something is sent
_REFUSED = (Verdict.TOO_LARGE, Verdict.MALFORMED)
_RECORD = _guard.guard("record how long a request took", "a metric lacks it; please report this")


@dataclass(slots=True)
class Counts:
    """Of spans, but for *requests*, *retries* and *inflight*. Written under the exporter's lock."""

    exported: int = 0
    rejected: int = 0
    parked: int = 0
    requests: int = 0
    retries: int = 0
    inflight: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Outcome:
    """What became of a request's parts: written down when all of it is done with, in one go."""

    exported: int = 0
    rejected: int = 0
    refused: list[tuple[bytes, str]] = field(default_factory=list)
    """Single spans that the collector never takes, and its words."""
    left: list[tuple[bytes, int]] = field(default_factory=list)
    """Requests, and their spans, that wait anew."""

    def accepted(self, spans: int, answer: Answer) -> None:
        rejected = min(answer.rejected, spans)  # whatever it says
        self.exported += spans - rejected
        self.rejected += rejected


class Exporter:
    """
    The sender threads between a store and a transport. Thread-safe.

    *delay*: seconds that a request waits for company; *max_spans*: so many are sent at once.
    *timeout*: seconds for one request. *name*: the endpoint, as it may be shown. *ledger*: held
    while spans go from what waits to what is counted, so that its owner sees each once.
    """

    def __init__(
        self,
        store: Storage,
        transport: Transport,
        *,
        name: str,
        timeout: float = 10.0,
        delay: float = 5.0,
        max_spans: int = 512,
        ledger: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.counts = Counts()
        self.is_over = False
        """Set under the ledger when the store closes: the next process sends what comes later."""
        self._ledger = ledger
        self._store, self._transport, self._name = store, transport, name
        self._timeout, self._delay, self._max_spans = timeout, delay, max_spans
        self._condition = threading.Condition(threading.RLock())
        self._reset()
        self._max_bytes = REQUEST_BYTES
        self.on_request: Callable[[float, str], None] | None = None

    def _reset(self) -> None:
        self._senders: set[threading.Thread] = set()
        self._due_at: float | None = None
        self._closing = False
        self._failures = 0
        self._failed_at = 0.0
        self._retry_at = 0.0
        self._not_before = 0.0  # that the collector named: a flush waits for it, too
        self._try_now = False
        self._failed_from = -math.inf  # when the attempt began that failed last
        self._outage: set[Verdict] = set()  # what was said of this one
        self._said_at: dict[Verdict, float] = {}
        self._taken_spans = self._taken_bytes = 0
        self._flushing = 0
        self._last_duration = 0.0
        self._sending = 0  # requests that are taken, of which some are not yet in flight
        self._adopted_at = -math.inf
        self._has_adopted = False

    # ---- what the processor calls

    def appended(self) -> None:
        """Something lies in the store. Cheap; starts a sender if there is none."""
        with self._condition:
            self._set_due()
            if self._due_at is not None:
                self._start_sender(only_first=True)

    def _set_due(self) -> None:
        """Under the lock. A full request is due now, less than that after the delay."""
        spans, size = self._store.unsent()
        spans, size = spans - self._taken_spans, size - self._taken_bytes
        if spans <= 0:
            return
        now = time.monotonic()
        full = spans >= self._max_spans or size >= REQUEST_BYTES
        due_at = now if full or self._flushing else now + self._delay
        if self._due_at is None or due_at < self._due_at:
            self._due_at = due_at
            self._condition.notify_all()  # a flush waits there, too, and would keep it to itself

    def flush(self, settled: Callable[[], bool], deadline: float, *, once: bool = False) -> bool:
        """
        Send now. True as soon as *settled*, False at *deadline* on the monotonic clock.

        False sooner if the collector has said that it takes nothing before *deadline*. *once*:
        also as soon as an attempt that began after this call has failed.
        """
        start = time.monotonic()
        with self._condition:
            self._flushing += 1
            try:
                self._due_at, self._try_now = start, True
                if once and self._store.is_memory:
                    self._not_before = 0.0  # rather asked too soon than lost
                self._condition.notify_all()
                can_wait = self._start_sender(only_first=True)
                # what older processes left goes first, so it has to be known
                while can_wait and not (self._has_adopted and settled()):
                    left = deadline - time.monotonic()
                    if left <= 0 or (once and self._failed_from >= start):
                        return False
                    if self._failures and self._not_before > deadline:
                        return False
                    self._condition.wait(left)
            finally:
                self._flushing -= 1
        while not settled():  # no thread can be started: the interpreter is ending
            left = deadline - time.monotonic()
            if left <= 0 or self._failed_from >= start or not self._send_one(left):
                return settled()
        if not can_wait:  # nor will any thread look for what older processes left
            self._adopt()
            while self._failed_from < start and (left := deadline - time.monotonic()) > 0:
                if not self._send_one(left):
                    break
        return True

    def wait(self, settled: Callable[[], bool], timeout: float) -> bool:
        """Whether *settled* within so many seconds. Leaves it to the senders when to send."""
        with self._condition:
            return self._condition.wait_for(settled, timeout)

    def close(self, deadline: float) -> None:
        """Stop the senders; one that waits for an answer is left behind at *deadline*."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
            senders = list(self._senders)
        for sender in senders:
            sender.join(max(0.0, deadline - time.monotonic()))

    def after_fork(self) -> None:
        """In the child: threads, connections and what is taken are the parent's."""
        self._condition = threading.Condition(threading.RLock())
        self.counts = Counts()
        self._reset()

    @property
    def inflight(self) -> int:
        """Spans that are being sent."""
        return self._taken_spans

    @property
    def failing(self) -> bool:
        return self._failures > 0

    # ---- the threads

    def _start_sender(self, *, only_first: bool) -> bool:
        """Under the lock. Whether a sender is there now."""
        self._senders = {sender for sender in self._senders if sender.is_alive()}
        if self._closing or len(self._senders) >= (1 if only_first else MAX_SENDERS):
            return bool(self._senders)
        first = not self._senders
        sender = threading.Thread(
            target=self._run, args=(first,), name="flowspan-export", daemon=True
        )
        try:
            sender.start()
        except RuntimeError:  # too many threads, or the interpreter is ending
            return bool(self._senders)
        self._senders.add(sender)
        return True

    def _run(self, stays: bool) -> None:
        if stays:
            self._adopt()
        while True:
            with self._condition:
                if stays:
                    while not self._closing and (wait := self._until_due()) != 0:
                        self._condition.wait(wait)
                if self._closing or self._until_due() != 0:
                    return
            try:
                self._send_one(self._timeout)
                self._adopt()
            except Exception as error:  # noqa: BLE001 - the thread goes on, the failure is counted
                _guard.report("could not send a request", "it is tried again", error)
                self._failed(Answer(Verdict.UNAVAILABLE, type(error).__name__), time.monotonic())

    def _until_due(self) -> float | None:
        """Seconds until something is to be sent; None: nothing is, so far."""
        if self._due_at is None:
            return None
        due_at = self._due_at
        if self._failures:
            if self.counts.inflight:
                return None  # one tries; it notifies when it knows
            retry_at = self._not_before if self._try_now else self._retry_at
            due_at = max(due_at, retry_at)
        return max(0.0, due_at - time.monotonic())

    # ---- one request

    def _send_one(self, timeout: float) -> bool:
        """Take and send what is waiting, up to one request; False if nothing was."""
        taken = self._store.take(self._max_bytes, self._max_spans)
        with self._condition:
            self._try_now = False
            self._due_at = None
            if taken is None:
                self._set_due()  # appended in between
                self._condition.notify_all()
                return False
        with self._being_sent(taken):
            with self._condition:
                self._set_due()
                if self._until_due() == 0 and self._is_slow():
                    self._start_sender(only_first=False)
            self._handle(taken, timeout)
        return True

    @contextmanager
    def _being_sent(self, taken: Taken) -> Iterator[None]:
        """Back it goes if anything fails; a second `put_back` or `done` changes nothing."""
        with self._condition:
            self._sending += 1
            self._taken_spans += taken.spans
            self._taken_bytes += len(taken.body)
        try:
            yield
        except BaseException:
            self._store.put_back(taken)
            raise
        finally:
            with self._condition:
                self._sending -= 1
                self._taken_spans -= taken.spans
                self._taken_bytes -= len(taken.body)
                self._set_due()
                self._condition.notify_all()

    def _is_slow(self) -> bool:
        """Whether one sender more would help: all are busy, and not because of an outage."""
        busy = self._sending >= len(self._senders)
        return busy and not self._failures and self._last_duration > _SLOW

    def _adopt(self) -> None:
        """What dead processes have left. In a thread of ours: a large spool takes seconds."""
        with self._condition:
            now = time.monotonic()
            if self._closing or now - self._adopted_at < _ADOPT_EVERY:
                return
            self._adopted_at = now
        try:
            self._store.adopt()
        except Exception as error:  # noqa: BLE001 - the thread goes on, the failure is counted
            _guard.report("could not look for spans of other processes", "later again", error)
        with self._condition:
            self._has_adopted = True
            self._set_due()
            self._condition.notify_all()

    def _attempt(self, body: bytes, timeout: float) -> Answer:
        with self._condition:
            self.counts.inflight += 1
            self.counts.requests += 1
            if self._failures:
                self.counts.retries += 1
        start = time.monotonic()
        answer = Answer(Verdict.UNAVAILABLE)
        try:
            answer = self._transport.send(body, timeout)
        finally:
            duration = time.monotonic() - start
            with self._condition:
                self.counts.inflight -= 1
                self._last_duration = duration
        if self.on_request is not None:
            accepted = answer.verdict is Verdict.ACCEPTED
            with _RECORD:
                self.on_request(duration, "" if accepted else answer.verdict.name.lower())
        return answer

    def _handle(self, taken: Taken, timeout: float) -> None:
        start = time.monotonic()
        too_large = taken.spans > 1 and len(taken.body) > self._max_bytes
        answer = None if too_large else self._attempt(taken.body, timeout)
        if answer is None or answer.verdict in _REFUSED:
            answer = self._divide(taken, answer, timeout)
        elif answer.verdict is Verdict.ACCEPTED:
            outcome = _Outcome()
            self._accepted(outcome, taken.spans, answer, start)
            self._done(taken, outcome)
            self._took(len(taken.body))
        if answer.verdict is not Verdict.ACCEPTED:
            self._store.put_back(taken)
            self._failed(answer, start)

    def _done(self, taken: Taken, outcome: _Outcome) -> None:
        """*taken* leaves the store; what is left of it is in the store by then, or set aside."""
        reasons = []
        with self._ledger():
            if self.is_over:
                return
            for body, reason in outcome.refused:
                if self._store.park(body, 1, reason):  # else counted there as given up
                    reasons.append(reason)
            for body, spans in outcome.left:
                self._store.append_again(body, spans)
            self._store.done(taken)
            with self._condition:
                self.counts.exported += outcome.exported
                self.counts.rejected += outcome.rejected
                self.counts.parked += len(reasons)
        for reason in reasons:
            _guard.report(
                "a span that the collector does not take was set aside",
                f"{reason}; it lies in {self._store.describe()}",
            )

    def _divide(self, taken: Taken, given: Answer | None, timeout: float) -> Answer:
        """
        Halve a refused request until what the collector does not take stands alone.

        *given* is the collector's answer; without one it is known to be too large. ACCEPTED if
        *taken* is done with: what is left of it is a request of its own in the store.
        """
        pieces: deque[tuple[bytes, int]] = deque([(taken.body, taken.spans)])
        refused: list[tuple[bytes, str]] = []
        outcome = _Outcome()
        refusals, accepted = 0, False
        limit = max_bytes = self._max_bytes
        answer = Answer(Verdict.TOO_LARGE)
        while pieces:
            if not accepted and refusals >= _MOST_REFUSALS:
                accepted = self._takes_others(timeout)
                if not accepted:
                    break
            body, spans = pieces.popleft()
            if given is None and spans > 1 and len(body) > max_bytes:
                pieces.extend(split(body))
                continue
            start = time.monotonic()
            answer, given = given or self._attempt(body, timeout), None
            if answer.verdict is Verdict.ACCEPTED:
                accepted = True
                self._accepted(outcome, spans, answer, start)
                self._took(len(body))
                continue
            if answer.verdict not in _REFUSED:
                pieces.appendleft((body, spans))
                break
            refusals += 1
            too_large = answer.verdict is Verdict.TOO_LARGE
            if too_large:
                max_bytes = max(_LEAST_BYTES, min(max_bytes, len(body) // 2))
            if spans > 1:
                pieces.extend(split(body))  # breadth first: soon one is accepted
            elif too_large and (smaller := _shrunk(body)) is not None:
                pieces.appendleft((smaller, 1))
            else:
                refused.append((body, answer.message))
        if not accepted and refused and not pieces:
            accepted = self._takes_others(timeout)
        if not accepted:
            return answer  # it takes nothing at all, so no span of these is at fault
        if max_bytes < limit:
            self._max_bytes = max_bytes
        for body, reason in refused:  # once more: now it takes others
            start = time.monotonic()
            again = self._attempt(body, timeout)
            if again.verdict is Verdict.ACCEPTED:
                self._accepted(outcome, 1, again, start)
            elif again.verdict in _REFUSED:
                outcome.refused.append((body, reason))
            else:
                pieces.append((body, 1))
        outcome.left = list(pieces)
        self._done(taken, outcome)
        return Answer(Verdict.ACCEPTED)

    def _took(self, size: int) -> None:
        """A request of *size* was accepted: a limit that was learned may be gone."""
        if size > self._max_bytes // 2:
            self._max_bytes = min(self._max_bytes + self._max_bytes // _GROWTH, REQUEST_BYTES)

    def _takes_others(self, timeout: float) -> bool:
        """Whether any of what comes next is accepted, while this is refused whole."""
        with ExitStack() as younger:
            for _ in range(_MOST_OTHERS):
                taken = self._store.take(REQUEST_BYTES, _MOST_SPANS)
                if taken is None:
                    return False
                younger.enter_context(self._being_sent(taken))
                younger.callback(self._store.put_back, taken)
                answer = self._try_youngest(taken, timeout)
                if answer.verdict is Verdict.ACCEPTED:
                    return True
                if answer.verdict not in _REFUSED:
                    return False
        return False

    def _try_youngest(self, taken: Taken, timeout: float) -> Answer:
        """ACCEPTED if *taken* is, or its younger half, or that one's; then the rest waits anew."""
        body, spans = taken.body, taken.spans
        outcome = _Outcome()
        while True:
            start = time.monotonic()
            answer = self._attempt(body, timeout)
            if answer.verdict is Verdict.ACCEPTED:
                self._accepted(outcome, spans, answer, start)
                self._done(taken, outcome)
                return answer
            if spans == 1 or answer.verdict not in _REFUSED:
                return answer
            older, (body, spans) = split(body)
            outcome.left.append(older)

    # ---- outages

    def _accepted(self, outcome: _Outcome, spans: int, answer: Answer, start: float) -> None:
        outcome.accepted(spans, answer)
        said: set[Verdict] = set()
        with self._condition:
            if start >= self._failed_at:  # not one that another sender's failure overtook
                self._failures, self._retry_at = 0, 0.0
                said, self._outage = self._outage, said
        if said:
            _warn(f"{self._name} takes spans again; what waited is being delivered")
        if answer.rejected or answer.message:
            _guard.report(
                "the collector rejected spans", f"{answer.rejected} are lost ({answer.message})"
            )

    def _failed(self, answer: Answer, start: float) -> None:
        misconfigured = answer.verdict is Verdict.MISCONFIGURED
        longest = _LONGEST_MISCONFIGURED if misconfigured else _LONGEST_BACKOFF
        with self._condition:
            now = time.monotonic()
            self.counts.last_error = answer.message
            if start >= self._failed_at:  # not one of several that failed together
                self._failures += 1
                wait = min(longest, _FIRST_BACKOFF * 2 ** min(self._failures - 1, 16))
                wait *= random.uniform(0.5, 1.0)
                self._not_before = 0.0
                if answer.retry_after is not None:
                    wait = answer.retry_after + random.uniform(0, 0.1)
                    self._not_before = now + wait
                self._retry_at = now + wait
            self._failed_at, self._failed_from = now, start
            known = answer.verdict in self._outage
            recent = now - self._said_at.get(answer.verdict, -math.inf) < _SAY_EVERY
            if not known and not recent:
                self._outage.add(answer.verdict)
                self._said_at[answer.verdict] = now
            self._condition.notify_all()
        if known or recent:  # once an outage; a collector that comes and goes, once in a while
            return
        advice = "until the configuration is mended" if misconfigured else "until it takes them"
        _warn(f"{answer.message}; spans wait in {self._store.describe()} {advice}")


def _warn(sentence: str) -> None:
    try:
        logger.warning("%s", sentence)
    except Exception:  # noqa: BLE001 - a handler of the application's; it must not cost a request
        return


def _shrunk(body: bytes) -> bytes | None:
    """A request of one span in half the bytes; None if that cannot be."""
    if len(body) <= _LEAST_BYTES:
        return None
    try:
        return shrink(body, max(_LEAST_BYTES, len(body) // 2))
    except ValueError:
        return None
