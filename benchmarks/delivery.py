"""
What delivery promises, measured side by side: the stock processor, flowspan's, and fastotel.

Every figure comes from processes of their own, in turn, against a collector in this one.
`delivery.py` takes about four minutes, `delivery.py --long` a quarter of an hour with the
outages of 30 and 120 seconds; `delivery.py cpu lag` only those parts.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tests")]

PEERS = ("stock", "flowspan", "fastotel")
RATE = 500  # spans a second


# ---- the measured process: `delivery.py child PEER SCENARIO {arguments}`


class Numbered(RandomIdGenerator):
    """Span ids in a row, so that the process that measures knows each of them from two numbers."""

    def __init__(self) -> None:
        self.first = random.randrange(1, 1 << 62)
        self._numbers = itertools.count(self.first)

    def generate_span_id(self) -> int:
        return next(self._numbers)

    def made(self) -> dict[str, int]:
        """To be asked once, at the end: every span of this process from the first on."""
        return {"first": self.first, "ended": next(self._numbers) - self.first}


def provider(peer: str, url: str) -> Any:
    """An SDK provider whose spans leave by *peer*, all else being the same."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    made = TracerProvider(resource=Resource({"service.name": "bench"}), id_generator=Numbered())
    made.add_span_processor(processor(peer, f"{url}/v1/traces"))
    return made


def processor(peer: str, endpoint: str) -> Any:
    if peer == "flowspan":
        from flowspan.delivery import DurableSpanProcessor

        return DurableSpanProcessor(endpoint=endpoint)
    if peer == "fastotel":
        import fastotel

        return fastotel.OTLPSpanProcessor(endpoint=endpoint)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))


TEXT = json.dumps({"question": "How do I reset the router when the light is red?", "n": [1] * 60})
ATTRIBUTES = {
    "openinference.span.kind": "CHAIN",
    "session.id": "5f0c8a9e-1f2b-4c3d-9e8f-aabbccddeeff",
    "flowspan.component.name": "Prompt",
    "input.value": TEXT,
    "output.value": TEXT,
    "input.mime_type": "application/json",
}


def at_rate(tracer: Any, seconds: float, rate: int = RATE) -> list[float]:
    """Spans at a steady rate: how long each `end()` took."""
    took: list[float] = []
    start, number = time.monotonic(), 0
    while (now := time.monotonic()) < start + seconds:
        while number < (now - start) * rate:
            span = tracer.start_span(f"s{number}", attributes=ATTRIBUTES)
            before = time.perf_counter()
            span.end()
            took.append(time.perf_counter() - before)
            number += 1
        time.sleep(0.002)
    return took


