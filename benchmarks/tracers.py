"""
What becomes of an application's spans under each tracer, at its defaults: `docs/comparison.md`.

`python benchmarks/tracers.py [NAME …]`: ten minutes for all. Each tracer is installed into an
environment of its own below `.venv-tracers`, records its inputs by its own API, and sends to a
collector on this machine that has bad days. Nothing else is reached: proxies lead nowhere.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
HERE = ROOT / ".venv-tracers"
KEY = "sk-proj-Zx81vQw7Lm29Tb4Kd6Rf0Hs3"
PASSWORD = "hunter2-correct-horse"

Call = Callable[[str, Any, Callable[[], object]], object]
"""`call(name, inputs, body)`: *body* inside a span."""


# ---- the application, in a tracer's environment


def stock(url: str) -> tuple[Call, Callable[[], object]]:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    tracer = provider.get_tracer("app")

    def call(name: str, inputs: Any, body: Callable[[], object]) -> object:
        text = json.dumps(inputs, default=repr)
        with tracer.start_as_current_span(name, attributes={"input.value": text}):
            return body()

    return call, lambda: provider.force_flush(2_000)


def ours(url: str) -> tuple[Call, Callable[[], object]]:
    import flowspan

    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = url
    pipeline = flowspan.configure()

    def call(name: str, inputs: Any, body: Callable[[], object]) -> object:
        with flowspan.run(name, inputs=inputs):
            return body()

    return call, lambda: pipeline.force_flush(2.0)


def logfire(url: str) -> tuple[Call, Callable[[], object]]:
    import logfire

    logfire.configure(
        token="pylf_v1_us_" + "a" * 43,
        console=False,
        inspect_arguments=False,
        advanced=logfire.AdvancedOptions(base_url=url),
    )

    def call(name: str, inputs: Any, body: Callable[[], object]) -> object:
        with logfire.span(name, **inputs):
            return body()

    return call, lambda: logfire.force_flush(2_000)


def langfuse(url: str) -> tuple[Call, Callable[[], object]]:
    from langfuse import Langfuse

    client = Langfuse(public_key="pk-lf-1", secret_key="sk-lf-1", base_url=url)

    def call(name: str, inputs: Any, body: Callable[[], object]) -> object:
        with client.start_as_current_observation(name=name, input=inputs):
            return body()

    return call, client.flush


def openllmetry(url: str) -> tuple[Call, Callable[[], object]]:
    from opentelemetry import trace
    from traceloop.sdk import Traceloop
    from traceloop.sdk.decorators import workflow

    Traceloop.init(app_name="app", api_endpoint=url, api_key="k", telemetry_enabled=False)

    def call(name: str, inputs: Any, body: Callable[[], object]) -> object:
        def work(inputs: Any) -> object:
            body()

        return workflow(name=name)(work)(inputs)

    provider: Any = trace.get_tracer_provider()
    return call, lambda: provider.force_flush(2_000)


def openinference(url: str) -> tuple[Call, Callable[[], object]]:
    from phoenix.otel import register

    provider = register(
        endpoint=f"{url}/v1/traces", protocol="http/protobuf", batch=True, verbose=False
    )
    tracer = provider.get_tracer("app")

    def call(name: str, inputs: Any, body: Callable[[], object]) -> object:
        def work(inputs: Any) -> object:
            body()

        return tracer.chain(name=name)(work)(inputs)

    return call, lambda: provider.force_flush(2_000)


TRACERS: dict[str, tuple[Callable[[str], tuple[Call, Callable[[], object]]], list[str]]] = {
    "flowspan": (ours, [str(ROOT)]),
    "stock": (stock, ["opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"]),
    "openllmetry": (openllmetry, ["traceloop-sdk", "httpx"]),
    "openinference": (openinference, ["arize-phoenix-otel", "openinference-instrumentation"]),
    "langfuse": (langfuse, ["langfuse"]),
    "logfire": (logfire, ["logfire"]),
}


def nothing() -> None:
    pass


class Wild:
    """A value of an application that cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError("no repr")

    __str__ = __repr__


def say(**found: object) -> None:
    print(json.dumps(found), flush=True)


