"""
The SDK's provider with a tracer whose spans are light.

Sampler, resource, limits, id generator and processors are the SDK's and do what they do there; so
does everything that is not said here. Where the SDK counts its spans itself, or is told to do
nothing, its own tracer is used. Leans on `_light_span` and on public seams of the SDK.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.environment_variables import OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.util import types

from flowspan._light_span import LightSpan, Recorder

_FLAGS: Final = tuple(TraceFlags(bits) for bits in range(4))


class LightTracerProvider(sdk.TracerProvider):
    """The SDK's `TracerProvider`; its spans are `LightSpan`s. Not shut down at exit by itself."""

    def __init__(
        self,
        *,
        sampler: Sampler,
        resource: Resource,
        id_generator: IdGenerator,
        span_limits: SpanLimits,
    ) -> None:
        self._limits = span_limits
        self._light: dict[trace.Tracer, LightTracer] = {}
        self._encoding: list[Any] = []
        super().__init__(
            sampler=sampler,
            resource=resource,
            shutdown_on_exit=False,
            id_generator=id_generator,
            span_limits=span_limits,
        )

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """
        One that sees spans at their end may do something to them there.

        So those before it that would encode them at once, by `encodes_at_end`, do it later.
        """
        super().add_span_processor(span_processor)
        if hasattr(span_processor, "encodes_at_end"):
            self._encoding.append(span_processor)
        elif type(span_processor).on_end is not SpanProcessor.on_end:
            for processor in self._encoding:
                processor.encodes_at_end = False

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: types.Attributes = None,
    ) -> trace.Tracer:
        tracer = super().get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url, attributes
        )
        if not isinstance(tracer, sdk.Tracer) or _counts_spans():
            return tracer
        found = self._light.get(tracer)
        if found is None:  # the SDK keeps one for each scope, and so its spans share one
            info = tracer.instrumentation_info
            scope = InstrumentationScope(info.name, info.version, info.schema_url, attributes)
            made = LightTracer(self, tracer, scope, self._limits)
            found = self._light.setdefault(tracer, made)
        return found


class LightTracer(sdk.Tracer):
    """Starts spans as the SDK's tracer does. Thread-safe."""

    def __init__(
        self,
        provider: LightTracerProvider,
        tracer: sdk.Tracer,
        scope: InstrumentationScope,
        limits: SpanLimits,
    ) -> None:
        super().__init__(
            tracer.sampler,
            tracer.resource,
            tracer.span_processor,
            tracer.id_generator,
            tracer.instrumentation_info,
            limits,
            scope,
        )
        self._provider = provider
        self._recorder = Recorder(
            limits,
            tracer.span_processor,
            scope,
            tracer.instrumentation_info,
            limits.max_span_attributes,
            limits.max_span_attribute_length is None,
            getattr(tracer.span_processor, "_on_ending", _nothing),  # private there, for now
        )

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        parent: Any = trace.get_current_span(context).get_span_context()
        if parent is not None and not isinstance(parent, SpanContext):
            raise TypeError("parent_span_context must be a SpanContext or None.")
        ids = self.id_generator
        if parent is None or not parent.is_valid:
            parent = None
            trace_id = ids.generate_trace_id()
            is_random = ids.is_trace_id_random()
        else:
            trace_id = parent.trace_id
            is_random = parent.trace_flags.random_trace_id
        sampled = self.sampler.should_sample(context, trace_id, name, kind, attributes, links or ())
        decision = sampled.decision
        flags = TraceFlags.SAMPLED if decision is Decision.RECORD_AND_SAMPLE else TraceFlags.DEFAULT
        if is_random:
            flags |= TraceFlags.RANDOM_TRACE_ID
        span_context = SpanContext(
            trace_id,
            ids.generate_span_id(),
            is_remote=False,
            trace_flags=_FLAGS[flags],
            trace_state=sampled.trace_state,
        )
        if decision is Decision.DROP:
            return NonRecordingSpan(span_context)
        span = LightSpan(
            name,
            span_context,
            parent,
            kind,
            self._recorder,
            self._provider.resource,  # which a fork changes
            sampled.attributes,
            links,
            start_time,
            (record_exception, set_status_on_exception),
        )
        self.span_processor.on_start(span, parent_context=context)
        return span


def _nothing(span: sdk.Span) -> None:
    """What a processor does that is not told of an ending."""


def _counts_spans() -> bool:
    """Whether the SDK's own metrics of spans are wanted."""
    value = os.environ.get(OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED, "")
    return value.strip().lower() == "true"
