"""
Config -> TracerProvider: ours, or the one that is already there; `force_flush` and `shutdown`.

Nothing starts at import: the pipeline opens with the first run or an explicit `configure()`. The
SDK is imported then, and only if a provider of ours is needed. Finished spans leave by `_WayOut`:
through `flowspan.delivery` over OTLP, and through the SDK's processors for other exporters.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import NoOpTracer, Tracer, TracerProvider

from flowspan import _guard, _links, semconv
from flowspan._config_parse import OTLP_EXPORTERS
from flowspan._payload import clean
from flowspan._spans import Spans, end_all_open, open_runs
from flowspan._version import __version__
from flowspan.config import BatchConfig, Config, ConfigError
from flowspan.context import ROOT_TRACE_ID

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

    from flowspan.delivery import DeliveryStats, DurableSpanProcessor

logger = logging.getLogger("flowspan")

DEFAULT_SERVICE_NAME = "flowspan"
_DROPS_OURS = ("lfx.observability",)  # sets a provider that exports its own scopes only


@dataclass(frozen=True, slots=True)
class Stats:
    """What has become of the spans of our own provider, and what went wrong in this process."""

    ended: int
    """Spans that ended and were sampled."""
    exported: int
    """Spans that a collector has acknowledged, or that another exporter has taken."""
    waiting: int
    """Spans on their way to a collector: in the spool, in memory, or being sent."""
    failed: int
    """Spans that were given up: dropped, rejected, set aside, or failed by another exporter."""
    reports: Mapping[str, int]
    """Failures of ours and misuse, by kind; each was logged once."""
    delivery: tuple[DeliveryStats, ...] = ()
    """Each OTLP exporter's own figures, with reasons."""


class Pipeline:
    """
    Where spans come from and go to. Made by `configure()`. Thread-safe.

    One provider rule: a provider that is set is used and nothing is added to it; if none is set
    and an exporter is configured, or `configure()` was called, we build ours; otherwise nothing is
    recorded and contexts still propagate. The rule is asked at each run. In Langflow and lfx, whose
    own provider drops all spans but its own, ours stands beside it, whoever uses flowspan first.
    """

    def __init__(
        self,
        config: Config,
        tracer_provider: TracerProvider | None = None,
        *,
        explicit: bool = True,
    ) -> None:
        self.config = config
        self.explicit = explicit
        self.spans = Spans(config, self.tracer)
        self._given = tracer_provider
        self._own: SdkTracerProvider | None = None
        self._own_failed = False
        self._way_out = _WayOut()
        self._closed = False
        self._lock = threading.RLock()
        self._seen: TracerProvider | None = None
        self._tracer: Tracer = NoOpTracer()

    # ---- the provider rule

    def tracer(self) -> Tracer:
        """The tracer for the next run: by the provider rule, as things are now."""
        provider = self._provider()
        if provider is not self._seen:
            tracer: Tracer = NoOpTracer()
            if provider is not None:
                tracer = provider.get_tracer(
                    semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL
                )
            self._tracer, self._seen = tracer, provider
            return tracer
        return self._tracer

    def _provider(self) -> TracerProvider | None:
        if self.config.disabled or self._closed:
            return None
        if self._given is not None:
            return self._given
        if self.config.export != "always" and not self._beside():
            there = _provider_that_is_set()
            if there is not None:
                return there
        if self.config.export == "never":
            return None
        if self._own is None and not self._own_failed and self._wanted():
            self._build()
        return self._own or _provider_that_is_set()

    def _wanted(self) -> bool:
        return (
            self.explicit
            or self.config.exporter_configured
            or self.config.config_file is not None
            or self.config.export == "always"
        )

    def _beside(self) -> bool:
        """Whether ours stands beside whichever provider is set, because theirs is no way out."""
        in_such_a_host = any(module in sys.modules for module in _DROPS_OURS)
        return in_such_a_host and self.config.export == "auto" and self._wanted()

    def _build(self) -> None:
        with self._lock:
            if self._own is not None or self._own_failed or self._closed:
                return  # another thread was faster
            try:
                if self.config.config_file is not None and _declared(self.config.config_file):
                    self._own_failed = True  # the file's provider is the global one now
                    return
                own = make_provider(self.config, self._way_out.open(self.config))
            except Exception as error:
                self._own_failed = True
                if self.explicit:
                    raise ConfigError(f"could not build the pipeline: {error}") from error
                advice = f"nothing is exported: {error}"
                _guard.report("could not build the pipeline", advice, error)
                return
            self._own = own
            # before the processors' own: what is open ends first
            atexit.unregister(self._at_exit)
            atexit.register(self._at_exit)
        if self.config.set_global and _provider_that_is_set() is None:
            if trace.get_tracer_provider() in _retired:
                logger.warning(
                    "FLOWSPAN_SET_GLOBAL: the global provider is one that was shut down and cannot "
                    "be replaced in this process; flowspan's own spans are exported, others are not"
                )
            else:
                trace.set_tracer_provider(own)

    # ---- its life

    def start(self) -> None:
        """Say the problems of the configuration, once, and be ready for the first run."""
        for problem in self.config.problems:
            logger.warning("%s", problem)
        names = self.config._exporter_misunderstood
        if names and not (self._wanted() or self.config.disabled or self.config.export == "never"):
            logger.warning(
                "%s: not understood, so nothing says where spans go: flowspan exports none",
                ", ".join(names),
            )
        if self.config.log_level is not None:
            for name in ("opentelemetry", "flowspan"):
                logging.getLogger(name).setLevel(self.config.log_level)
        _links.be_ready(self.config)
        self.tracer()
        atexit.register(self._at_exit)

    def link_template(self) -> str | None:
        """What `flowspan.trace_url` fills in; for spans of another's provider only what was set."""
        exports = self._own is not None or self.config.exporter_configured
        return _links.template(self.config, exports=exports)

    def force_flush(self, timeout: float = 5.0) -> bool:
        """
        Export what has ended. True if that is done within *timeout* seconds.

        In somebody else's pipeline their processors are flushed, if they can be.
        """
        provider = self._provider()
        if provider is not None and provider is self._own:
            return self._way_out.force_flush(timeout)
        flush = getattr(provider, "force_flush", None)
        if not callable(flush):
            return True
        return _within(timeout, lambda: flush(max(1, int(timeout * 1000))))

    def shutdown(self, timeout: float = 5.0) -> bool:
        """
        End what is open, export what has ended, stop our thread. True if done in *timeout* seconds.

        What could not be exported waits in the spool for the next process. Runs after it record
        nothing until a new `configure()`. Twice is once. Somebody else's provider is flushed,
        never shut down.
        """
        with self._lock:
            if self._closed:
                return True
        with _END_ALL:
            end_all_open(self.spans)
        done = True if self._own is not None else self.force_flush(timeout)
        with self._lock:
            own, self._own, self._closed = self._own, None, True
        atexit.unregister(self._at_exit)
        if own is not None:
            _retired.add(own)
            done = self._way_out.close(timeout)
            own.shutdown()
        return done

    def stats(self) -> Stats:
        """The figures so far."""
        return self._way_out.stats()

    def _at_exit(self) -> None:
        if self._closed:
            return
        with _END_ALL:
            end_all_open(self.spans)
        if self._own is not None:
            from flowspan.delivery import EXIT_TIMEOUT

            self._way_out.close(EXIT_TIMEOUT)
            self._own.shutdown()


