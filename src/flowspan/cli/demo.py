"""
`flowspan demo`: four flows that run at once, seen in Jaeger or, without a collector, right here.

Uses flowspan as an application would, by its public names. `view` draws.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rich.console import Console
from rich.text import Text

import flowspan
from flowspan.cli.view._analysis import summarise
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._protobuf import spans_of
from flowspan.cli.view._stored import Store
from flowspan.cli.view._text import ASCII, UNICODE
from flowspan.cli.view._tree import Tree
from flowspan.config import SpoolConfig
from flowspan.delivery._encoder import Encoder
from flowspan.delivery._transport import Verdict, make_transport
from flowspan.pipeline import make_provider

_PROBE_TIMEOUT = 1.0
_SAMPLED_OUT = "OTEL_TRACES_SAMPLER, or the flags of TRACEPARENT, let no trace through"


def show(jaeger_url: str) -> None:
    """Run the demo and print what became of it. Raises nothing for a wrong configuration."""
    console = Console(highlight=False, markup=False, emoji=False)
    config = flowspan.Config.from_env()
    for problem in config.problems:
        _say(console, problem)
    if config.disabled:
        _say(
            console,
            "Tracing is switched off by OTEL_SDK_DISABLED or LANGFLOW_DEACTIVATE_TRACING: "
            "nothing to show",
        )
        return
    # The demo's spans are its own: whatever else is set up, they go where the demo says.
    # One exporter, or each span would count twice.
    exporters = tuple(name for name in config.exporters if name.startswith("otlp"))[:1]
    ours = replace(
        config,
        problems=(),
        config_file=None,
        export="always",
        log_level=None,
        exporters=exporters or config.exporters,
        spool=SpoolConfig(directory="none"),  # what others have left there is not the demo's
    )
    for name in ("opentelemetry", "flowspan"):  # we say it ourselves
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    where = config.otlp.shown_endpoint
    if not any(name.startswith("otlp") for name in config.exporters):
        _say(console, "OTEL_TRACES_EXPORTER names no collector: showing the traces here")
    elif config.export == "never":
        _say(console, "FLOWSPAN_EXPORT is never: showing the traces here")
    elif trouble := _trouble(config):
        _say(console, f"No collector answers at {where} ({trouble}): showing the traces here")
    else:
        try:
            pipeline = flowspan.configure(ours)
        except flowspan.ConfigError as error:
            _say(console, f"{error}: showing the traces here")
        else:
            _export(console, pipeline, where, jaeger_url)
            return
    _draw(console, ours)


def _export(console: Console, pipeline: flowspan.Pipeline, where: str, jaeger_url: str) -> None:
    traces = asyncio.run(run_flows())
    done = pipeline.shutdown(timeout=10.0)
    stats = pipeline.stats()
    if stats.ended == 0:
        _say(console, f"{_SAMPLED_OUT}: nothing was exported")
        return
    if not done or stats.exported < stats.ended:
        lost = stats.ended - stats.exported
        _say(console, f"Export to {where} failed: {lost} of {stats.ended} spans did not arrive")
        raise SystemExit(1)
    _say(console, f"Exported {stats.exported} spans to {where}")
    width = max(len(name) for name in traces.values())
    for trace_id, name in traces.items():
        _say(console, f"  {name:<{width}}  {jaeger_url.rstrip('/')}/trace/{trace_id:032x}")


def _draw(console: Console, config: flowspan.Config) -> None:
    memory = InMemorySpanExporter()
    processors = [SimpleSpanProcessor(memory)]
    try:
        provider = make_provider(config, processors)
    except flowspan.ConfigError as error:
        _say(console, f"{error}; the demo takes every trace")
        config = replace(config, sampler="always_on", sampler_arg=None)
        provider = make_provider(config, processors)
    pipeline = flowspan.configure(config, tracer_provider=provider)
    asyncio.run(run_flows())
    pipeline.shutdown()
    spans = memory.get_finished_spans()
    if not spans:
        _say(console, f"{_SAMPLED_OUT}: nothing to show")
    width = max(60, min(console.width, 100))
    signs = ASCII if console.options.ascii_only else UNICODE
    collection = Collection()
    for batch in Encoder().encode(spans):
        for span in spans_of(batch.body, Store()):
            collection.add(span)
    for trace in collection.traces():
        console.print()
        for line in Tree(summarise(trace), width, signs, figures=False).lines():
            console.print(line, soft_wrap=True)


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)  # one line, however long: a link stays a link


# ---- does a collector answer?


def _trouble(config: flowspan.Config) -> str:
    """Why no collector takes our spans there; nothing if one does."""
    grpc = "otlp_proto_grpc" in config.exporters
    otlp = config.otlp.speaking("grpc" if grpc else None)
    transport = make_transport(otlp)
    try:
        answer = transport.send(b"", _PROBE_TIMEOUT)  # a request with no span in it
    finally:
        transport.close()
    if answer.verdict not in (Verdict.UNAVAILABLE, Verdict.MISCONFIGURED):
        return ""
    return answer.message.removeprefix(f"{otlp.shown_endpoint}: ")


# ---- the flows


async def run_flows() -> dict[int, str]:
    """All four at once, each in a task of its own: trace id -> name, by start."""
    traces: dict[int, str] = {}
    await asyncio.gather(
        support_bot(traces), trip_planner(traces), release_notes(traces), nightly_import(traces)
    )
    return traces


def _note(traces: dict[int, str]) -> None:
    run = flowspan.current_run()
    if run is not None and run.span.get_span_context().is_valid:
        traces.setdefault(run.span.get_span_context().trace_id, run.name)


async def support_bot(traces: dict[int, str]) -> None:
    """The five methods of Langflow's tracing service; pauses while other flows come and go."""
    service = flowspan.TracingService()
    await service.start_tracers(
        None, "Support bot", user_id="maria", session_id="chat-42", project_name="Demo"
    )
    _note(traces)
    question = "Where is my order 1138?"

    chat_input = flowspan.Component("ChatInput-1", "Chat Input", "chat_input")
    async with service.trace_component(chat_input, "Chat Input", {"text": question}):
        await asyncio.sleep(0.03)
        service.set_outputs("Chat Input", {"message": question})

    await asyncio.sleep(0.25)
    orders = flowspan.Component(
        "Orders-1", "Order Search", "retriever", [flowspan.Edge("ChatInput-1")]
    )
    async with service.trace_component(orders, "Order Search", {"query": question}):
        await asyncio.sleep(0.31)
        service.add_log("Order Search", {"name": "search", "message": "1 order", "type": "text"})
        service.set_outputs("Order Search", {"order": 1138, "status": "shipped"})

    prompt = flowspan.Component(
        "Prompt-1", "Prompt", "prompt", [flowspan.Edge("ChatInput-1"), flowspan.Edge("Orders-1")]
    )
    async with service.trace_component(prompt, "Prompt", {"template": "{order}\n{question}"}):
        await asyncio.sleep(0.05)
        service.set_outputs("Prompt", {"prompt": f"Order 1138: shipped.\n{question}"})

    await asyncio.sleep(0.6)  # "Release notes" starts and ends meanwhile
    model = flowspan.Component("Model-1", "Model", "llm", [flowspan.Edge("Prompt-1")])
    inputs = {"api_key": "sk-demo-4f9a8c1e7b2d", "model": "gpt-4o-mini"}
    answer = "It was shipped on Monday and arrives tomorrow."
    async with service.trace_component(model, "Model", inputs):
        await asyncio.sleep(1.4)
        service.set_outputs("Model", {"text": answer})
        current = flowspan.current_component()
        if current is not None:
            current.set_usage(input_tokens=412, output_tokens=58, model="gpt-4o-mini")

    chat_output = flowspan.Component(
        "ChatOutput-1", "Chat Output", "chat_output", [flowspan.Edge("Model-1")]
    )
    async with service.trace_component(chat_output, "Chat Output", {"text": answer}):
        await asyncio.sleep(0.03)
        service.set_outputs("Chat Output", {"message": answer})
    await service.end_tracers({"answer": answer})


