"""
What `flowspan view` takes for 100,000 spans: the list of their runs, from each kind of input.

Workload: runs of ten components, each with 1 KiB of nested JSON in, 1 KiB out and two logs, as
flowspan records them. Each figure is of a process of its own from its start to its end: the median
of the rounds in time, the most in memory. Two minutes.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from core import COMPONENTS, PAYLOADS
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import flowspan
from flowspan.delivery._encoder import Encoder
from flowspan.delivery._spool import Spool
from flowspan.pipeline import make_provider

SPANS = 100_000
RUNS = SPANS // (COMPONENTS + 1)
ROUNDS = 5
COMMAND = str(Path(sys.executable).parent / "flowspan")


async def one_run() -> None:
    service = flowspan.TracingService()
    await service.start_tracers(None, "Support bot", user_id="u-1", session_id="s-1")
    for number in range(COMPONENTS):
        name = f"Component {number}"
        component = flowspan.Component(f"Prompt-{number}", name, "prompt")
        async with service.trace_component(component, name, PAYLOADS[2 * number]):
            service.add_log(name, "template loaded")
            service.set_outputs(name, PAYLOADS[2 * number + 1])
            service.add_log(name, "3 rows")
    await service.end_tracers({"answer": "It arrives on Tuesday."})


def recorded() -> bytes:
    """One run as a request."""
    memory = InMemorySpanExporter()
    config = flowspan.Config()
    provider = make_provider(config, [SimpleSpanProcessor(memory)])
    pipeline = flowspan.configure(config, tracer_provider=provider)
    asyncio.run(one_run())
    pipeline.shutdown()
    (batch,) = Encoder().encode(memory.get_finished_spans())
    return batch.body


class Copies:
    """The run over and over, with other ids each time."""

    def __init__(self, directory: Path) -> None:
        from flowspan.cli.view._protobuf import spans_of
        from flowspan.cli.view._stored import Store

        self.body = recorded()
        spans = list(spans_of(self.body, Store()))
        self.trace = bytes.fromhex(spans[0].trace_id)
        self.ids = [bytes.fromhex(span.span_id) for span in spans]
        self.count = len(spans)
        self.json = self._as_json(directory)

    def _as_json(self, directory: Path) -> bytes:
        from flowspan.cli.view._model import Trace
        from flowspan.cli.view._protobuf import spans_of
        from flowspan.cli.view._stored import Store
        from flowspan.cli.view._write import write

        path = directory / "one.json"
        with path.open("wb") as file:
            write([Trace("", list(spans_of(self.body, Store())))], file)
        return path.read_bytes()

    def bodies(self) -> Iterator[bytes]:
        for number in range(1, RUNS + 1):
            body = self.body.replace(self.trace, number.to_bytes(16, "big"))
            for at, span_id in enumerate(self.ids):
                body = body.replace(span_id, (number * 100 + at + 1).to_bytes(8, "big"))
            yield body

    def documents(self) -> Iterator[bytes]:
        for number in range(1, RUNS + 1):
            text = self.json.replace(self.trace.hex().encode(), b"%032x" % number)
            for at, span_id in enumerate(self.ids):
                text = text.replace(span_id.hex().encode(), b"%016x" % (number * 100 + at + 1))
            yield text


def inputs(directory: Path) -> Iterator[tuple[str, list[str], int]]:
    """What it is called, the arguments, its bytes."""
    copies = Copies(directory)
    lines, one = directory / "lines.json", directory / "one.json"
    with lines.open("wb") as line_file, one.open("wb") as one_file:
        one_file.write(b'{"resourceSpans":[')
        for number, text in enumerate(copies.documents()):
            line_file.write(text)
            one_file.write(b"," if number else b"")
            one_file.write(text.strip().removeprefix(b'{"resourceSpans":[').removesuffix(b"]}"))
        one_file.write(b"]}")
    yield "a request per line", [str(lines)], lines.stat().st_size
    yield "one document", [str(one)], one.stat().st_size
    packed = directory / "lines.json.gz"
    with lines.open("rb") as file, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(file, target)
    yield "a request per line, gzip", [str(packed)], packed.stat().st_size
    waiting = directory / "spool"
    spool = Spool(waiting, on_dropped=lambda spans, reason: None)
    for body in copies.bodies():
        spool.append(body, copies.count)
    spool.close()
    size = sum(path.stat().st_size for path in waiting.iterdir())
    yield "a spool", ["--spool", str(waiting)], size


def measured(arguments: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of CPU, MB at most."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [COMMAND, "view", *arguments], stdout=subprocess.PIPE, env=os.environ | {"COLUMNS": "120"}
    )
    assert process.stdout is not None
    output = process.stdout.read().decode()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - start
    assert process.returncode == 0, output
    assert f"{RUNS:,} traces" in output, output
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    directory = Path(tempfile.mkdtemp(prefix="flowspan-benchmark-"))
    try:
        found = list(inputs(directory))
        rounds: dict[str, list[tuple[float, float, float]]] = {name: [] for name, _, _ in found}
        for _ in range(ROUNDS):
            for name, arguments, _ in found:
                rounds[name].append(measured(arguments))
    finally:
        shutil.rmtree(directory)
    print(f"{RUNS * (COMPONENTS + 1):,} spans of {RUNS:,} runs\n")
    print("| input | MB | s | s of CPU | MB of memory at most |")
    print("|---|---|---|---|---|")
    for name, _, size in found:
        took, cpu, memory = zip(*rounds[name], strict=True)
        print(
            f"| {name} | {size / 1e6:.0f} | {statistics.median(took):.1f} "
            f"| {statistics.median(cpu):.1f} | {max(memory):.0f} |"
        )


if __name__ == "__main__":
    main()
