"""
The flows of the demo: an engine with the five methods, and code with context managers.

Each is a run that begins, takes a second or two and ends, whatever runs beside it. Uses flowspan as
an application would, by its public names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import cycle, islice

import flowspan

Begun = Callable[[], None]  # called within the run, once it has begun
Flow = Callable[[Begun], Coroutine[None, None, None]]

AT_ONCE = 50
EVERY = 0.7  # seconds between two runs without an end


async def run_flows(runs: int, begun: Begun, ended: Callable[[], None]) -> None:
    """So many runs, the flows in turn; those that there is room for at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def run(flow: Flow) -> None:
        async with room:
            await flow(begun)
        ended()

    await asyncio.gather(*(run(flow) for flow in islice(cycle(FLOWS), runs)))


async def run_on(begun: Begun) -> None:
    """Runs without an end: the next one begins whether or not the last one is over."""
    going: set[asyncio.Task[None]] = set()
    for flow in cycle(FLOWS):
        task = asyncio.create_task(flow(begun))
        going.add(task)
        task.add_done_callback(going.discard)
        await asyncio.sleep(EVERY)


async def support_bot(begun: Begun) -> None:
    """The five methods of Langflow's tracing service; pauses while other flows come and go."""
    service = flowspan.TracingService()
    await service.start_tracers(
        None, "Support bot", user_id="maria", session_id="chat-42", project_name="Demo"
    )
    begun()
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


async def release_notes(begun: Begun) -> None:
    """Starts, runs and ends while "Support bot" waits."""
    await asyncio.sleep(0.66)
    async with flowspan.run("Release notes", inputs="v1.8.0") as run:
        begun()
        async with flowspan.component("Read Commits", type="data", id="Commits-1") as commits:
            await asyncio.sleep(0.12)
            commits.set_outputs({"commits": 37})
        edges = [flowspan.Edge("Commits-1")]
        async with flowspan.component("Summary", type="llm", id="Summary-1", edges=edges) as model:
            await asyncio.sleep(0.38)
            model.set_usage(input_tokens=1904, output_tokens=210, model="gpt-4o-mini")
            model.set_outputs("Faster search, 12 fixes.")
        run.set_outputs("Faster search, 12 fixes.")


async def nightly_import(begun: Begun) -> None:
    """One component fails, the one beside it is cancelled; whoever started the flow goes on."""
    await asyncio.sleep(0.9)
    try:
        async with flowspan.run("Nightly import", tags=["nightly"]):
            begun()
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


async def trip_planner(begun: Begun) -> None:
    """An agent with its tools nested below it."""
    await asyncio.sleep(0.2)
    async with flowspan.run("Trip planner", inputs="A weekend in Lisbon") as run:
        begun()
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


FLOWS: tuple[Flow, ...] = (support_bot, trip_planner, release_notes, nightly_import)
