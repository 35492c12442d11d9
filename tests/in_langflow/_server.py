"""Langflow and lfx as processes, and every way in which a client can run a flow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from backends import Span
from backends._process import Server, free_addresses, wait_for
from processes import Sink

from ._traces import of_session, status, trees

HERE = Path(__file__).parent
FLOWS = HERE / "flows"
ARRIVES_IN = 20.0


class Received:
    """What arrived at a sink, asked for by the session of a run."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def expect(
        self, session: str, *expected: Any, statuses: dict[str, str] | None = None
    ) -> dict[str, Span]:
        """
        The spans of *session* by name, as soon as their trees are those expected.

        *statuses* are those of the spans that neither say `ok` nor nothing.
        """
        self._arrived(session, lambda spans: trees(spans) == list(expected))
        spans = self.spans(session)
        assert trees(spans) == list(expected)
        said = {span["name"]: status(span) for span in spans}
        unusual = {name: one for name, one in said.items() if one not in ("ok", "unset")}
        assert unusual == (statuses or {})
        return {span["name"]: span for span in spans}

    def until(self, session: str, accepted: Callable[[list[Span]], bool]) -> None:
        """TimeoutError, which no expected failure is, if they do not arrive."""
        if not self._arrived(session, accepted):
            raise TimeoutError(f"not within {ARRIVES_IN:g} s; last seen: {self.spans(session)}")

    def _arrived(self, session: str, accepted: Callable[[list[Span]], bool]) -> bool:
        with self.sink.arrived:
            return self.sink.arrived.wait_for(
                lambda: accepted(self.spans(session)), timeout=ARRIVES_IN
            )

    def spans(self, session: str) -> list[Span]:
        return of_session(self.sink.readable, session)