def _provider_that_is_set() -> TracerProvider | None:
    provider = trace.get_tracer_provider()
    unset = isinstance(provider, trace.ProxyTracerProvider) or provider in _retired
    return None if unset else provider


def _within(timeout: float, work: Callable[[], object]) -> bool:
    """Whether *work* is done, and not False, in *timeout* seconds; it may go on behind."""
    result: list[object] = []
    thread = threading.Thread(
        target=lambda: result.append(work()), name="flowspan-flush", daemon=True
    )
    try:
        thread.start()
    except RuntimeError:  # Python 3.12 and later start none at exit
        return work() is not False
    thread.join(timeout)
    return bool(result) and result[0] is not False


# ---- the one pipeline of the process

# Re-entrant, all of them: the garbage collector may run the application's code under them.
_lock = threading.RLock()
_pipeline: Pipeline | None = None
_retired: weakref.WeakSet[TracerProvider] = weakref.WeakSet()
_stand_in: Callable[[Config | None], Pipeline] | None = None  # what a test gets instead


def configure(
    config: Config | None = None, *, tracer_provider: TracerProvider | None = None
) -> Pipeline:
    """
    Open the pipeline: all from `os.environ`, or from *config*. Twice is once.

    *tracer_provider*: use this one, whatever is set globally, and add nothing to it.
    Raises ConfigError for a wrong argument, for a pipeline that cannot be built, and if another
    configuration is in force (call `shutdown()` on its pipeline first). Thread-safe.
    """
    global _pipeline
    if config is not None and not isinstance(config, Config):
        raise ConfigError(f"config={config!r}: expected a flowspan.Config or None")
    if tracer_provider is not None and not isinstance(tracer_provider, TracerProvider):
        raise ConfigError(
            f"tracer_provider={tracer_provider!r}: expected an opentelemetry TracerProvider or None"
        )
    if _stand_in is not None:
        return _stand_in(config)
    with _lock:
        before = _pipeline
        if before is not None and not before._closed and before.explicit:
            same_config = config is None or config == before.config
            same_provider = tracer_provider is None or tracer_provider is before._given
            if same_config and same_provider:
                return before
            raise ConfigError(
                "configure() was called before with other arguments: "
                "expected the same, or shutdown() of that pipeline first"
            )
        config = config or Config.from_env()
        opened = before is not None and not before._closed and tracer_provider is None
        if opened and before is not None and config == before.config:
            before.explicit = True  # the first run had opened the very same
            before._own_failed = False
            before.tracer()
            return before
        pipeline = Pipeline(config, tracer_provider)
        pipeline.start()
        _pipeline = pipeline
    if before is not None and not before._closed and not open_runs(before.spans):
        before.shutdown()  # one that the first run had opened; with open runs it stays to the exit
    return pipeline


