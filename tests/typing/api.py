"""The public API as a user writes it; checked by mypy and pyright, never run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import loguru
import structlog
from opentelemetry.trace import TracerProvider

import flowspan
from flowspan import propagation
from flowspan.testing import RecordedSpan, RecordedSpans, Tree, recording


def setup(provider: TracerProvider) -> None:
    pipeline = flowspan.configure()
    pipeline = flowspan.configure(flowspan.Config.from_env({}), tracer_provider=provider)
    flushed: bool = pipeline.force_flush(timeout=5.0)
    stopped: bool = pipeline.shutdown(timeout=5.0)
    exported: int = pipeline.stats().exported
    print(flushed, stopped, exported)


async def engine() -> None:
    service = flowspan.TracingService()
    await service.start_tracers("r-1", "Support bot", user_id=None, session_id="s-1")
    prompt = flowspan.Component("Prompt-1", "Prompt", "prompt", edges=[flowspan.Edge("Input-1")])
    async with service.trace_component(prompt, "Prompt (Prompt-1)", {"question": "?"}):
        service.add_log("Prompt (Prompt-1)", {"name": "n", "message": "m", "type": "text"})
        service.set_outputs("Prompt (Prompt-1)", {"text": "!"})
    await service.end_tracers({}, error=None)


async def sugar() -> None:
    with flowspan.run("Support bot", session_id="s-1", inputs="?", tags=["a"]) as run:
        run.set_outputs("!")
        with flowspan.component("Prompt", type="prompt", inputs={"a": 1}) as component:
            component.add_log("line")
            component.set_usage(input_tokens=1, output_tokens=2, model="m")
    async with flowspan.run("again"), flowspan.component("B"):
        link: str | None = flowspan.trace_url() or flowspan.trace_url("run-7")
        current: flowspan.TraceContext | None = flowspan.current_run()
        inner: flowspan.ComponentTraceContext | None = flowspan.current_component()
        print(current, inner, link)


@flowspan.run
def plain(question: str) -> int:
    return len(question)


@flowspan.component("Search", type="tool")
async def search(query: str) -> list[str]:
    return [query]


@flowspan.component
def items() -> Iterator[int]:
    yield 1


@flowspan.component
async def chunks() -> AsyncIterator[str]:
    yield "a"


def logged() -> None:
    logging.basicConfig(format="%(message)s %(trace_id)s")
    flowspan.logs.correlate()
    flowspan.logs.correlate(logging.StreamHandler())
    logging.getLogger().addHandler(flowspan.logs.SpanHandler(logging.DEBUG))
    logging.getLogger().addFilter(flowspan.logs.ContextFilter())
    structlog.configure(
        processors=[flowspan.logs.structlog_processor, structlog.processors.JSONRenderer()]
    )
    loguru.logger.configure(patcher=flowspan.logs.loguru_patcher)
    found: dict[str, str] = flowspan.logs.fields()
    print(found)


def test_runs(flowspan_spans: RecordedSpans) -> None:
    with recording() as spans:
        name: str = spans.named("Prompt").name
    tree: dict[str, Tree] = flowspan_spans.tree()
    assert tree == {"Support bot": {"Prompt": {}}}
    runs: list[RecordedSpan] = flowspan_spans.runs("Support bot")
    status, inputs = runs[0].status, runs[0].inputs
    flowspan_spans.tracer_provider.get_tracer("shop")
    flowspan_spans.advance(1.5)
    left: list[str] = flowspan_spans.end_open()
    print(name, status, inputs, left)


def wrong() -> None:
    """Names are imported when they are asked for, and yet only those that there are."""
    _ = flowspan.configur  # type: ignore[attr-defined]


def use() -> None:
    length: int = plain("?")
    found: list[str] = asyncio.run(search("?"))
    with ThreadPoolExecutor() as executor:
        length = executor.submit(propagation.carry(plain), "?").result()
    headers: dict[str, str] = {}
    propagation.inject(headers)
    with propagation.extract(headers):
        print(length, found, list(items()))