class Langflow(Received):
    """A running server with the flows of `flows/`, each uploaded once."""

    def __init__(self, url: str, home: Path, sink: Sink, dumped: Path) -> None:
        super().__init__(sink)
        self.home = home
        self.pid = 0  # of the process that was started; its workers are below it
        self.client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        token = self.call("GET", "/api/v1/auto_login")["access_token"]
        self.client.headers["Authorization"] = f"Bearer {token}"
        key = self.call("POST", "/api/v1/api_key/", {"name": "tests"})["api_key"]
        self.client.headers["x-api-key"] = key
        self._dumped = dumped
        self._ids: dict[str, str] = {}

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The answer: JSON where it is JSON, else its text (a stream, to its end)."""
        answer = self.client.request(method, path, json=body, **options)
        try:
            return answer.json()
        except ValueError:
            return answer.text

    def flow(self, file: str) -> str:
        """The id of the flow of `flows/{file}_flow.py`."""
        if file not in self._ids:
            flow = (self._dumped / f"{file}.json").read_text()
            if "ID-OF-HELLO" in flow:
                flow = flow.replace("ID-OF-HELLO", self.flow("hello"))
            self._ids[file] = self.upload(json.loads(flow))
        return self._ids[file]

    def upload(self, flow: dict[str, Any]) -> str:
        made = self.call("POST", "/api/v1/flows/", flow)
        assert "id" in made, made
        return str(made["id"])

    def run(self, file: str, way: str = "run", text: str = "hi", **options: Any) -> str:
        """Runs the flow to its end, whatever that is, and answers with the session of the run."""
        session = new_session()
        WAYS[way](self, self.flow(file), session, text, **options)
        return session


def new_session() -> str:
    return f"session-{uuid.uuid4().hex[:12]}"


# ---- the ways

Answer = Any


def _run(langflow: Langflow, flow: str, session: str, text: str, **options: Any) -> Answer:
    body = {"input_value": text, "session_id": session}
    return langflow.call("POST", f"/api/v1/run/{flow}?stream=false", body, **options)


def _run_streaming(
    langflow: Langflow, flow: str, session: str, text: str, **options: Any
) -> Answer:
    body = {"input_value": text, "session_id": session}
    return langflow.call("POST", f"/api/v1/run/{flow}?stream=true", body, **options)


def start_build(langflow: Langflow, flow: str, session: str, text: str, delivery: str) -> Answer:
    body = {"inputs": {"input_value": text, "session": session}}
    return langflow.call("POST", f"/api/v1/build/{flow}/flow?event_delivery={delivery}", body)


def _build(delivery: str) -> Callable[..., Answer]:
    def build(langflow: Langflow, flow: str, session: str, text: str) -> Answer:
        answer = start_build(langflow, flow, session, text, delivery)
        if delivery == "direct":
            return answer
        events = f"/api/v1/build/{answer['job_id']}/events?event_delivery={delivery}"
        if delivery == "streaming":
            return langflow.call("GET", events)
        seen = ""
        for _ in range(200):  # each waits for an event
            part = langflow.call("GET", events)
            seen += part if isinstance(part, str) else json.dumps(part)
            if re.search(r'"event": ?"(end|error)"', seen):
                break
        return seen

    return build


def _workflow(mode: str) -> Callable[..., Answer]:
    def run(langflow: Langflow, flow: str, session: str, text: str, **options: Any) -> Answer:
        body = {"flow_id": flow, "input_value": text, "session_id": session, "mode": mode}
        answer = langflow.call("POST", "/api/v2/workflows", body, **options)
        if mode == "background":
            job = f"/api/v2/workflows?job_id={answer['job_id']}"
            over = ("completed", "job_failed", "cancelled", "suspended")
            return wait_for(
                lambda: langflow.call("GET", job),
                until=lambda seen: any(f"'{one}'" in str(seen).lower() for one in over),
                timeout=30,
            )
        return answer

    return run


WAYS: dict[str, Callable[..., Answer]] = {
    "run": _run,
    "run streaming": _run_streaming,
    "playground direct": _build("direct"),
    "playground streaming": _build("streaming"),
    "playground polling": _build("polling"),
    "v2 sync": _workflow("sync"),
    "v2 stream": _workflow("stream"),
    "v2 background": _workflow("background"),
}


# ---- the processes


def langflow_python() -> Path:
    """The Python that has Langflow, or the test is skipped."""
    set_to = os.environ.get("FLOWSPAN_LANGFLOW_PYTHON")
    python = Path(set_to) if set_to else HERE.parents[1] / ".venv-langflow" / "bin" / "python"
    if not python.exists():
        pytest.skip("no Langflow here: tests/in_langflow/install gets it, in half a minute")
    return python


def environment(home: Path, sink: Sink | None, **more: str) -> dict[str, str]:
    """
    All that a process of Langflow or lfx is given; *home* is where it keeps what it keeps.

    What *more* says is empty is not set at all.
    """
    env = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "PYTHONPATH": f"{FLOWS}:{HERE / 'odd'}",
        "DO_NOT_TRACK": "true",
        "LANGFLOW_LOG_LEVEL": "warning",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    if sink is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = sink.url
    return {name: value for name, value in (env | more).items() if value}


@contextmanager
def running_langflow(
    python: Path,
    home: Path,
    sink: Sink,
    dumped: Path,
    *,
    workers: int = 1,
    toml: str = "",
    pretty: str = "false",
    **more: str,
) -> Iterator[Langflow]:
    """`langflow run`, as a user starts it. *toml*: what its `lfx.toml` says."""
    (home / "lfx.toml").write_text(toml)
    (address,) = free_addresses(1)
    host, port = address.split(":")
    command = [str(python), "-m", "langflow", "run", "--backend-only"]
    server = Server(
        [*command, "--host", host, "--port", port, "--workers", str(workers)],
        env=environment(home, sink, **more)
        | {
            "LANGFLOW_AUTO_LOGIN": "true",
            "LANGFLOW_SKIP_AUTH_AUTO_LOGIN": "true",
            "LANGFLOW_CONFIG_DIR": str(home),
            "LANGFLOW_DATABASE_URL": f"sqlite:///{home}/langflow.db",
            "LANGFLOW_OPEN_BROWSER": "false",
            "LANGFLOW_STORE": "false",
            "LANGFLOW_PRETTY_LOGS": pretty,  # a failing flow took it four seconds to print
        },
        health=f"http://{address}/health",
        log=home / f"langflow-{port}.log",
        start_timeout=400,  # of several at once on a busy machine
    )
    server.start()
    try:
        langflow = Langflow(f"http://{address}", home, sink, dumped)
        langflow.pid = server.pid
        with closing(langflow.client):
            yield langflow
    finally:
        server.stop()


def lfx(
    python: Path, home: Path, *arguments: str, typed: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """`lfx …` to its end; *typed* is what a person answers."""
    return subprocess.run(
        [str(python), "-m", "lfx", *arguments],
        env=env,
        cwd=home,
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