def application(name: str, url: str, part: str) -> None:
    call, flush = TRACERS[name][0](url)

    def some(count: int, prefix: str) -> None:
        for number in range(count):
            call(f"{prefix}-{number}", {"number": number}, nothing)

    if part == "next":
        some(1, "next")
    elif part == "exit":
        some(20, "exit")
        say(left=time.time())
    elif part == "kill":
        some(20, "kill")
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    elif part == "outage":
        begin = time.monotonic()
        for number in range(10_000):
            call(f"outage-{number}", {"number": number}, nothing)
            time.sleep(max(0.0, begin + number / 500 - time.monotonic()))
        say(ready=True)
        sys.stdin.readline()
        some(1, "after")
        time.sleep(15)
    elif part == "flush":
        some(5, "flush")
        begin = time.monotonic()
        answer = flush()
        say(answer=repr(answer), seconds=round(time.monotonic() - begin, 2))
        os._exit(0)
    elif part == "secrets":
        call("secrets", {"api_key": KEY, "text": f"password={PASSWORD}, please"}, nothing)
        call("in text", {"text": f"use {KEY} for it"}, nothing)
    elif part == "size":
        call("size", {"text": "word " * 200_000}, nothing)
    elif part == "heavy":
        for number in range(60):
            call(f"heavy-{number}", {"text": f"{number} " * 30_000}, nothing)
    elif part == "child":
        some(1, "parent")
        child = multiprocessing.get_context("fork").Process(target=some, args=(20, "child"))
        child.start()
        child.join()
    elif part == "cancelled":

        def cancelled() -> None:
            raise asyncio.CancelledError

        with suppress(asyncio.CancelledError):
            call("cancelled", {"number": 1}, cancelled)
    elif part == "wild":
        try:
            call("wild", {"value": Wild()}, nothing)
        except ValueError:
            say(raised=True)


# ---- the collector's side, in this repository's environment


