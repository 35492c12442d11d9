"""
What flowspan costs a component, against OpenTelemetry written by hand. About a minute.

Workload: one run of ten components, each with 1 KiB of nested JSON in, 1 KiB out and two logs.
Rounds are interleaved and each figure is a median of ratios within a round: machines are noisy.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import flowspan
from flowspan.pipeline import make_provider

COMPONENTS = 10
ROUNDS = 25
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
SENSITIVE = ("password", "token", "secret", "api_key", "authorization")


EXACT = frozenset(SENSITIVE)


def payload(number: int) -> dict[str, Any]:
    """About 1 KiB of nested JSON, different for each *number*."""
    found: dict[str, Any] = {
        "question": f"How do I reset router {number} when the light is red?",
        "session": "5f0c8a9e-1f2b-4c3d-9e8f-aabbccddeeff",
        "options": {"temperature": 0.2, "max_tokens": 512, "stop": ["\n\n", "END"], "top_p": None},
        "api_key": "hush",
        "history": [],
    }
    while len(json.dumps(found)) < 1024 - 90:
        found["history"].append({"role": "user", "content": "word " * 8, "index": number})
    return found


PAYLOADS = [payload(number) for number in range(2 * COMPONENTS)]


def masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "***" if any(word in key.lower() for word in SENSITIVE) else masked(item)
            for key, item in value.items()
        }
    return [masked(item) for item in value] if isinstance(value, list) else value


def masked_exactly(value: Any) -> Any:
    """Keys that are one of the words, not those that contain one."""
    if isinstance(value, dict):
        return {
            key: "***" if key.lower() in EXACT else masked_exactly(item)
            for key, item in value.items()
        }
    return [masked_exactly(item) for item in value] if isinstance(value, list) else value


class Bench:
    def __init__(self) -> None:
        config = flowspan.Config()
        self.provider = make_provider(config, [SpanProcessor()])
        flowspan.configure(config, tracer_provider=self.provider)
        theirs = TracerProvider(shutdown_on_exit=False)
        theirs.add_span_processor(SpanProcessor())
        self.tracer = theirs.get_tracer("by hand")
        self.service = flowspan.TracingService()
        self.number = 0

    async def five_methods(self) -> None:
        service = self.service
        self.number += 1
        await service.start_tracers(f"r-{self.number}", "bench", "user", "session")
        for i in range(COMPONENTS):
            name = f"C{i} (c-{i})"
            component = flowspan.Component(f"c-{i}", f"C{i}")
            async with service.trace_component(component, name, PAYLOADS[i]):
                await asyncio.sleep(0)
                for log in ("first", "second"):
                    line = {"name": log, "message": f"{log} line of {i}", "type": "text"}
                    service.add_log(name, line)
                service.set_outputs(name, PAYLOADS[COMPONENTS + i])
        await service.end_tracers({})

    async def context_managers(self) -> None:
        with flowspan.run("bench", user_id="user", session_id="session"):
            for i in range(COMPONENTS):
                with flowspan.component(f"C{i}", id=f"c-{i}", inputs=PAYLOADS[i]) as component:
                    await asyncio.sleep(0)
                    for log in ("first", "second"):
                        component.add_log(f"{log} line of {i}", name=log)
                    component.set_outputs(PAYLOADS[COMPONENTS + i])

    async def by_hand(self, mask: Callable[[Any], Any] = masked) -> None:
        self.number += 1
        with self.tracer.start_as_current_span(
            "bench",
            attributes={
                "gen_ai.operation.name": "invoke_workflow",
                "openinference.span.kind": "CHAIN",
                "langwatch.span.type": "workflow",
                "traceloop.span.kind": "workflow",
                "gen_ai.workflow.name": "bench",
                "flowspan.run.id": f"r-{self.number}",
                "flowspan.run.name": "bench",
                "flowspan.project.name": "Langflow",
                "session.id": "session",
                "gen_ai.conversation.id": "session",
                "user.id": "user",
                "flowspan.run.status": "ok",
            },
        ):
            for i in range(COMPONENTS):
                with self.tracer.start_as_current_span(
                    f"C{i}",
                    attributes={
                        "openinference.span.kind": "CHAIN",
                        "langwatch.span.type": "component",
                        "traceloop.span.kind": "task",
                        "flowspan.component.id": f"c-{i}",
                        "flowspan.component.name": f"C{i}",
                        "flowspan.component.type": "chain",
                        "graph.node.id": f"c-{i}",
                        "graph.node.name": f"C{i}",
                        "flowspan.run.id": f"r-{self.number}",
                        "flowspan.flow.name": "bench",
                        "session.id": "session",
                        "user.id": "user",
                        "input.value": json.dumps(mask(PAYLOADS[i])),
                        "input.mime_type": "application/json",
                    },
                ) as span:
                    await asyncio.sleep(0)
                    for log in ("first", "second"):
                        attributes = {
                            "log.name": log,
                            "log.type": "text",
                            "log.message": f"{log} line of {i}",
                        }
                        span.add_event("flowspan.log", attributes)
                    outputs = json.dumps(mask(PAYLOADS[COMPONENTS + i]))
                    span.set_attribute("output.value", outputs)
                    span.set_attribute("output.mime_type", "application/json")

    async def by_hand_exactly(self) -> None:
        await self.by_hand(masked_exactly)

    async def bare_spans(self) -> None:
        for _ in range(COMPONENTS):
            with self.tracer.start_as_current_span("bare"):
                await asyncio.sleep(0)


Work = Callable[[], Awaitable[None]]


def one_at_a_time(work: Work, runs: int) -> float:
    """Microseconds of CPU a component."""

    async def main() -> None:
        for _ in range(runs):
            await asyncio.create_task(work())

    return _measured(main, runs)


def all_at_once(work: Work, runs: int) -> float:
    async def main() -> None:
        await asyncio.gather(*(asyncio.create_task(work()) for _ in range(runs)))

    return _measured(main, runs)


def _measured(main: Callable[[], Any], runs: int) -> float:
    start = time.process_time()
    asyncio.run(main())
    return (time.process_time() - start) / runs / COMPONENTS * 1e6


def import_seconds(statement: str) -> float:
    compiled = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, env=compiled)
    return time.perf_counter() - start


def line(what: str, ratios: list[float], aim: str = "") -> None:
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"| {what} | {middle:.2f} | {low:.2f} to {high:.2f} | {aim} |")


def main() -> None:
    bench = Bench()
    works = (
        *(bench.five_methods, bench.context_managers),
        *(bench.by_hand, bench.by_hand_exactly, bench.bare_spans),
    )
    for work in works:
        one_at_a_time(work, 20)
    costs = [[one_at_a_time(work, 20) for work in works] for _ in range(ROUNDS)]
    print("| figure | median | quartiles | must |\n|---|---|---|---|")
    line("a component, five methods / by hand", [a / c for a, _, c, _, _ in costs], "1.00")
    line("a component, context managers / by hand", [b / c for _, b, c, _, _ in costs], "1.00")
    line("a component, five methods / by hand, exact keys only", [a / d for a, _, _, d, _ in costs])
    line("a bare SDK span / a component, five methods", [e / a for a, _, _, _, e in costs])
    for name, work in (("flowspan", bench.five_methods), ("by hand", bench.by_hand)):
        pairs = [(all_at_once(work, 1000), one_at_a_time(work, 1000)) for _ in range(5)]
        line(f"1,000 runs at once / one at a time, {name}", [a / b for a, b in pairs], "1.30")
    ours = "from flowspan import *"  # a name is imported when it is asked for
    theirs = "import opentelemetry.exporter.otlp.proto.http.trace_exporter"  # and so the SDK
    import_seconds(ours), import_seconds(theirs)  # write what is compiled
    imports = [(import_seconds(ours), import_seconds(theirs)) for _ in range(11)]
    line("import flowspan / import the SDK and its exporter", [a / b for a, b in imports], "0.90")


if __name__ == "__main__":
    main()
