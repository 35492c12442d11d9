"""
A processor's figures as metrics, under the names that the SDK gives its own.

Read when a meter provider collects, so that they cost a span nothing; but for the duration of a
request, which is recorded as it happens.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from flowspan import semconv
from flowspan._version import __version__

if TYPE_CHECKING:
    from flowspan.delivery._processor import DeliveryStats, DurableSpanProcessor

_PROCESSOR = "flowspan.delivery.DurableSpanProcessor"
_EXPORTERS = {"http/protobuf": "otlp_http_span_exporter", "grpc": "otlp_grpc_span_exporter"}
_number = itertools.count()

Attributes = dict[str, str]
Read = Callable[["DeliveryStats", Attributes, Attributes], Iterable[Observation]]


def _processed(
    stats: DeliveryStats, processor: Attributes, exporter: Attributes
) -> Iterator[Observation]:
    yield Observation(stats.ended, processor)
    for reason, count in stats.dropped.items():
        yield Observation(count, processor | {semconv.ERROR_TYPE: reason})


def _exported(
    stats: DeliveryStats, processor: Attributes, exporter: Attributes
) -> Iterator[Observation]:
    yield Observation(stats.exported, exporter)
    for reason, count in (("rejected", stats.rejected), ("parked", stats.parked)):
        if count:
            yield Observation(count, exporter | {semconv.ERROR_TYPE: reason})


_COUNTERS: dict[str, Read] = {
    semconv.METRIC_PROCESSED: _processed,
    semconv.METRIC_EXPORTED: _exported,
}
_UP_DOWN_COUNTERS: dict[str, Read] = {
    semconv.METRIC_QUEUE_SIZE: lambda s, processor, _: [Observation(s.queued, processor)],
    semconv.METRIC_QUEUE_CAPACITY: lambda s, processor, _: [
        Observation(s.queue_capacity, processor)
    ],
    semconv.METRIC_INFLIGHT: lambda s, _, exporter: [Observation(s.inflight, exporter)],
    semconv.METRIC_SPOOL_SPANS: lambda s, processor, _: [Observation(s.waiting, processor)],
    semconv.METRIC_SPOOL_BYTES: lambda s, processor, _: [Observation(s.waiting_bytes, processor)],
}


def observe(processor: DurableSpanProcessor, meter_provider: MeterProvider | None) -> None:
    """Offer the figures of *processor* to *meter_provider*, or to the global one once it is set."""
    meter = get_meter(semconv.SCOPE_NAME, __version__, meter_provider)
    number = next(_number)
    of_processor = _component(_PROCESSOR, number)
    of_exporter = _component(_EXPORTERS[processor.config.otlp.protocol], number)
    watched = weakref.ref(processor)

    def callback(read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def collect(options: CallbackOptions) -> Iterable[Observation]:
            alive = watched()
            return () if alive is None else read(alive.stats(), of_processor, of_exporter)

        return collect

    def unit(name: str) -> str:
        return "By" if name == semconv.METRIC_SPOOL_BYTES else "{span}"

    for name, read in _COUNTERS.items():
        meter.create_observable_counter(name, [callback(read)], unit(name))
    for name, read in _UP_DOWN_COUNTERS.items():
        meter.create_observable_up_down_counter(name, [callback(read)], unit(name))
    duration = meter.create_histogram(semconv.METRIC_OPERATION_DURATION, "s")

    def record(seconds: float, error_type: str) -> None:
        error = {semconv.ERROR_TYPE: error_type} if error_type else {}
        duration.record(seconds, of_exporter | error)

    processor.on_request(record)


def _component(kind: str, number: int) -> Attributes:
    return {semconv.OTEL_COMPONENT_TYPE: kind, semconv.OTEL_COMPONENT_NAME: f"{kind}/{number}"}
