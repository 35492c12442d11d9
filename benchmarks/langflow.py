"""
What flowspan costs a real Langflow under load. Half an hour on two cores.

50 clients at a time run a flow of six components by `/api/v1/run` on each of five servers: with
nothing; with an endpoint but without flowspan, where Langflow exports spans of its own; with both;
with flowspan and no endpoint of Langflow's; with Langflow's Phoenix tracer. Arguments choose
servers, beside `nothing`.

Throughput and p95: 500 runs for each server, alone, in interleaved rounds. CPU, that of the
server's processes: 600 runs for each, in rounds at the same time as those of `nothing`, for this
machine's speed changes by a tenth from one round to the next. Each figure is the median of the
ratios within a round.

Needs `.venv-langflow` (tests/in_langflow/install) and port 4318; makes `.venv-langflow-stock`, the
same without flowspan.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from in_langflow._server import Langflow, new_session, running_langflow  # noqa: E402

CLIENTS = 50
ROUNDS = int(os.environ.get("ROUNDS", "5"))  # of each server alone
RUNS = int(os.environ.get("RUNS", "100"))  # a round
PAIRS = int(os.environ.get("PAIRS", "12"))  # rounds of each server beside `nothing`
PAIR_RUNS = int(os.environ.get("PAIR_RUNS", "50"))
OURS = ROOT / ".venv-langflow" / "bin" / "python"
STOCK = ROOT / ".venv-langflow-stock" / "bin" / "python"
DATABASE = {  # 50 at once are more than Langflow's SQLite takes by default
    "LANGFLOW_DB_CONNECTION_SETTINGS": '{"pool_size": 60, "max_overflow": 60, "pool_timeout": 90}',
    "LANGFLOW_SQLITE_PRAGMAS": '{"synchronous": "NORMAL", "busy_timeout": 60000}',
}
NAMES = sorted(["Six", "Chat Input", "Prompt Template", "A", "B", "Join", "Chat Output"])


class RawSink:
    """Takes OTLP and keeps it as it came, so that it costs the machine little."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[bytes] = []
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":  # Langflow exports logs and metrics as well
                    packed = self.headers["Content-Encoding"] == "gzip"
                    sink.bodies.append(gzip.decompress(body) if packed else body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True  # it ends with the process
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Round(NamedTuple):
    """What it took: seconds, those of the processor, those of each run."""

    seconds: float
    cpu: float
    latencies: list[float]


@dataclass
class Variant:
    name: str
    langflow: Langflow
    sink: RawSink
    alone: list[Round] = field(default_factory=list)
    beside: list[tuple[Round, Round]] = field(default_factory=list)  # its own, that of `nothing`
    runs: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def round(self, runs: int) -> Round:
        flow = self.langflow.flow("six")
        client = self.langflow.client
        headers = {"x-api-key": client.headers["x-api-key"], "Content-Type": "application/json"}

        def run(_: int) -> float:
            # A new one: a busy server may close one that is kept just when it is used.
            connection = http.client.HTTPConnection(client.base_url.host, client.base_url.port)
            body = json.dumps({"input_value": "hello", "session_id": new_session()})
            start = time.perf_counter()
            connection.request("POST", f"/api/v1/run/{flow}?stream=false", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            connection.close()
            if answer.status != 200:
                self.refused[said.decode()[:200]] += 1
            return time.perf_counter() - start

        cpu, start = cpu_seconds(self.langflow.pid), time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            latencies = list(clients.map(run, range(runs)))
        seconds = time.perf_counter() - start
        time.sleep(1.5)  # what a run leaves to do, the export above all, is part of its price
        self.runs += runs
        return Round(seconds, cpu_seconds(self.langflow.pid) - cpu, latencies)


def cpu_seconds(pid: int) -> float:
    """Of the process and all below it."""
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.name))
        used[int(entry.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    waiting, total = [pid], 0.0
    while waiting:
        one = waiting.pop()
        total += used.get(one, 0.0)
        waiting += children.get(one, [])
    return total


def p95(latencies: list[float]) -> float:
    return statistics.quantiles(latencies, n=20)[-1]


def make_stock() -> None:
    if STOCK.exists():
        return
    uv = ROOT / ".venv" / "bin" / "uv"
    versions = subprocess.run(
        [OURS, "-c", "import importlib.metadata as m; print(m.version('langflow-base'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    subprocess.run([uv, "venv", "-q", "--python", OURS, STOCK.parents[1]], check=True)
    packages = [f"langflow-base=={versions}", f"lfx=={versions}"]
    subprocess.run([uv, "pip", "install", "-q", "--python", STOCK, *packages], check=True)


def whole_traces(bodies: list[bytes]) -> tuple[int, Counter[str]]:
    """How many traces of ours have all seven spans and one root, and the scopes of all spans."""
    names: dict[bytes, list[str]] = {}
    parents: dict[bytes, set[bytes]] = {}
    ids: dict[bytes, set[bytes]] = {}
    scopes: Counter[str] = Counter()
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                scopes[scope.scope.name] += len(scope.spans)
                if scope.scope.name != "flowspan":
                    continue
                for span in scope.spans:
                    names.setdefault(span.trace_id, []).append(span.name)
                    ids.setdefault(span.trace_id, set()).add(span.span_id)
                    parents.setdefault(span.trace_id, set()).add(span.parent_span_id)
    whole = [
        trace
        for trace, found in names.items()
        if sorted(found) == NAMES and len(parents[trace] - ids[trace]) == 1
    ]
    return len(whole), scopes


NO_ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}
KINDS: dict[str, tuple[Path, dict[str, str]]] = {
    "nothing": (STOCK, NO_ENDPOINT),
    "endpoint, no flowspan": (STOCK, {}),
    "endpoint and flowspan": (OURS, {}),
    # Without an endpoint Langflow exports nothing of its own, we to the default one.
    "flowspan": (OURS, {"OTEL_TRACES_EXPORTER": "otlp", **NO_ENDPOINT}),
    "Phoenix": (STOCK, NO_ENDPOINT),
}


def environment(name: str, sink: RawSink) -> dict[str, str]:
    phoenix = {"PHOENIX_COLLECTOR_ENDPOINT": sink.url} if name == "Phoenix" else {}
    return KINDS[name][1] | phoenix


def sinks_of(arguments: list[str]) -> dict[str, RawSink]:
    """One for each server that was asked for, `nothing` first: all others are compared to it."""
    unknown = [name for name in arguments if name not in KINDS or name == "nothing"]
    if unknown:
        known = ", ".join(repr(name) for name in KINDS if name != "nothing")
        sys.exit(f"no server to choose is called {unknown[0]!r}; there are {known}")
    chosen = [name for name in KINDS if name in ("nothing", *(arguments or KINDS))]
    try:
        return {name: RawSink(4318 if name == "flowspan" else 0) for name in chosen}
    except OSError as error:
        sys.exit(
            f"port 4318 of 127.0.0.1 cannot be had ({error.strerror}): flowspan exports to it "
            "where no endpoint is set; stop what listens there, or choose other servers"
        )


def main() -> None:
    if not OURS.exists():
        sys.exit(f"no Langflow in {OURS.parents[1].name}: tests/in_langflow/install gets it")
    sinks = sinks_of(sys.argv[1:])
    make_stock()
    with ExitStack() as opened, tempfile.TemporaryDirectory() as scratch:
        dumped = Path(scratch) / "flows"
        dumped.mkdir()
        subprocess.run([OURS, ROOT / "tests/in_langflow/dump.py", dumped], check=True)

        def start(name: str, python: Path, sink: RawSink, **env: str) -> Variant:
            home = Path(scratch) / name.replace(" ", "-")
            home.mkdir()
            langflow = opened.enter_context(
                running_langflow(python, home, sink, dumped, **DATABASE, **env)  # type: ignore[arg-type]
            )
            variant = Variant(name, langflow, sink)
            variant.round(CLIENTS)  # to get warm
            print(name, "runs", file=sys.stderr, flush=True)
            return variant

        with ThreadPoolExecutor(2) as starting:
            started = [
                starting.submit(start, name, KINDS[name][0], sink, **environment(name, sink))
                for name, sink in sinks.items()
            ]
            variants = [one.result() for one in started]
        time.sleep(6)  # what the warm runs export
        for variant in variants:
            variant.sink.bodies.clear()
            variant.refused.clear()
            variant.runs = 0
        for number in range(ROUNDS):
            for variant in turned(variants, number):
                variant.alone.append(variant.round(RUNS))
            seconds = [f"{variant.alone[-1].seconds:.1f}" for variant in variants]
            print("round", number + 1, "s:", *seconds, file=sys.stderr, flush=True)
        nothing, *others = variants
        with ThreadPoolExecutor(2) as both:
            for number in range(PAIRS):
                for variant in turned(others, number):
                    own, base = both.map(lambda one: one.round(PAIR_RUNS), (variant, nothing))
                    variant.beside.append((own, base))
                last = [variant.beside[-1] for variant in others]
                ratios = [f"{own.cpu / base.cpu:.2f}" for own, base in last]
                print("pair", number + 1, "CPU:", *ratios, file=sys.stderr, flush=True)
        time.sleep(6)  # the last export
        report(variants)


def turned(variants: list[Variant], number: int) -> list[Variant]:
    """In another order each round."""
    return variants[number % len(variants) :] + variants[: number % len(variants)]


def report(variants: list[Variant]) -> None:
    nothing, *others = variants
    took = [base.cpu / PAIR_RUNS * 1000 for one in others for _, base in one.beside]
    print(f"nothing: {min(took):.0f} to {max(took):.0f} ms of CPU a run, ", end="")
    print(f"{RUNS / statistics.median(each.seconds for each in nothing.alone):.1f} runs/s")
    print("| with | CPU a run | quartiles | throughput | p95 | spans of ours, of others | whole |")
    print("|---|---|---|---|---|---|---|")
    for one in others:
        cpu = [own.cpu / base.cpu for own, base in one.beside]
        pairs = list(zip(one.alone, nothing.alone, strict=True))
        speed = [base.seconds / own.seconds for own, base in pairs]
        late = [p95(own.latencies) / p95(base.latencies) for own, base in pairs]
        whole, scopes = whole_traces(one.sink.bodies)
        ours = scopes.pop("flowspan", 0)
        spread = statistics.quantiles(cpu, n=4) if len(cpu) > 1 else [cpu[0]] * 3
        print(
            f"| {one.name} | {statistics.median(cpu):.3f} | {spread[0]:.2f} to {spread[2]:.2f} "
            f"| {statistics.median(speed):.2f} | {statistics.median(late):.2f} "
            f"| {ours}, {sum(scopes.values())} | {whole} of {one.runs} |"
        )
        for said, count in one.refused.items():
            print(f"{one.name}: {count} refused: {said}")


if __name__ == "__main__":
    main()