async def release_notes(traces: dict[int, str]) -> None:
    """Starts, runs and ends while "Support bot" waits."""
    await asyncio.sleep(0.66)
    async with flowspan.run("Release notes", inputs="v1.8.0") as run:
        _note(traces)
        async with flowspan.component("Read Commits", type="data", id="Commits-1") as commits:
            await asyncio.sleep(0.12)
            commits.set_outputs({"commits": 37})
        edges = [flowspan.Edge("Commits-1")]
        async with flowspan.component("Summary", type="llm", id="Summary-1", edges=edges) as model:
            await asyncio.sleep(0.38)
            model.set_usage(input_tokens=1904, output_tokens=210, model="gpt-4o-mini")
            model.set_outputs("Faster search, 12 fixes.")
        run.set_outputs("Faster search, 12 fixes.")


async def nightly_import(traces: dict[int, str]) -> None:
    """One component fails, the one beside it is cancelled; whoever started the flow goes on."""
    await asyncio.sleep(0.9)
    try:
        async with flowspan.run("Nightly import", tags=["nightly"]):
            _note(traces)
            with flowspan.component("Read CSV", type="data", id="CSV-1") as read:
                await asyncio.sleep(0.15)
                read.set_outputs({"rows": 2048})
            resizing = asyncio.create_task(_resize_images())
            try:
                await _fetch_rates()
            finally:
                resizing.cancel()
                await asyncio.gather(resizing, return_exceptions=True)
    except ConnectionError:
        pass  # it is in the trace


async def _resize_images() -> None:
    edges = [flowspan.Edge("CSV-1")]
    with flowspan.component("Resize Images", type="data", edges=edges) as resize:
        resize.add_log("640 of 2048 done")
        await asyncio.sleep(60)


async def _fetch_rates() -> None:
    with flowspan.component("Exchange Rates", type="api", edges=[flowspan.Edge("CSV-1")]):
        await asyncio.sleep(0.42)
        raise ConnectionError("rates.example.com: 503 Service Unavailable")


async def trip_planner(traces: dict[int, str]) -> None:
    """An agent with its tools nested below it."""
    await asyncio.sleep(0.2)
    async with flowspan.run("Trip planner", inputs="A weekend in Lisbon") as run:
        _note(traces)
        async with flowspan.component("Agent", type="agent", id="Agent-1") as agent:
            await asyncio.sleep(0.35)
            agent.add_log("weather first, then a hotel")
            async with flowspan.component(
                "get_weather", type="tool", inputs={"city": "Lisbon"}
            ) as tool:
                await asyncio.sleep(0.28)
                tool.set_outputs({"celsius": 24, "sky": "clear"})
            await asyncio.sleep(0.3)
            async with flowspan.component(
                "find_hotel", type="tool", inputs={"city": "Lisbon", "nights": 2}
            ) as tool:
                await asyncio.sleep(0.55)
                tool.set_outputs({"hotel": "Alfama Rooms", "price": 174})
            await asyncio.sleep(0.4)
            agent.set_usage(input_tokens=2310, output_tokens=327, model="gpt-4o")
            agent.set_outputs("Sunny, 24 degrees; two nights at Alfama Rooms.")
        run.set_outputs("Sunny, 24 degrees; two nights at Alfama Rooms.")