def current_pipeline() -> Pipeline:
    """The pipeline in force; opened from the environment if there is none. Never raises."""
    global _pipeline
    pipeline = _pipeline
    if pipeline is None:
        with _lock:
            if _pipeline is None:
                opened = Pipeline(Config.from_env(), explicit=False)
                with _OPEN:
                    opened.start()
                _pipeline = opened
            pipeline = _pipeline
    return pipeline


def pipeline_in_force() -> Pipeline | None:
    """The one that is open, if any; opens none."""
    pipeline = _pipeline
    return None if pipeline is None or pipeline._closed else pipeline


def _after_fork_in_child() -> None:
    """Another thread of the parent may have held a lock; the counts are the parent's."""
    global _lock
    _lock = threading.RLock()
    if _pipeline is not None:
        _pipeline._lock = threading.RLock()
        _pipeline._way_out.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)

_END_ALL = _guard.guard("end what was open at shutdown")
_OPEN = _guard.guard("open the pipeline", "nothing is exported; check the configuration")


# ---- our provider


def make_provider(
    config: Config,
    processors: Sequence[SpanProcessor],
    id_generator: IdGenerator | None = None,
) -> SdkTracerProvider:
    """A provider of ours with *processors*: sampler, resource, limits and trace ids by *config*."""
    _import_sdk()
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    from flowspan._light_tracer import LightTracerProvider

    class RunIdGenerator(RandomIdGenerator):
        """Random ids, but for the root span of a run: its trace id comes from its run id."""

        def generate_trace_id(self) -> int:
            return ROOT_TRACE_ID.get() or super().generate_trace_id()

    attributes = {clean(k): clean(v) for k, v in config.resource_attributes.items()}
    attributes[semconv.SERVICE_NAME] = (
        clean(config.service_name or "")
        or attributes.get(semconv.SERVICE_NAME)
        or DEFAULT_SERVICE_NAME
    )
    limits = {
        name: SpanLimits.UNSET if limit is None else limit
        for name, limit in asdict(config.limits).items()
    }
    provider = LightTracerProvider(
        sampler=_sampler(config),
        resource=Resource.create(dict(attributes)),
        id_generator=id_generator or RunIdGenerator(),
        span_limits=SpanLimits(**limits),
    )
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def _import_sdk() -> None:
    try:
        import opentelemetry.sdk.trace
    except ValueError:  # it reads its limits at import, and a wrong one raises there
        hidden = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
        for name in hidden:
            del os.environ[name]
        try:
            import opentelemetry.sdk.trace  # noqa: F401
        finally:
            os.environ.update(hidden)


def _declared(path: str) -> bool:
    """Build what the file of `OTEL_CONFIG_FILE` declares; False if that cannot be done."""
    try:
        from opentelemetry.configuration import configure_sdk, load_config_file
    except ImportError:
        logger.warning(
            "OTEL_CONFIG_FILE=%r: expected the package opentelemetry-configuration to be "
            "installed; the other variables are used",
            path,
        )
        return False
    configure_sdk(load_config_file(path))
    return True


def _sampler(config: Config) -> Sampler:
    from opentelemetry.sdk.trace import sampling

    wants_ratio = config.sampler.endswith("traceidratio")
    ratio = float(config.sampler_arg) if wants_ratio and config.sampler_arg else 1.0
    built_in: dict[str, Callable[[], Sampler]] = {
        "always_on": lambda: sampling.ALWAYS_ON,
        "always_off": lambda: sampling.ALWAYS_OFF,
        "traceidratio": lambda: sampling.TraceIdRatioBased(ratio),
        "parentbased_always_on": lambda: sampling.DEFAULT_ON,
        "parentbased_always_off": lambda: sampling.DEFAULT_OFF,
        "parentbased_traceidratio": lambda: sampling.ParentBasedTraceIdRatio(ratio),
    }
    make = built_in.get(config.sampler)
    if make is not None:
        return make()
    sampler: Sampler = _entry_point("opentelemetry_traces_sampler", config.sampler)(
        config.sampler_arg
    )
    return sampler