def memory() -> int:
    """Resident bytes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def child(peer: str, scenario: str, given: dict[str, Any]) -> None:
    result = SCENARIOS[scenario](peer, **given)
    print(json.dumps(result), flush=True)


def outage(peer: str, url: str, seconds: float) -> dict[str, Any]:
    """The collector is gone when this begins and comes back before it ends."""
    sdk = provider(peer, url)
    tracer = sdk.get_tracer("bench")
    at_rate(tracer, 0.5)
    before = memory()
    highest = [before]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.25):
            highest[0] = max(highest[0], memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    print("gone", flush=True)
    sys.stdin.readline()
    at_rate(tracer, seconds)
    print("back", flush=True)
    sys.stdin.readline()
    at_rate(tracer, 5)
    stop.set()
    watcher.join()
    sdk.force_flush(60_000)
    sdk.shutdown()
    return {"memory": highest[0] - before} | sdk.id_generator.made()


def leave(peer: str, url: str) -> dict[str, Any]:
    """Ends with the collector down; the parent measures how long that takes."""
    sdk = provider(peer, url)
    at_rate(sdk.get_tracer("bench"), 1.0)
    return {"at": time.time()} | sdk.id_generator.made()


def flush(peer: str, url: str) -> dict[str, Any]:
    sdk = provider(peer, url)
    at_rate(sdk.get_tracer("bench"), 1.0)
    start = time.monotonic()
    answer = sdk.force_flush(2000)
    took = time.monotonic() - start
    print(json.dumps({"took": took, "answer": answer}), flush=True)
    os._exit(0)


def burst(peer: str, url: str, count: int) -> dict[str, Any]:
    """*count* spans from four threads, as fast as they can."""
    sdk = provider(peer, url)
    tracer = sdk.get_tracer("bench")
    before = memory()
    highest = [before]

    def work() -> None:
        for number in range(count // 4):
            tracer.start_span("burst", attributes=ATTRIBUTES).end()
            if number % 500 == 0:
                highest[0] = max(highest[0], memory())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sdk.force_flush(60_000)
    highest[0] = max(highest[0], memory())
    sdk.shutdown()
    return {"memory": highest[0] - before} | sdk.id_generator.made()


def end_cost(peer: str, url: str, seconds: float) -> dict[str, Any]:
    """What `on_end` takes from the application: at 500 spans a second, and per span alone."""
    sdk = provider(peer, url)
    took = at_rate(sdk.get_tracer("bench"), seconds)
    took.sort()
    sdk.shutdown()
    return {
        "p50": took[len(took) // 2] * 1e6,
        "p99": took[int(len(took) * 0.99)] * 1e6,
        "p99.9": took[int(len(took) * 0.999)] * 1e6,
    }


def cpu(peer: str, url: str, runs: int) -> dict[str, Any]:
    """CPU of the whole process for each span, with payloads as JSON and secrets masked."""
    from core import Bench

    bench = Bench()
    own = peer == "flowspan"
    if own:
        import flowspan
        from flowspan import pipeline

        assert pipeline._pipeline is not None
        pipeline._pipeline.shutdown()
        config = flowspan.Config()
        sdk = pipeline.make_provider(config, [processor(peer, f"{url}/v1/traces")])
        flowspan.configure(config, tracer_provider=sdk)
    else:
        sdk = provider(peer, url)
        bench.tracer = sdk.get_tracer("bench")

    async def twenty_runs() -> None:
        for _ in range(20):
            await (bench.context_managers() if own else bench.by_hand())

    def rounds(count: int) -> None:
        for _ in range(count):  # so few at a time that no queue overflows
            asyncio.run(twenty_runs())
            sdk.force_flush(30_000)

    rounds(5)
    start = time.process_time()
    rounds(runs // 20)
    took = time.process_time() - start
    sdk.shutdown()
    return {"per span": took / (runs * 11) * 1e6}


def lag(peer: str, url: str, seconds: float) -> dict[str, Any]:
    """How late an event loop's timer is, in milliseconds, while 2,750 spans a second end."""
    if peer == "nothing":
        from opentelemetry.sdk.trace import TracerProvider

        sdk: Any = TracerProvider()
    else:
        sdk = provider(peer, url)
    tracer = sdk.get_tracer("bench")
    late: list[float] = []

    async def work() -> None:
        start, number = time.monotonic(), 0
        while (now := time.monotonic()) < start + seconds:
            while number < (now - start) * 2750:
                tracer.start_span("lag", attributes=ATTRIBUTES).end()
                number += 1
            await asyncio.sleep(0.004)

    async def watch() -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append((time.perf_counter() - before - 0.001) * 1e3)

    async def both() -> None:
        await asyncio.gather(work(), watch())

    asyncio.run(both())
    sdk.force_flush(30_000)
    sdk.shutdown()
    late.sort()
    return {"p99": late[int(len(late) * 0.99)], "p50": late[len(late) // 2]}


SCENARIOS: dict[str, Callable[..., dict[str, Any]]] = {
    f.__name__: f for f in (outage, leave, flush, burst, end_cost, cpu, lag)
}


# ---- the process that measures


class Sink:
    """A collector that keeps only ids; its own process would be as busy as the peers."""

    def __init__(self) -> None:
        from faults import Collector
        from flowspan.delivery._requests import span_ids

        self.ids: set[bytes] = set()

        def keep(request: Any, body: bytes) -> Any:
            from faults import Reply

            self.ids.update(span_id for _, span_id in span_ids(body))
            return Reply()

        self.collector = Collector()
        self.collector.behave(keep)
        self.url = self.collector.url

    def lost(self, result: dict[str, Any]) -> str:
        """Which of that process's spans have not arrived; those of others do not count."""
        first, ended = result["first"], result["ended"]
        ids = {number.to_bytes(8, "big") for number in range(first, first + ended)}
        lost = len(ids - self.ids)
        return f"{lost:,} of {ended:,} ({100 * lost / ended:.1f} %)"


def run(
    peer: str, scenario: str, env: dict[str, str], talk: Any = None, **given: Any
) -> tuple[dict[str, Any], float, str]:
    """The child's result, when it ended, and what it logged."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, "child", peer, scenario, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | env,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        last = ""
        for line in process.stdout:
            last = line
            if talk is not None and line.strip() in ("gone", "back"):
                talk(line.strip())
                process.stdin.write("\n")
                process.stdin.flush()
        process.wait()
        ended = time.time()
        errors.seek(0)
        said = errors.read()
    if not last.startswith("{"):
        raise SystemExit(f"{peer} {scenario}: {said[-2000:]}")
    return json.loads(last), ended, said


@contextmanager
def spool() -> Iterator[dict[str, str]]:
    with tempfile.TemporaryDirectory() as directory:
        yield {"FLOWSPAN_SPOOL_DIR": f"{directory}/spool"}


def peers() -> list[str]:
    try:
        import fastotel  # noqa: F401
    except ImportError:
        print("fastotel is not installed here (`pip install fastotel`): left out")
        return [peer for peer in PEERS if peer != "fastotel"]
    return list(PEERS)


def row(name: str, figures: dict[str, str]) -> None:
    print(f"| {name} | " + " | ".join(figures.get(peer, "") for peer in PEERS) + " |", flush=True)


def measure_outage(seconds: float) -> None:
    """Lost of all spans, memory, lines logged."""
    lost, memories, lines = {}, {}, {}
    for peer in peers():
        sink = Sink()

        def talk(word: str, sink: Sink = sink) -> None:
            sink.collector.refuse() if word == "gone" else sink.collector.listen()

        with spool() as env:
            result, _, said = run(peer, "outage", env, talk, url=sink.url, seconds=seconds)
            lost[peer] = sink.lost(result)
            memories[peer] = f"{result['memory'] / 1e6:+.0f} MB"
            lines[peer] = str(len(said.splitlines()))
        sink.collector.close()
    row(f"lost, collector refuses for {seconds:.0f} s", lost)
    row("its memory", memories)
    row("its log lines", lines)


def measure_leave() -> None:
    took, lost = {}, {}
    for peer in peers():
        sink = Sink()
        with spool() as env:
            sink.collector.refuse()
            result, ended, _ = run(peer, "leave", env, url=sink.url)
            took[peer] = f"{ended - result['at']:.2f} s"
            sink.collector.listen()
            if peer == "flowspan":
                run(peer, "end_cost", env, url=sink.url, seconds=0.1)
            lost[peer] = sink.lost(result)
        sink.collector.close()
    row("exit with the collector down", took)
    row("lost then, after a later process", lost)


def measure_flush() -> None:
    took = {}
    for peer in peers():
        sink = Sink()
        with spool() as env:
            sink.collector.refuse()
            result, _, _ = run(peer, "flush", env, url=sink.url)
            took[peer] = f"{result['took']:.2f} s, {result['answer']}"
    row("`force_flush(2 s)`, collector down", took)


def measure_burst() -> None:
    lost, memories = {}, {}
    for peer in peers():
        sink = Sink()
        with spool() as env:
            result, _, _ = run(peer, "burst", env, url=sink.url, count=100_000)
            lost[peer] = sink.lost(result)
            memories[peer] = f"{result['memory'] / 1e6:+.0f} MB"
        sink.collector.close()
    row("lost of a burst of 100,000 from 4 threads", lost)
    row("its memory", memories)


def medians(scenario: str, rounds: int, names: list[str], **given: Any) -> dict[str, Any]:
    """Interleaved: each round runs every peer once."""
    sink = Sink()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            with spool() as env:
                found[name].append(run(name, scenario, env, url=sink.url, **given)[0])
    sink.collector.close()
    return found


def measure_end() -> None:
    found = medians("end_cost", 3, peers(), seconds=6)
    for figure in ("p50", "p99", "p99.9"):
        row(
            f"`end()` at {RATE}/s, {figure}",
            {k: f"{statistics.median(r[figure] for r in v):.0f} µs" for k, v in found.items()},
        )


def measure_cpu() -> None:
    found = medians("cpu", 7, peers(), runs=400)
    costs = {k: [r["per span"] for r in v] for k, v in found.items()}
    row(
        "CPU per span with JSON and masking",
        {k: f"{statistics.median(v):.0f} µs" for k, v in costs.items()},
    )
    row(
        "its ratio to stock",
        {
            k: f"{statistics.median(a / b for a, b in zip(v, costs['stock'], strict=True)):.2f}"
            for k, v in costs.items()
        },
    )


def measure_lag() -> None:
    found = medians("lag", 5, ["nothing", *peers()], seconds=6)
    base = statistics.median(r["p99"] for r in found.pop("nothing"))
    added = {k: statistics.median(r["p99"] for r in v) - base for k, v in found.items()}
    row(
        f"added p99 of loop lag (alone {base:.2f} ms)", {k: f"{v:.2f} ms" for k, v in added.items()}
    )
    row("its ratio to stock", {k: f"{v / added['stock']:.2f}" for k, v in added.items()})


PARTS: dict[str, Callable[[], None]] = {
    "outage": lambda: measure_outage(5),
    "leave": measure_leave,
    "flush": measure_flush,
    "burst": measure_burst,
    "end": measure_end,
    "cpu": measure_cpu,
    "lag": measure_lag,
}
LONG: dict[str, Callable[[], None]] = {
    "outage30": lambda: measure_outage(30),
    "outage120": lambda: measure_outage(120),
}


def main() -> None:
    arguments = sys.argv[1:]
    parts = PARTS | (LONG if "--long" in arguments else {})
    named = [name for name in arguments if not name.startswith("-")]
    print("| figure | " + " | ".join(PEERS) + " |\n|---|" + "---|" * len(PEERS))
    for name in named or parts:
        (PARTS | LONG)[name]()


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
    else:
        main()
