"""
What flowspan costs a run in the process of lfx. A minute; no server, no client, no database.

The six components of benchmarks/langflow.py, in turns with a tracing service that does nothing and
with flowspan's, whose spans go to a collector in another process. CPU time of the thread that runs
the flow and of all others (the exporter's), by the processor's clock: a machine that others use
disturbs it little. `ROUNDS` times 20 runs each; medians. `--profile` shows where the time goes.

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

ROOT = Path(__file__).parents[1]
ROUNDS = int(os.environ.get("ROUNDS", "30"))
RUNS = 20  # a round
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


async def run(payload: dict[str, Any]) -> tuple[float, float]:
    """One run; the CPU seconds of this thread and of the others."""
    from lfx.graph import Graph

    graph = Graph.from_payload(payload, flow_id=FLOW_ID, flow_name="Six", user_id=FLOW_ID)
    graph.session_id = "s-1"
    whole, own = time.process_time(), time.thread_time()
    await graph.arun(inputs=[{"input_value": "hello"}], inputs_components=[[]], types=["chat"])
    await asyncio.sleep(0)  # the end of the run is a task of its own
    own = time.thread_time() - own
    return own, time.process_time() - whole - own


async def rounds(payload: dict[str, Any], services: dict[str, Any]) -> dict[str, list[Any]]:
    from lfx.services.manager import get_service_manager
    from lfx.services.schema import ServiceType

    figures: dict[str, list[Any]] = {name: [] for name in services}
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    for number in range(-1, ROUNDS):
        for name, service in services.items():
            get_service_manager().services[ServiceType.TRACING_SERVICE] = service
            gc.collect()
            if profile is not None and name == "flowspan":
                profile.enable()
            whole, own = time.process_time(), 0.0
            for _ in range(RUNS):
                own += (await run(payload))[0]
            if profile is not None:
                profile.disable()
            del whole
            before = time.process_time()
            await asyncio.sleep(0.3)  # what the exporter's thread has to do still
            late = time.process_time() - before
            if number >= 0:
                figures[name].append((own / RUNS, late / RUNS))
    if profile is not None:
        stats = pstats.Stats(profile)
        stats.sort_stats("tottime").print_stats("flowspan|opentelemetry", 45)
        stats.sort_stats("cumtime").print_stats("flowspan", 45)
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

        payload = json.loads(json.dumps(six_flow.graph.dump(name="Six"), default=str))["data"]
        services = {"nothing": Nothing(), "flowspan": LangflowTracingService()}
        try:
            figures = asyncio.run(rounds(payload, services))
        finally:
            collector.terminate()
            collector.wait()
    median = statistics.median
    base = [own for own, _ in figures["nothing"]]
    ours = figures["flowspan"]
    added = [own - before for (own, _), before in zip(ours, base, strict=True)]
    print(f"nothing: {median(base) * 1e3:.2f} ms of CPU a run")
    print(f"flowspan adds {median(added) * 1e3:.2f} ms to the thread of the flow", end=", ")
    print(f"quartiles {[round(q * 1e3, 2) for q in statistics.quantiles(added, n=4)[::2]]}")


if __name__ == "__main__":
    main()
