"""The lfx commands: no server, no tracing service of their own."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from backends._process import Server, free_addresses, wait_for
from flowspan import semconv
from processes import Sink

from ._server import FLOWS, HERE, Received, environment, lfx, new_session
from ._traces import status, trees

BELOW_HELLO = {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}
ASKED = {"Chat Input": {}, "Human Input": {}}
ANSWERED = {"Human Input": {}, "A": {}, "Chat Output": {}}
SERVED_AS = "flow"  # lfx serve passes no name, and of two files none is the one
HELLO = {SERVED_AS: BELOW_HELLO}
FAILING = {SERVED_AS: {"Chat Input": {}, "A": {}, "Fails": {}}}


@pytest.fixture
def run(python: Path, sink: Sink, tmp_path: Path):
    """`run("hello")`: `lfx run` of that file to its end; answers with the session."""

    def run(flow: str, *options: str, typed: str = "", **env: str) -> str:
        session = new_session()
        file = str(FLOWS / f"{flow}_flow.py")
        more = environment(tmp_path, sink, **env)
        command = ("run", file, "hi", "--session-id", session, *options)
        done = lfx(python, tmp_path, *command, typed=typed, **more)
        assert (done.returncode == 0) == (flow != "failing"), done.stderr
        return session

    return run


def test_run_is_named_after_the_file(run, sink: Sink):
    """lfx knows no name of the flow; nothing is lost at the exit of the process."""
    spans = Received(sink).expect(run("hello"), {"hello_flow": BELOW_HELLO})

    assert spans["hello_flow"]["attributes"][semconv.RUN_STATUS] == "ok"


def test_run_fails(run, sink: Sink):
    """lfx never says that the run has ended; its last component does."""
    spans = Received(sink).expect(
        run("failing"),
        {"failing_flow": {"Chat Input": {}, "A": {}, "Fails": {}}},
        statuses={"failing_flow": "error", "Fails": "error"},
    )

    assert spans["Fails"]["events"][-1]["name"] == "exception"


def test_run_asks_a_person(run, sink: Sink):
    """
    Both parts are in one trace, below the first of lfx's roots, the second linked to the first.

    lfx ends neither: one ended with its question, the other with its last component.
    """
    received = Received(sink)
    session = run("approval", "--human-input", typed="1\n")
    before, after = ({"approval_flow": below} for below in (ASKED, ANSWERED))
    received.until(session, lambda spans: trees(spans) == [before, after])

    spans = received.spans(session)
    first, second = [s for s in spans if s["name"] == "approval_flow"]

    assert {span["trace_id"] for span in spans} == {first["trace_id"]}
    assert (status(first), status(second)) == ("paused", "ok")
    assert [link["span_id"] for link in second["links"]] == [first["span_id"]]
    for root in (first, second):
        below = [s["end_nanos"] for s in spans if s["parent_span_id"] == root["span_id"]]
        assert root["end_nanos"] == max(below)


def test_run_edges_can_be_parents(run, sink: Sink):
    Received(sink).expect(
        run("branches", FLOWSPAN_PARENTING="edge"),
        {"branches_flow": {"Chat Input": {"A": {}, "B": {"Join": {"Chat Output": {}}}}}},
    )


def test_run_with_flowspan_used_before_the_first_flow(run, sink: Sink):
    """Both are exported, though lfx has set a provider already that drops all but its own spans."""
    received = Received(sink)
    session = run("early")

    early = received.expect("early", {"Early": {"Reads": {}}})
    received.expect(session, {"early_flow": {"Chat Input": {}, "Chat Output": {}}})

    assert json.loads(early["Early"]["attributes"][semconv.METADATA]) == {"first": True}


def test_run_has_the_project_name(run, sink: Sink):
    session = run("hello", LANGCHAIN_PROJECT="Parcels")
    spans = Received(sink).expect(session, {"hello_flow": BELOW_HELLO})

    assert spans["hello_flow"]["attributes"][semconv.PROJECT_NAME] == "Parcels"
    assert spans["Chat Output"]["attributes"][semconv.SESSION_ID] == session


def test_run_with_tracing_deactivated(run, sink: Sink):
    run("hello", LANGFLOW_DEACTIVATE_TRACING="true")

    assert [s for s in sink.readable if s["scope"]["name"] == semconv.SCOPE_NAME] == []


def test_run_with_an_lfx_of_another_version(python: Path, sink: Sink, tmp_path: Path):
    """What counts is its interface: nothing is left out, and nothing is said."""
    later = tmp_path / "lfx-9.9.9.dist-info"
    later.mkdir()
    (later / "METADATA").write_text("Metadata-Version: 2.1\nName: lfx\nVersion: 9.9.9\n")
    env = environment(tmp_path, sink, PYTHONPATH=f"{tmp_path}:{FLOWS}")
    assert lfx(python, tmp_path, "--version", **env).stdout.strip() == "lfx 9.9.9"

    session = new_session()
    file = str(FLOWS / "hello_flow.py")
    done = lfx(python, tmp_path, "run", file, "hi", "--session-id", session, **env)

    Received(sink).expect(session, {"hello_flow": BELOW_HELLO})
    assert "flowspan" not in done.stderr


NOWHERE = "http://127.0.0.1:9"
ONLY_OURS = {  # lfx exports only to the general endpoint
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{NOWHERE}/v1/traces",
}


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (ONLY_OURS, f"flowspan: {NOWHERE}/v1/traces: connection refused"),
        ({**ONLY_OURS, "FLOWSPAN_SPOOL_DIR": "/proc/x"}, "flowspan: the spool directory /proc/x"),
    ],
    ids=["endpoint", "spool"],
)
def test_a_run_answers_the_same_bytes_whatever_is_amiss(
    python: Path, tmp_path: Path, env: dict[str, str], said: str
):
    """lfx makes what is written to stderr during a run a part of the answer: no warning of ours."""
    command = ("run", str(FLOWS / "hello_flow.py"), "hi")
    without = lfx(python, tmp_path, *command, **environment(tmp_path, None))

    done = lfx(python, tmp_path, *command, **environment(tmp_path, None, **env))

    assert done.stdout == without.stdout
    assert said in done.stderr
    assert "flowspan" not in without.stderr


ANOTHER_INTERFACE = """
import asyncio
import lfx.services.manager
class Manager:
    pass
