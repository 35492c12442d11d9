"""
What it costs to make OTLP bytes of spans, against OpenTelemetry's own encoder. A quarter minute.

Spans are flowspan's own: runs of ten components, each with 1 KiB of nested JSON in and out, two
logs and a link to its predecessor. Rounds are interleaved and each figure is a median of ratios
within a round. CPU time of the thread: what others do while it gives up the GIL is not its own.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

from core import COMPONENTS, PAYLOADS, line
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

import flowspan
from flowspan.delivery._encoder import Encoder
from flowspan.pipeline import make_provider

SPANS = 512  # the stock processor's batch
ROUNDS = 41


class Kept(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def flowspan_spans(number: int) -> list[ReadableSpan]:
    kept = Kept()
    config = flowspan.Config()
    pipeline = flowspan.configure(config, tracer_provider=make_provider(config, [kept]))
    service = flowspan.TracingService()

    async def one_run(run: int) -> None:
        await service.start_tracers(f"run-{run:032x}", "bench", "user", f"session-{run:028x}")
        for i in range(COMPONENTS):
            name = f"C{i} (c-{i})"
            edges = [flowspan.Edge(f"c-{i - 1}", "out", "in")] if i else []
            component = flowspan.Component(f"c-{i}", f"C{i}", edges=edges)
            async with service.trace_component(component, name, PAYLOADS[i]):
                for log in ("first", "second"):
                    message = {"name": log, "message": f"{log} line of {i}", "type": "text"}
                    service.add_log(name, message)
                service.set_outputs(name, PAYLOADS[COMPONENTS + i])
        await service.end_tracers({})

    async def main() -> None:
        run = 0
        while len(kept.spans) < number:
            run += 1
            await asyncio.create_task(one_run(run))

    asyncio.run(main())
    pipeline.shutdown()
    return kept.spans[:number]


def bare_spans(number: int) -> list[ReadableSpan]:
    """As an instrumentation makes them: a dozen short attributes, no payload, no event."""
    kept = Kept()
    tracer = make_provider(flowspan.Config(), [kept]).get_tracer("http", "1")
    for i in range(number):
        attributes = {
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "url.full": f"https://example.org/things/{i}?page={i % 7}",
            "url.scheme": "https",
            "server.address": "example.org",
            "server.port": 443,
            "network.protocol.version": "1.1",
            "user_agent.original": "python-httpx/0.28.1",
        }
        tracer.start_span("GET", attributes=attributes).end()
    return kept.spans


def microseconds(
    work: Callable[[Sequence[ReadableSpan]], object], spans: list[ReadableSpan]
) -> float:
    """CPU of one call, per span."""
    start = time.thread_time()
    work(spans)
    return (time.thread_time() - start) / len(spans) * 1e6


def stock(spans: Sequence[ReadableSpan]) -> bytes:
    return encode_spans(spans).SerializeToString()


def main() -> None:
    print("| figure | median | quartiles | must |\n|---|---|---|---|")
    shapes = (("flowspan's spans", flowspan_spans), ("spans of an HTTP client", bare_spans))
    for name, make in shapes:
        spans = make(SPANS)
        encoder = Encoder()
        body = b"".join(batch.body for batch in encoder.encode(spans))
        assert ExportTraceServiceRequest.FromString(body) == encode_spans(spans)
        works = (partial(encoder.encode, breathe=lambda: None), encoder.encode, stock)
        costs = [[microseconds(work, spans) for work in works] for _ in range(ROUNDS)]
        line(f"{name}: flowspan / stock", [ours / theirs for ours, _, theirs in costs], "0.30")
        line(f"{name}: giving up the GIL, too", [ours / theirs for _, ours, theirs in costs])
        ours, _, theirs = (statistics.median(column) for column in zip(*costs, strict=True))
        size = len(body) // SPANS
        print(f"| µs for one of {size} bytes: flowspan, stock | {ours:.1f}, {theirs:.1f} | | |")


if __name__ == "__main__":
    main()