class Trial:
    def __init__(self, name: str, python: str) -> None:
        from faults import Collector

        self.name, self.python = name, python
        self.collector = Collector()
        self.directory = HERE / f"trial-{name}"
        self.directory.mkdir(parents=True, exist_ok=True)

    def start(self, part: str) -> subprocess.Popen[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "FLOWSPAN_"))}
        nowhere = {f"{p}_proxy": "http://127.0.0.1:9" for p in ("http", "https", "HTTP", "HTTPS")}
        others = {
            "no_proxy": "127.0.0.1,localhost",
            "TRACELOOP_TELEMETRY": "false",
            "XDG_STATE_HOME": str(self.directory),
            "HOME": str(self.directory),
            "PYTHONWARNINGS": "ignore",
        }
        command = [self.python, __file__, "--as", self.name, self.collector.url, part]
        return subprocess.Popen(
            command,
            env=kept | nowhere | others,
            cwd=self.directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, part: str) -> dict[str, Any]:
        process = self.start(part)
        out, err = process.communicate(timeout=300)
        (self.directory / f"{part}.log").write_text(err)
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(err[-2_000:])
        found: dict[str, Any] = {}
        for line in out.splitlines():
            if line.startswith("{"):
                found |= json.loads(line)
        return found | {"ended": time.time()}

    def arrived(self, prefix: str) -> int:
        spans = self.collector.spans
        return len({span.span_id for span in spans if span.name.startswith(f"{prefix}-")})

    def lost(self, prefix: str, of: int) -> str:
        return f"{of - self.arrived(prefix)} of {of:,}"

    def attributes(self, name: str) -> list[tuple[str, str]]:
        return [
            (given.key, given.value.string_value)
            for span in self.collector.spans
            if span.name.startswith(name)
            for given in span.attributes
        ]

    # ---- the questions

    def down_at_exit(self) -> dict[str, str]:
        self.collector.refuse()
        found = self.run("exit")
        self.collector.listen()
        self.run("next")
        return {
            "exit with the collector down": f"{found['ended'] - found['left']:.1f} s",
            "lost then, after a later process": self.lost("exit", 20),
        }

    def killed(self) -> dict[str, str]:
        self.run("kill")
        self.run("next")
        return {"killed half a second after its last span": self.lost("kill", 20)}

    def outage(self) -> dict[str, str]:
        self.collector.refuse()
        process = self.start("outage")
        assert process.stdout is not None
        while '"ready"' not in (line := process.stdout.readline()):
            assert line, process.communicate()
        self.collector.listen()
        process.communicate("\n", timeout=300)
        return {"outage of 20 s, 500 spans a second": self.lost("outage", 10_000)}

    def flush(self) -> dict[str, str]:
        self.collector.refuse()
        found = self.run("flush")
        self.collector.listen()
        answer = f"{found['answer'].lower()}, {found['seconds']} s"
        return {"its flush, collector down": answer}

    def secrets(self) -> dict[str, str]:
        self.run("secrets")
        first, second = (
            " ".join(value for _, value in self.attributes(name)) for name in ("secrets", "in text")
        )
        if "api_key" not in first or "for it" not in second:
            raise RuntimeError(f"the inputs have not arrived: {first} {second}")
        return {
            "a key below `api_key`": "sent" if KEY in first else "hidden",
            "`password=…` in a text": "sent" if PASSWORD in first else "hidden",
            "a key in a text": "sent" if KEY in second else "hidden",
        }

    def size(self) -> dict[str, str]:
        self.run("size")
        values = [value for _, value in self.attributes("size") if "word word" in value]
        longest = max(values, key=len, default="")
        try:
            json.loads(longest)
            kind = "JSON"
        except ValueError:
            kind = "text"
        sent = f"{len(longest.encode()):,} bytes of {kind}" if longest else "not there"
        return {"an input of 1,000,000 bytes": sent}

    def heavy(self) -> dict[str, str]:
        from faults import ACCEPT, Reply

        limit = 4 << 20
        self.collector.behave(
            lambda request, body: ACCEPT if len(body) <= limit else Reply(status=413)
        )
        self.run("heavy")
        self.run("next")
        return {"60 spans of 90 kB, requests of 4 MiB at most": self.lost("heavy", 60)}

    def child(self) -> dict[str, str]:
        self.run("child")
        self.run("next")
        return {"made in a forked process": self.lost("child", 20)}

    def cancelled(self) -> dict[str, str]:
        self.run("cancelled")
        names = {0: "unset", 1: "ok", 2: "error"}
        found = [span for span in self.collector.spans if span.name.startswith("cancelled")]
        said = [value for _, value in self.attributes("cancelled") if value == "cancelled"]
        status = names[found[0].status.code] if found else "not there"
        return {"status of what was cancelled": f"{status}, `cancelled`" if said else status}

    def wild(self) -> dict[str, str]:
        if self.name == "stock":
            return {}  # there the application turns its inputs into texts
        raised = self.run("wild").get("raised", False)
        return {"an input whose `repr` raises": "raises in the program" if raised else "goes on"}


QUESTIONS = (
    *("down_at_exit", "killed", "child", "heavy", "flush", "outage"),
    *("secrets", "size", "cancelled", "wild"),
)


def environment(name: str) -> str:
    """The Python of the tracer's environment, made if it is not there."""
    if name == "flowspan":
        return sys.executable
    python = HERE / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(HERE / name)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", *TRACERS[name][1]]
        subprocess.run(install, check=True)
    return str(python)


def versions(python: str, packages: list[str]) -> str:
    names = [Path(package).name if "/" not in package else "flowspan" for package in packages]
    code = (
        f"from importlib.metadata import version; print(*[n + ' ' + version(n) for n in {names}])"
    )
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def main(chosen: list[str]) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    table: dict[str, dict[str, str]] = {}
    for name in chosen:
        python = environment(name)
        table.setdefault("version", {})[name] = versions(python, TRACERS[name][1])
        for question in QUESTIONS:
            trial = Trial(name, python)
            try:
                answers = getattr(trial, question)()
            except Exception as error:  # noqa: BLE001 - of one tracer; the others go on
                answers = {question: f"failed: {error!r}"}
            finally:
                trial.collector.close()
            for row, answer in answers.items():
                table.setdefault(row, {})[name] = answer
                print(f"{name}: {row}: {answer}", file=sys.stderr, flush=True)
    print(f"| | {' | '.join(chosen)} |\n|{'---|' * (len(chosen) + 1)}")
    for row, answers in table.items():
        print(f"| {row} | {' | '.join(answers.get(name, '–') for name in chosen)} |")  # noqa: RUF001


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        application(*sys.argv[2:])
    else:
        main(sys.argv[1:] or list(TRACERS))