lfx.services.manager.get_service_manager = Manager
from flowspan.langflow import LangflowTracingService
async def flow():
    service = LangflowTracingService()
    await service.start_tracers("r-1", "Flow", None, "session-1", is_new="1")
    async with service.trace_component(None, "A", {}, {}, is_new="2"):
        service.add_log("A", "line")
    await service.end_tracers({}, None, is_new="3")
asyncio.run(flow())
"""


def test_an_lfx_with_another_interface(python: Path, sink: Sink, tmp_path: Path):
    """One line says what is amiss; what can be traced is."""
    done = subprocess.run(
        [python, "-c", ANOTHER_INTERFACE],
        env=environment(tmp_path, sink),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    Received(sink).expect("session-1", {"Flow": {"A": {}}})
    (line,) = [line for line in done.stderr.splitlines() if "flowspan" in line]
    assert "find Langflow's own tracing service" in line
    assert "it knows lfx 1.13, please report your version" in line


def test_what_their_service_raises_is_raised(python: Path, sink: Sink, tmp_path: Path):
    """By each of its methods, as without us; what it swallows is swallowed. Our trace is whole."""
    done = subprocess.run(
        [python, HERE / "odd" / "theirs_raises.py"],
        env=environment(tmp_path, sink),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.split() == [
        *("start_tracers", "trace_component", "enter", "exit"),
        *("add_log", "set_outputs", "get_langchain_callbacks", "get_tracer", "record_event_span"),
        *("project_name", "deactivated", "end_tracers", "teardown"),
    ]
    below = {"enter": {}, "exit": {}, "calls": {}, "Step": {}, "swallow": {}}
    Received(sink).until("session-1", lambda spans: trees(spans) == [{"Flow": below}])


def test_a_vendor_tracer_whose_ready_raises(python: Path, sink: Sink, tmp_path: Path):
    """Langflow guards what it calls of a tracer, not this: the flow hears it as without us."""

    def heard(whose: str) -> list[str]:
        done = subprocess.run(
            [python, HERE / "odd" / "unready.py", whose],
            env=environment(tmp_path, sink),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return [line for line in done.stdout.splitlines() if not line.startswith("{")]

    alone = heard("alone")
    assert alone == ["start well", "callbacks ready", "event ready", "work well", "end ready"]
    assert heard("ours") == alone
    Received(sink).expect("session-1", {"Flow": {"A": {}, "Step": {}}})


NO_USAGE = ("_token_usage", "_token_usage.input_tokens", "*")
NO_EDGE = ("_vertex", "_vertex.incoming_edges", "_vertex.incoming_edges.source_id", "*")


def test_an_attribute_that_raises_costs_only_itself(python: Path, sink: Sink, tmp_path: Path):
    """Each that is read of a component, one after another, and all of them: its work is done."""
    done = subprocess.run(
        [python, HERE / "odd" / "broken_components.py"],
        env=environment(tmp_path, sink),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    broken = [line.removeprefix("done ") for line in done.stdout.splitlines()]
    assert len(broken) == 24
    received = Received(sink)
    for one in broken:
        received.until(one, lambda spans: len(spans) == 3)
        run, before, component = received.spans(one)
        assert component["parent_span_id"] == before["parent_span_id"] == run["span_id"]
        assert component["attributes"][semconv.OUTPUT_VALUE] == '{"out":"done"}'
        assert status(run) == "ok"
        assert run["attributes"].get(semconv.USAGE_INPUT_TOKENS, 0) == (0 if one in NO_USAGE else 7)
        assert bool(component["links"]) == (one not in NO_EDGE), one
    assert done.stderr.count("flowspan: ") <= 1  # each kind once


# ---- lfx serve


class Served(Received):
    def __init__(self, url: str, sink: Sink) -> None:
        super().__init__(sink)
        self.client = httpx.Client(
            base_url=url, headers={"x-api-key": "key"}, timeout=60, trust_env=False
        )
        self.ids = {flow["title"]: flow["id"] for flow in self.client.get("/flows").json()}

    def run(self, flow: str, endpoint: str = "run", **headers: str) -> str:
        session = new_session()
        body = {"input_value": "hi", "session_id": session}
        self.client.post(f"/flows/{self.ids[flow]}/{endpoint}", json=body, headers=headers)
        return session


@contextmanager
def serving(
    python: Path, home: Path, sink: Sink, *flows: Path, **env: str
) -> Iterator[tuple[Served, Path]]:
    """`lfx serve`, and where its stdout and stderr go."""
    (address,) = free_addresses(1)
    host, port = address.split(":")
    command = [str(python), "-m", "lfx", "serve", "--host", host, "--port", port]
    server = Server(
        [*command, *map(str, flows)],
        env=environment(home, sink, LANGFLOW_API_KEY="key", **env),
        health=f"http://{address}/health",
        log=home / "lfx.log",
        start_timeout=120,
    )
    server.start()
    try:
        served = Served(f"http://{address}", sink)
        with closing(served.client):
            yield served, server.log
    finally:
        server.stop()


@pytest.fixture(scope="module")
def served(
    python: Path, dumped: Path, langflow_sink: Sink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("lfx")
    flows = dumped / "hello.json", dumped / "failing.json"
    with serving(python, home, langflow_sink, *flows) as (served, _):
        yield served


@pytest.mark.parametrize("endpoint", ["run", "stream"])
def test_a_served_request_is_one_trace(served: Served, endpoint: str):
    served.expect(served.run("Hello", endpoint), HELLO)


@pytest.mark.parametrize("endpoint", ["run", "stream"])
def test_a_served_run_is_in_the_trace_of_the_request(served: Served, endpoint: str):
    trace_id = secrets.token_hex(16)
    traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-01"

    spans = served.expect(served.run("Hello", endpoint, traceparent=traceparent), HELLO)

    assert spans[SERVED_AS]["trace_id"] == trace_id


@pytest.mark.parametrize("endpoint", ["run", "stream"])
def test_a_served_flow_fails(served: Served, endpoint: str):
    session = served.run("Failing", endpoint)

    served.expect(session, FAILING, statuses={SERVED_AS: "error", "Fails": "error"})


def test_what_a_server_without_an_endpoint_says(
    python: Path, dumped: Path, sink: Sink, tmp_path: Path
):
    """
    A warning of ours is seen, though lfx shows none at its default level; nothing else is added.

    The trace of a request is lost there: lfx takes it out of the context and leaves no trace of it.
    """
    wrong = {"OTEL_TRACES_EXPORTER": "console,otlp", "FLOWSPAN_SPOOL_DIR": "/proc/x"}
    without = {"OTEL_EXPORTER_OTLP_ENDPOINT": "", "LANGFLOW_LOG_LEVEL": ""}
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    with serving(python, tmp_path, sink, dumped / "hello.json", **without, **wrong) as (
        served,
        log,
    ):
        served.run("Hello", traceparent=traceparent)
        said = wait_for(log.read_text, until=lambda text: '"name": "hello"' in text, timeout=20)

    assert said.count("flowspan: the spool directory /proc/x") == 1
    (parent,) = re.findall(r'"name": "hello",.*?"parent_id": (\S+),', said, re.DOTALL)
    assert parent == "null"


def test_serving_many_at_a_time(served: Served):
    """Each request its own trace, whole, and the failing ones fail alone."""
    flows = ["Hello", "Hello", "Hello", "Failing"] * 15
    with ThreadPoolExecutor(20) as clients:
        sessions = list(clients.map(served.run, flows))

    for flow, session in zip(flows, sessions, strict=True):
        if flow == "Hello":
            served.expect(session, HELLO)
        else:
            served.expect(session, FAILING, statuses={SERVED_AS: "error", "Fails": "error"})