def _entry_point(group: str, name: str) -> Any:
    from importlib.metadata import entry_points

    for entry in entry_points(group=group, name=name):
        return entry.load()
    raise ConfigError(f"{name!r}: expected a name that a package offers as {group}")


# ---- the way out


class _WayOut:
    """The processors that take finished spans away: one for each exporter of a `Config`."""

    def __init__(self) -> None:
        self._durable: list[DurableSpanProcessor] = []
        self._others: list[SpanProcessor] = []
        self.after_fork()

    def after_fork(self) -> None:
        """In the child: the counts were the parent's."""
        self._ended = self._exported = self._failed = 0
        self._lock = threading.RLock()

    def open(self, config: Config) -> list[SpanProcessor]:
        """Raises what an exporter's constructor raises."""
        _import_sdk()
        from flowspan.delivery import DurableSpanProcessor

        for name in config.exporters:
            if name in OTLP_EXPORTERS:
                protocol = OTLP_EXPORTERS[name]
                self._durable.append(DurableSpanProcessor(config, protocol=protocol))
            else:
                self._others.append(self._other(name, config.batch))
        if self._others and not self._durable:  # which counts by itself
            return [self._counting(), *self._others]
        return [*self._durable, *self._others]

    def force_flush(self, timeout: float) -> bool:
        return self._all(timeout, lambda p, left: p.force_flush(max(1, int(left * 1000))))

    def close(self, timeout: float) -> bool:
        """The others are shut down by their provider; here they are flushed, in the time given."""
        return self._all(
            timeout,
            lambda p, left: (
                p.close(left) if p in self._durable else p.force_flush(int(left * 1000))
            ),
        )

    def _all(self, timeout: float, work: Callable[[Any, float], object]) -> bool:
        """Whether *work* is done for each processor, and none failed, in *timeout* seconds."""
        deadline = time.monotonic() + timeout
        failed = self._failed
        done = True
        for processor in self._durable:  # they keep their time by themselves
            done = bool(work(processor, max(0.0, deadline - time.monotonic()))) and done
        for other in self._others:
            left = max(0.001, deadline - time.monotonic())
            done = _within(left, partial(work, other, left)) and done
        return done and self._failed == failed

    def stats(self) -> Stats:
        each = tuple(processor.stats() for processor in self._durable)
        given_up = sum(sum(s.dropped.values()) + s.rejected + s.parked for s in each)
        return Stats(
            ended=each[0].ended if each else self._ended,
            exported=self._exported + sum(s.exported for s in each),
            waiting=sum(s.waiting + s.queued for s in each),
            failed=self._failed + given_up,
            reports=_guard.counts(),
            delivery=each,
        )

    def _counting(self) -> SpanProcessor:
        from opentelemetry.sdk.trace import SpanProcessor

        way_out = self

        class Counting(SpanProcessor):
            def on_end(self, span: Any) -> None:
                with way_out._lock:
                    way_out._ended += 1

        return Counting()

    def _other(self, name: str, batch: BatchConfig) -> SpanProcessor:
        """What the SDK, or a package that registers exporters, offers under *name*."""
        from opentelemetry.sdk.trace.export import (
            BatchSpanProcessor,
            ConsoleSpanExporter,
            SimpleSpanProcessor,
        )

        if name == "console":
            return SimpleSpanProcessor(self._counted(ConsoleSpanExporter()))
        exporter = _entry_point("opentelemetry_traces_exporter", name)()
        return BatchSpanProcessor(
            self._counted(exporter),
            max_queue_size=batch.max_queue_size,
            schedule_delay_millis=batch.schedule_delay * 1000,
            max_export_batch_size=batch.max_export_batch_size,
            export_timeout_millis=batch.export_timeout * 1000,
        )

    def _counted(self, exporter: SpanExporter) -> SpanExporter:
        from opentelemetry.sdk.trace.export import SpanExportResult

        export = exporter.export

        def export_and_count(spans: Any) -> Any:
            result = export(spans)
            with self._lock:
                if result is SpanExportResult.SUCCESS:
                    self._exported += len(spans)
                else:
                    self._failed += len(spans)
            return result

        exporter.export = export_and_count  # type: ignore[method-assign]
        return exporter
