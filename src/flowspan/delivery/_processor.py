"""
Finished spans -> the store, behind `DurableSpanProcessor`; the exporter takes it from there.

`on_end` puts a span into a queue and returns. A thread of its own encodes the queue every 20 ms,
while there is anything, and appends it to the store; idle, it sleeps without a timer. Spans of our
own provider are encoded before they are queued. What is open for longer than that is written down
as well, so that it is not lost with its process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from flowspan import _guard
from flowspan._light_span import LightSpan
from flowspan.config import Config, ConfigError, OtlpConfig
from flowspan.delivery._encoder import Encoded, Encoder
from flowspan.delivery._exporter import REQUEST_BYTES, Counts, Exporter
from flowspan.delivery._metrics import observe
from flowspan.delivery._storage import Storage, default_directory
from flowspan.delivery._tls import context_for
from flowspan.delivery._transport import Transport, make_transport

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider

TICK = 0.02
"""Seconds between two looks at the queue: so much may be missing after SIGKILL."""
EXIT_TIMEOUT = 1.5
"""Seconds that the network gets at exit; what is not delivered then waits in the spool."""
_CHUNK = 512  # spans encoded at a time, so that a burst does not lie in memory twice
_LOST = (
    *("memory full", "spool full", "disk failed", "not encoded", "not written"),
    *("refused by the collector", "at exit, from memory"),
)
_LATE = "after shutdown"
_QUEUE_BYTES = 8 << 20  # of spans that are not encoded yet, about
_FIRST_LIMIT = 64  # spans
_MOST_OPEN = 10_000  # open spans that are written down


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """What has become of the spans of one processor, in this process. Numbers of spans, mostly."""

    ended: int
    """Sampled spans that ended."""
    exported: int
    """Spans that the collector has acknowledged; those of earlier processes are among them."""
    waiting: int
    """Spans that wait in the spool, or in memory where there is none; of dead processes, too."""
    waiting_bytes: int
    queued: int
    """Spans that ended in the last 20 ms and are on their way there."""
    queue_capacity: int
    inflight: int
    """Spans that are being sent; they wait, too."""
    dropped: Mapping[str, int]
    """Spans that were given up, by reason."""
    rejected: int
    """Spans that the collector rejected in a partial success."""
    parked: int
    """Spans that the collector never takes, set aside in the spool."""
    requests: int
    retries: int
    failing: bool
    """Whether the last request failed."""
    last_error: str
    spool: str
    """The directory, or `memory`."""


class _Lock:
    """A re-entrant lock that does what it was told to do `after` it, when it is let go."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner = self._depth = 0
        self._waiting: deque[Callable[[], object]] = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if not self._lock.acquire(blocking, timeout):
            return False
        self._owner = threading.get_ident()
        self._depth += 1
        return True

    def release(self) -> None:
        self._depth -= 1
        is_last = self._depth == 0
        if is_last:
            self._owner = 0
        self._lock.release()
        if is_last and self._waiting:
            self._do()

    __enter__ = acquire

    def __exit__(self, *error: object) -> None:
        self.release()

    def after(self, what: Callable[[], object]) -> None:
        """Now, if this thread does not hold the lock."""
        self._waiting.append(what)
        if self._owner != threading.get_ident():
            self._do()

    def _do(self) -> None:
        while self._waiting:
            try:
                what = self._waiting.popleft()
            except IndexError:  # another thread has done it
                return
            with contextlib.suppress(Exception):  # a log handler of the application's
                what()


@dataclass(frozen=True, slots=True)
class _Way:
    """What spans go through behind the encoder."""

    storage: Storage
    exporter: Exporter


