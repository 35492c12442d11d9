"""Every way to run a flow in Langflow: one trace, one root, all components, statuses."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from flowspan import semconv

from ._door import Door
from ._server import WAYS, Langflow, new_session
from ._traces import edges

each_way = pytest.mark.parametrize("way", WAYS)


@each_way
def test_a_run_is_one_trace(langflow: Langflow, way: str):
    """Its root says `ok`; the edges of the graph are links between the components."""
    session = langflow.run("hello", way)

    spans = langflow.expect(
        session, {"Hello": {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}}
    )

    run = spans["Hello"]
    assert run["attributes"][semconv.RUN_STATUS] == "ok"
    assert edges(spans.values()) == {
        ("Chat Input", "Prompt Template"),
        ("Prompt Template", "Chat Output"),
    }
    for span in spans.values():
        assert run["start_nanos"] <= span["start_nanos"]
        assert span["end_nanos"] <= run["end_nanos"]


@each_way
def test_a_component_has_its_own_times(langflow: Langflow, door: Door, way: str):
    """It began before it knocked at a door, and ended after that was opened to it."""
    with ThreadPoolExecutor(1) as client:
        running = client.submit(langflow.run, "calls_out", way, door.url)
        door.wait_for("injected")
        waits = time.time_ns()
        door.open()
        session = running.result()

    langflow.until(session, lambda spans: len(spans) == 4)

    spans = {span["name"]: span for span in langflow.spans(session)}
    assert spans["Calls out"]["start_nanos"] <= waits
    assert waits <= spans["Calls out"]["end_nanos"]
    assert spans["Chat Input"]["end_nanos"] <= waits
    assert waits <= spans["Chat Output"]["start_nanos"]


@each_way
def test_whose_run_of_which_flow_it_is(langflow: Langflow, way: str):
    """The names that Langflow's users know; the project is Langflow's default."""
    user = langflow.call("GET", "/api/v1/users/whoami")["id"]
    session = langflow.run("hello", way)
    langflow.until(session, lambda spans: len(spans) == 4)

    run, *components = langflow.spans(session)

    said = {
        semconv.GEN_AI_WORKFLOW_NAME: "Hello",
        semconv.FLOW_ID: langflow.flow("hello"),
        semconv.PROJECT_NAME: "Langflow",
        semconv.SESSION_ID: session,
        semconv.USER_ID: user,
    }
    assert {name: run["attributes"].get(name) for name in said} == said
    for span in components:
        assert span["attributes"][semconv.SESSION_ID] == session
        assert span["attributes"][semconv.USER_ID] == user


def test_the_end_user(langflow: Langflow):
    """Whom the caller of the API names, beside the Langflow user whose key it is."""
    session = new_session()
    body = {"input_value": "hi", "session_id": session, "user_id": "customer-7"}
    langflow.call("POST", f"/api/v1/run/{langflow.flow('hello')}?stream=false", body)
    langflow.until(session, lambda spans: len(spans) == 4)

    run, *_ = langflow.spans(session)

    assert run["attributes"][semconv.ENDUSER_ID] == "customer-7"
    assert run["attributes"][semconv.USER_ID] != "customer-7"


@each_way
def test_a_failing_run_says_where_it_failed(langflow: Langflow, way: str):
    """
    The component has the exception, the run its kind; what worked before is not in error.

    Also where Langflow ends the run first without its error. No secret is on the wire: not the
    password field's, nor those in a text, a log and the exception.
    """
    session = langflow.run("failing", way)

    spans = langflow.expect(
        session,
        {"Failing": {"Chat Input": {}, "A": {}, "Fails": {}}},
        statuses={"Failing": "error", "Fails": "error"},
    )

    assert [event["name"] for event in spans["Fails"]["events"]] == ["flowspan.log", "exception"]
    types = {name: span["attributes"].get(semconv.ERROR_TYPE) for name, span in spans.items()}
    assert types == {"Failing": "ValueError", "Chat Input": None, "A": None, "Fails": "ValueError"}
    assert spans["Failing"]["events"] == []
    for secret in ("password-field", "plain0123456789", "logged0123456789", "raised0123456789"):
        assert secret not in str(spans)
    assert "[REDACTED]" in str(spans)


@each_way
def test_branches_are_siblings(langflow: Langflow, way: str):
    """Whether Langflow builds them one after another or at the same time."""
    session = langflow.run("branches", way)

    spans = langflow.expect(
        session, {"Branches": {"Chat Input": {}, "A": {}, "B": {}, "Join": {}, "Chat Output": {}}}
    )

    assert {("A", "Join"), ("B", "Join")} <= edges(spans.values())
