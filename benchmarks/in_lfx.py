"""
What flowspan costs a run in the process of lfx. A minute; no server, no client, no database.

The six components of benchmarks/langflow.py, in turns with a tracing service that does nothing and
with flowspan's, whose spans go to a collector in another process. CPU time of the thread that runs
the flow and of all others (the exporter's), by the processor's clock: a machine that others use
disturbs it less than a wall clock. `ROUNDS` times 10 runs each, and medians of what flowspan adds
within a round. `--profile` shows where the time goes.

    .venv-langflow/bin/python benchmarks/in_lfx.py
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import json
import os
import pstats
import statistics
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import flowspan
from flowspan.pipeline import Pipeline

ROOT = Path(__file__).parents[1]
ROUNDS = int(os.environ.get("ROUNDS", "15"))
RUNS = 10  # a round
PAYLOAD: dict[str, Any] = {}  # the flow, as it is exported
FLOW_ID = "f0000000-0000-4000-8000-000000000001"
COLLECTOR = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *given): pass
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Nothing:
    """The interface of a tracing service, and no more."""

    ready = True
    deactivated = False
    project_name = "Langflow"

    async def start_tracers(self, **given: Any) -> None: ...
    async def end_tracers(self, *given: Any) -> None: ...
    def add_log(self, *given: Any, **more: Any) -> None: ...
    def set_outputs(self, *given: Any, **more: Any) -> None: ...
    def get_tracer(self, name: str) -> None: ...
    def get_langchain_callbacks(self) -> list[Any]:
        return []

    @asynccontextmanager
    async def trace_component(self, *given: Any, **more: Any) -> Any:
        yield self


async def run(payload: dict[str, Any]) -> float:
    """One run; the CPU seconds of this thread for it, without making its graph before."""
    from lfx.graph import Graph

    graph = Graph.from_payload(payload, flow_id=FLOW_ID, flow_name="Six", user_id=FLOW_ID)
    graph.session_id = "s-1"
    start = time.thread_time()
    await graph.arun(inputs=[{"input_value": "hello"}], inputs_components=[[]], types=["chat"])
    await asyncio.sleep(0)  # the end of the run is a task of its own
    return time.thread_time() - start


async def a_round(pipeline: Pipeline) -> tuple[float, float]:
    """CPU seconds a run: of the thread that runs the flow, and of all others."""
    gc.collect()
    before, spent, own = time.process_time(), time.thread_time(), 0.0
    for _ in range(RUNS):
        own += await run(PAYLOAD)
    if not pipeline.force_flush(30):  # what the exporter's threads have to do still
        sys.exit("in_lfx: the collector of this benchmark did not take its spans within 30 s")
    spent = time.thread_time() - spent
    return own / RUNS, (time.process_time() - before - spent) / RUNS


async def rounds(services: dict[str, Any], pipeline: Pipeline) -> dict[str, list[Any]]:
    from lfx.services.manager import get_service_manager
    from lfx.services.schema import ServiceType

    figures: dict[str, list[Any]] = {name: [] for name in services}
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    for number in range(-2, ROUNDS):
        if number == 0:  # those before were to get warm
            gc.collect()
            gc.freeze()  # all that lfx imported: to walk it would fall on one of them by chance
        order = list(services.items())
        for name, service in order if number % 2 else reversed(order):
            get_service_manager().services[ServiceType.TRACING_SERVICE] = service
            profiled = profile if name == "flowspan" and number >= 0 else None
            if profiled is not None:
                profiled.enable()
            figure = await a_round(pipeline)
            if profiled is not None:
                profiled.disable()
            if number >= 0:
                figures[name].append(figure)
    if profile is not None:
        stats = pstats.Stats(profile)
        stats.sort_stats("tottime").print_stats("flowspan|opentelemetry", 40)
        stats.sort_stats("cumtime").print_stats("flowspan", 40)
    return figures


def main() -> None:
    os.environ["LANGFLOW_LOG_LEVEL"] = "error"
    sys.path.insert(0, str(ROOT / "tests" / "in_langflow" / "flows"))
    collector = subprocess.Popen(
        [sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE, text=True
    )
    assert collector.stdout is not None
    port = collector.stdout.readline().strip()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as spool:
        os.environ["FLOWSPAN_SPOOL_DIR"] = f"{spool}/spans"
        import six_flow

        from flowspan.langflow import LangflowTracingService

        PAYLOAD.update(json.loads(json.dumps(six_flow.graph.dump(name="Six"), default=str))["data"])
        services = {"nothing": Nothing(), "flowspan": LangflowTracingService()}
        pipeline = flowspan.configure()
        try:
            figures = asyncio.run(rounds(services, pipeline))
        finally:
            pipeline.shutdown(10)
            collector.terminate()
            collector.wait()
        stats = pipeline.stats()
    if stats.exported != stats.ended:
        sys.exit(f"in_lfx: of {stats.ended} spans {stats.exported} arrived, so no figure counts")
    report(figures["nothing"], figures["flowspan"])


def report(nothing: list[tuple[float, float]], ours: list[tuple[float, float]]) -> None:
    """Ratios and differences within a round."""
    alone = statistics.median(map(sum, nothing)) * 1e3
    print(f"a run with nothing: {alone:.2f} ms of CPU; ", end="")
    print(f"{len(ours)} rounds of {RUNS} runs, load {os.getloadavg()[0]:.0f}")
    print("| CPU of a run | ms more | quartiles | ratio to nothing | quartiles |")
    print("|---|---|---|---|---|")
    parts = {
        "the flow's thread": lambda figure: figure[0],
        "all other threads": lambda figure: figure[1],
        "together": sum,
    }
    for what, part in parts.items():
        added = [part(own) - part(base) for own, base in zip(ours, nothing, strict=True)]
        shares = [1 + more / sum(base) for more, base in zip(added, nothing, strict=True)]
        more = [one * 1e3 for one in statistics.quantiles(added, n=4)]
        ratio = statistics.quantiles(shares, n=4)
        print(
            f"| {what} | {more[1]:.2f} | {more[0]:.2f} to {more[2]:.2f} "
            f"| {ratio[1]:.2f} | {ratio[0]:.2f} to {ratio[2]:.2f} |"
        )


if __name__ == "__main__":
    main()