class DurableSpanProcessor(SpanProcessor):
    """
    Exports spans over OTLP, through a spool on disk: an outage or a crash loses none of them.

    For any SDK provider: `provider.add_span_processor(DurableSpanProcessor())`. All is taken from
    the environment, or from *config*; keyword arguments win. They are named as the fields of
    `OtlpConfig` and `BatchConfig`, and *endpoint* is used as it is, path and all. Durations are in
    seconds. *spool_dir* "none": only memory. *durability* "strict": a span is in the spool when
    its `end()` returns, not 20 ms later. *meter_provider*: for the metrics, else the global one.

    Thread-safe. Nothing is opened and no thread is started before the first span; both start anew
    in a forked child. Raises `flowspan.ConfigError` for a wrong argument, and nothing later.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        endpoint: str | None = None,
        protocol: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        compression: str | None = None,
        certificate: str | None = None,
        client_key: str | None = None,
        client_certificate: str | None = None,
        insecure: bool | None = None,
        schedule_delay: float | None = None,
        max_queue_size: int | None = None,
        max_export_batch_size: int | None = None,
        export_timeout: float | None = None,
        spool_dir: str | None = None,
        spool_max_bytes: int | None = None,
        spool_max_age: float | None = None,
        durability: str | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        otlp = {
            "endpoint": endpoint,
            "headers": headers,
            "timeout": timeout,
            "compression": compression,
            "certificate": certificate,
            "client_key": client_key,
            "client_certificate": client_certificate,
            "insecure": insecure,
        }
        batch = {
            "schedule_delay": schedule_delay,
            "max_queue_size": max_queue_size,
            "max_export_batch_size": max_export_batch_size,
            "export_timeout": export_timeout,
        }
        spool = {
            "directory": spool_dir,
            "max_bytes": spool_max_bytes,
            "max_age": spool_max_age,
            "durability": durability,
        }
        self.config = _configured(config, protocol, otlp, batch, spool)
        self._transport = _transport(self.config.otlp)
        self._pid = os.getpid()
        self._strict = self.config.spool.durability == "strict"
        self._max_queue_size = self.config.batch.max_queue_size
        self._chunk = min(_CHUNK, self.config.batch.max_export_batch_size)
        self._way: _Way | None = None  # opened with the first span
        self.encodes_at_end = True  # spans of ours; a provider of ours says where it must not be
        self._record: Callable[[float, str], None] | None = None
        self._begin()
        self._register_exit()
        _live.add(self)
        observe(self, meter_provider)

    def _opened(self) -> _Way:
        """Under the lock. Storage and exporter, made when there is something for them."""
        if self._way is None:
            otlp, batch, spool = self.config.otlp, self.config.batch, self.config.spool
            directory = spool.directory or default_directory(otlp.endpoint, otlp.headers)
            storage = Storage(
                None if spool.directory == "none" else os.path.expanduser(directory),
                max_bytes=spool.max_bytes,
                max_age=spool.max_age,
                on_dropped=self._was_dropped,
                say=self._warn,
                adopts=False,  # that may take seconds, and the exporter has a thread for it
            )
            exporter = Exporter(
                storage,
                self._transport,
                name=otlp.shown_endpoint,
                timeout=min(otlp.timeout, batch.export_timeout),
                delay=batch.schedule_delay,
                max_spans=batch.max_export_batch_size,
                ledger=lambda: self._lock,
            )
            exporter.on_request = self._record
            self._way = _Way(storage, exporter)
        return self._way

    def _begin(self) -> None:
        """What a process starts with."""
        self._queue: deque[ReadableSpan | Encoded] = deque()
        self._open: dict[int, tuple[Span, float]] = {}  # by span id; not written down yet
        self._written: dict[int, bytes] = {}  # by span id: the store's key
        # whoever takes spans from one account to another has it: encodes, appends, counts
        self._lock = _Lock()
        self._counting = threading.RLock()
        self._rousing = threading.RLock()
        self._wake = threading.Event()
        self._asleep = True  # the thread waits for a span, or is not there yet
        self._thread: threading.Thread | None = None
        self._closed = False
        self._encoder = Encoder(on_failure=self._could_not_encode, max_bytes=REQUEST_BYTES)
        # of the queue; by the bytes of the spans that were encoded last, once there are any
        self._limit = min(_FIRST_LIMIT, self._max_queue_size)
        self._is_over = False  # nothing can be written any more
        self._ended = self._lost = 0
        self._dropped: Counter[str] = Counter()

    # ---- what the SDK calls

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        context = span.get_span_context()
        if context is None or not context.trace_flags.sampled or self._closed:
            return
        self._open[context.span_id] = span, time.monotonic()
        if self._strict:  # and again with the next tick, when it has its attributes
            with self._lock:
                self._write_down(context.span_id, span)
        if self._asleep:
            self._rouse()

    def on_end(self, span: ReadableSpan) -> None:
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        if self._closed:
            self._count_late(1)
            return
        self._open.pop(context.span_id, None)
        if type(span) is LightSpan and self.encodes_at_end:
            self._queue.append(self._encoded(span))
        else:
            self._queue.append(span)
        if self._strict or self._closed:  # closed since we looked
            self._drain()
        elif len(self._queue) > self._limit:
            self._drain(at_least=len(self._queue) - self._limit // 2)
        if self._asleep:
            self._rouse()

    def _encoded(self, span: LightSpan) -> Encoded | LightSpan:
        """
        A span of ours costs less to encode here, with all of it in the cache, than in the thread.

        One that cannot be encoded is tried there again, and counted.
        """
        try:
            encoded = self._encoder.encode_one(span)
        except Exception:  # noqa: BLE001 - on_end of the application
            return span
        size = len(encoded.data)
        if size * self._limit > _QUEUE_BYTES:  # larger than those before it
            self._limit = _QUEUE_BYTES // size
        return encoded

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """
        Send what has ended so far, now. True if the collector has taken it in that time.

        False if it has not: then it waits in the spool, and is not lost; and once if spans were
        lost since the last call.
        """
        deadline = time.monotonic() + timeout_millis / 1000
        with _FLUSH:
            if not self._closed:
                self._drain()
            way = self._way
            if way is None:
                return True
            if self._closed:
                return not way.storage.unsent()[0]
            flushed = way.exporter.flush(way.storage.mark(), deadline)
            return not self._has_lost() and flushed
        return False

    def shutdown(self) -> None:
        """As `close`, within 1.5 seconds."""
        with _EXIT:
            self.close()

    def close(self, timeout: float = EXIT_TIMEOUT) -> bool:
        """
        Write down what has ended, then try the network for *timeout* seconds. Twice is once.

        True if the collector has taken all of it; else the next process delivers it, or
        `flowspan drain`. Spans that end later are counted as dropped.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            was_closed, self._closed = self._closed, True
            self._drain()
            way = self._way
        if was_closed:
            return way is None or not way.storage.unsent()[0]
        done = True
        if way is not None:
            done = way.exporter.flush(way.storage.mark(), deadline, once=True)
            way.exporter.close(deadline)
        with self._lock:
            self._drain()  # what another thread has put there meanwhile
            self._is_over = True
            if way is not None:
                way.exporter.is_over = True
                if in_memory := way.storage.close():
                    self._was_dropped(in_memory, "at exit, from memory")
        self._wake.set()
        self._transport.close()
        _live.discard(self)
        atexit.unregister(self._at_exit)
        return not self._has_lost() and done

    def stats(self) -> DeliveryStats:
        """
        The figures so far, of one moment: each span that ended is in one of them.

        *ended* is *exported*, *rejected*, *parked*, *waiting*, *queued* and all that is *dropped*,
        as long as nothing of other processes lies in the spool.
        """
        is_ours = self._lock.acquire(timeout=1.0)  # it takes longer only if the disk hangs
        try:
            return self._figures()
        finally:
            if is_ours:
                self._lock.release()

    def _figures(self) -> DeliveryStats:
        way = self._way
        queued = len(self._queue)
        spans, size = way.storage.unsent() if way else (0, 0)
        counts = way.exporter.counts if way else Counts()
        return DeliveryStats(
            ended=self._ended + queued,
            exported=counts.exported,
            waiting=spans,
            waiting_bytes=size,
            queued=queued,
            queue_capacity=self._max_queue_size,
            inflight=way.exporter.inflight if way else 0,
            dropped=dict(self._dropped),
            rejected=counts.rejected,
            parked=counts.parked,
            requests=counts.requests,
            retries=counts.retries,
            failing=way.exporter.failing if way else False,
            last_error=counts.last_error,
            spool=way.storage.describe() if way else "",
        )

    def _has_lost(self) -> bool:
        """Whether spans that ended since the last call can never be delivered."""
        before, self._lost = self._lost, sum(self._dropped[reason] for reason in _LOST)
        return self._lost > before

    def on_request(self, record: Callable[[float, str], None]) -> None:
        """*record* gets the seconds of each request, and why it failed, or an empty text."""
        self._record = record

    # ---- the thread

    def _rouse(self) -> None:
        """Wake the thread, or start it: also when it has died, or was left behind by a fork."""
        with self._rousing:
            if not self._asleep:
                return
            self._asleep = False
            thread = self._thread
            if thread is not None and thread.is_alive():
                self._wake.set()
                return
            thread = threading.Thread(
                target=self._run, args=(self._wake,), name="flowspan-spool", daemon=True
            )
            self._thread = thread
            try:
                thread.start()
                return
            except RuntimeError as error:  # too many, or the interpreter ends: close() drains
                self._thread, self._asleep = None, True
                failure = error
        advice = "spans are exported at the next force_flush or shutdown"
        _guard.report("could not start the exporter thread", advice, failure)

    def _run(self, wake: threading.Event) -> None:
        try:
            while not self._closed:
                time.sleep(TICK)
                if not self._tick():
                    wake.wait()
                    wake.clear()
        finally:  # whatever has ended it: the next span starts another
            self._thread, self._asleep = None, True

    def _tick(self) -> bool:
        """One look at the queue; whether to look again soon."""
        with _TICK:
            self._drain()
            self._write_open()
        if self._queue or self._open:
            return True
        self._asleep = True
        if self._queue or self._open:  # in between, by somebody who saw us awake
            self._asleep = False
            return True
        return False

    def _drain(self, at_least: int = sys.maxsize) -> None:
        """Encode what is queued, *at_least* so many, and append it to the store."""
        with self._lock:
            if self._is_over:
                while late := self._next_chunk():
                    self._count_late(len(late))
                return
            drained = 0
            while drained < at_least and (spans := self._next_chunk()):
                drained += len(spans)
                with self._counting:
                    self._ended += len(spans)
                self._write(spans)
            if drained and not self._closed:
                try:
                    self._opened().exporter.appended()
                except Exception as error:  # noqa: BLE001 - counted and said
                    self._say(_SEND.failed, error)

    def _write(self, spans: list[ReadableSpan | Encoded]) -> None:
        """Under the lock. Never raises an Exception: on_end of the application may be waiting."""
        left = len(spans)
        try:
            storage = self._opened().storage
            batches = self._encoder.encode(spans, _breather())
            left = sum(batch.spans for batch in batches)  # the encoder has counted the others
            each = sum(len(batch.body) for batch in batches) // max(1, left) + 1
            self._limit = max(1, min(self._max_queue_size, _QUEUE_BYTES // each))
            for batch in batches:
                storage.append(batch.body, batch.spans)
                left -= batch.spans
            if self._written:
                for span in spans:
                    key = self._written.pop(_id_of(span), None)
                    if key is not None:
                        storage.closed(key)
        except Exception as error:  # noqa: BLE001 - counted and said
            self._count(left, "not written")
            self._say(_TICK.failed, error)

    def _next_chunk(self) -> list[ReadableSpan | Encoded]:
        chunk: list[ReadableSpan | Encoded] = []
        with contextlib.suppress(IndexError):
            while len(chunk) < self._chunk:
                chunk.append(self._queue.popleft())
        return chunk

    def _write_open(self) -> None:
        """Spans that have been open for a tick; younger ones mostly end before the next."""
        try:
            opened = list(self._open.items())
        except RuntimeError:  # it grew while the garbage collector ran
            return
        before = time.monotonic() - TICK / 2
        for span_id, (span, start) in opened:
            if start > before:
                continue
            with self._lock:
                if self._open.pop(span_id, None) is not None and not self._closed:
                    self._write_down(span_id, span)  # else it has ended

    def _write_down(self, span_id: int, span: Span) -> None:
        """Under the lock. That it is open, with what it has so far."""
        try:
            storage = self._opened().storage
            context = span.get_span_context()
            full = len(self._written) >= _MOST_OPEN and span_id not in self._written
            if context is None or full or storage.is_memory:
                return
            key = context.trace_id.to_bytes(16, "big") + span_id.to_bytes(8, "big")
            self._written[span_id] = key
            storage.opened(key, self._encoder.encode_open(span))
        except Exception as error:  # noqa: BLE001 - counted and said
            self._say(_OPEN.failed, error)

    # ---- what is said: never under the lock, a log handler may make spans

    def _say(self, say: Callable[..., None], *given: object) -> None:
        self._lock.after(partial(say, *given))

    def _warn(self, sentence: str) -> None:
        self._say(_guard.logger.warning, "%s", sentence)

    def _was_dropped(self, spans: int, reason: str) -> None:
        self._count(spans, reason)
        advice = "docs/delivery.md says what to do"
        self._say(_guard.report, f"spans were given up: {reason}", advice)

    def _could_not_encode(self, error: Exception) -> None:
        self._count(1, "not encoded")
        advice = "the span is lost, others are not; please report this"
        self._say(_guard.report, "could not encode a span", advice, error)

    def _count(self, dropped: int, reason: str) -> None:
        with self._counting:  # any thread may come, with any lock
            self._dropped[reason] += dropped

    def _count_late(self, spans: int) -> None:
        with self._counting:
            self._ended += spans
            self._dropped[_LATE] += spans

    # ---- fork and exit

    def _register_exit(self) -> None:
        atexit.unregister(self._at_exit)
        atexit.register(self._at_exit)
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None and sys.modules["multiprocessing"].parent_process():
            # a worker that was forked ends by os._exit, after these
            multiprocessing.Finalize(None, self._at_exit, exitpriority=0)

    def _at_exit(self) -> None:
        if self._pid == os.getpid():
            with _EXIT:
                self.close()

    def _before_fork(self) -> None:
        self._lock.acquire()
        if self._way is not None:
            self._way.storage.before_fork()

    def _after_fork_in_parent(self) -> None:
        if self._way is not None:
            self._way.storage.after_fork_in_parent()
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._pid = os.getpid()
        closed = self._closed
        self._begin()
        self._closed = self._is_over = closed
        self._transport.after_fork()
        if self._way is not None:
            self._way.storage.after_fork()
            self._way.exporter.after_fork()
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:  # a worker of its ends by os._exit
            multiprocessing.register_after_fork(self, DurableSpanProcessor._register_exit)


def _breather() -> Callable[[], None]:
    """
    Gives up the GIL, as long as that costs less than half a tick: then the spans are waiting.

    Threads that compute keep it for 5 ms each time, and what is not written yet is lost at a kill.
    """
    lost = 0.0

    def breathe() -> None:
        nonlocal lost
        if lost < TICK / 2:
            start = time.monotonic()
            time.sleep(0)
            lost += time.monotonic() - start

    return breathe


def _id_of(span: ReadableSpan | Encoded) -> int:
    if isinstance(span, Encoded):
        return span.span_id
    context = span.context
    return context.span_id if context is not None else 0


def _transport(otlp: OtlpConfig) -> Transport:
    """Certificates are read for each connection, so that they can be renewed; and once here."""
    if not otlp.insecure:
        try:
            context_for(otlp, [])
        except (OSError, ValueError) as error:
            raise ConfigError(f"{error}; expected certificates and a key in PEM") from error
    return make_transport(otlp)


def _configured(
    config: Config | None, protocol: str | None, *settings: Mapping[str, Any]
) -> Config:
    if config is None:
        env = dict(os.environ)
        if protocol is not None:  # before the rest: the default endpoint depends on it
            env["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = protocol
        config = Config.from_env(env)
        for problem in config.problems:
            _guard.logger.warning("%s", problem)
    given = [{k: v for k, v in each.items() if v is not None} for each in settings]
    otlp, batch, spool = given
    return replace(
        config,
        otlp=replace(config.otlp.speaking(protocol), **otlp),
        batch=replace(config.batch, **batch),
        spool=replace(config.spool, **spool),
    )


_TICK = _guard.guard("write spans to the spool", "they are lost; please report this")
_SEND = _guard.guard("begin to send", "spans wait until the next ones end")
_OPEN = _guard.guard("write down an open span", "a crash would lose it")
_FLUSH = _guard.guard("flush", "what was written waits in the spool")
_EXIT = _guard.guard("deliver spans at exit", "what was written waits in the spool")
_live: weakref.WeakSet[DurableSpanProcessor] = weakref.WeakSet()
_forking = threading.local()  # two threads may fork at once


def _before_fork() -> None:
    found: list[DurableSpanProcessor] | None = None
    while found is None:
        with contextlib.suppress(RuntimeError):  # another thread makes one just now
            found = sorted(_live, key=id)  # one order, or two forks wait for each other
    _forking.processors = found
    for processor in _forking.processors:
        processor._before_fork()


def _after_fork_in_parent() -> None:
    for processor in _forking.__dict__.pop("processors", ()):
        processor._after_fork_in_parent()


def _after_fork_in_child() -> None:
    for processor in _forking.__dict__.pop("processors", ()):
        processor._after_fork_in_child()
    for processor in list(_live):
        if processor._pid != os.getpid():  # another thread made it while this one was forking
            processor._after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
