"""One span, made and encoded as flowspan's own pipeline does it for an application."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from flowspan import semconv
from flowspan._version import __version__
from flowspan.config import Config

NAME = "flowspan doctor"


class TestSpan(NamedTuple):
    """*body* is a whole request; the ids are in hex."""

    body: bytes
    trace_id: str
    span_id: str
    service: str


def make(config: Config) -> TestSpan:
    """With the resource of *config*; sampled, whatever the sampler says. Raises as the SDK does."""
    from opentelemetry.sdk.trace import ReadableSpan

    from flowspan.delivery._encoder import Encoder
    from flowspan.pipeline import make_provider

    provider = make_provider(replace(config, sampler="always_on", sampler_arg=None), [])
    tracer = provider.get_tracer(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)
    span = tracer.start_span(NAME)
    span.end()
    assert isinstance(span, ReadableSpan)
    context = span.get_span_context()
    (batch,) = Encoder().encode([span])
    service = str(span.resource.attributes.get(semconv.SERVICE_NAME, ""))
    return TestSpan(batch.body, f"{context.trace_id:032x}", f"{context.span_id:016x}", service)
