"""Langflow's own tracers beside us, and what happens to a flow when tracing goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from backends._process import wait_for

from ._server import ARRIVES_IN, WAYS, Langflow, new_session
from .conftest import Hanging

HELLO = {"Hello": {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}}


@pytest.mark.parametrize("way", ["run", "playground polling", "v2 sync"])
def test_the_trace_view_of_the_user_interface_goes_on(langflow: Langflow, way: str):
    """Langflow's native tracer records the same components as our trace has."""
    session = langflow.run("hello", way)
    langflow.expect(session, HELLO)

    (listed,) = langflow.call("GET", f"/api/v1/monitor/traces?session_id={session}")["traces"]
    native = langflow.call("GET", f"/api/v1/monitor/traces/{listed['id']}")

    assert sorted(names(native["spans"])) == ["Chat Input", "Chat Output", "Prompt Template"]


def names(native: list[dict[str, Any]]) -> Iterator[str]:
    """Of the components: the native tracer puts them below a span for the flow."""
    for span in native:
        below = span.get("children") or []
        if not below:
            yield span["name"].split(" (")[0]
        yield from names(below)


def test_whatever_goes_wrong_the_answers_are_the_same(
    badly_off: Langflow, without_us: Langflow, hanging: Hanging
):
    """
    Byte for byte those of a Langflow without us.

    Although the collector takes connections and never answers, the spool cannot be written, two
    vendor tracers raise wherever they can, a component's attributes raise, and what it gives to be
    traced, inputs and metadata, cannot be serialised.
    """
    session = new_session()
    ways = ("run", "playground streaming", "v2 sync", "v2 background")
    cases = [(file, way) for file in ("hello", "broken", "failing") for way in ways]

    answers = {case: answer(without_us, *case, session) for case in cases}
    assert all("hi Broken" in answers["broken", way] for way in ways)

    assert {case: answer(badly_off, *case, session) for case in cases} == answers
    assert hanging.reached.wait(ARRIVES_IN)


# At the level of a server's log; that a tracer could not be made Langflow says at DEBUG only.
RAISED = re.compile(r'"exc_value": "(?:add_trace|end_trace)"|Error ending all traces')


def test_a_failure_of_theirs_is_not_hidden(badly_off: Langflow, without_us: Langflow):
    """What a vendor tracer raises stands in Langflow's log, as it does without us."""
    for langflow in (without_us, badly_off):
        langflow.run("hello")
        (log,) = langflow.home.glob("langflow-*.log")

        said = wait_for(
            lambda log=log: set(RAISED.findall(log.read_text())),
            until=lambda said: len(said) == 3,
            timeout=ARRIVES_IN,
        )
        assert len(said) == 3


@pytest.mark.parametrize("way", ["run", "playground polling", "v2 sync"])
def test_deactivated_is_deactivated(deactivated: Langflow, way: str):
    """`LANGFLOW_DEACTIVATE_TRACING` holds for us as well; Langflow's own export goes on."""
    session = deactivated.run("hello", way)
    sink = deactivated.sink

    def arrived() -> bool:
        return any(span["attributes"].get("session_id") == session for span in sink.readable)

    with sink.arrived:
        assert sink.arrived.wait_for(arrived, timeout=ARRIVES_IN)
    assert deactivated.spans(session) == []


def answer(langflow: Langflow, file: str, way: str, session: str) -> str:
    """What the client gets, without what differs from run to run: ids, moments, durations."""
    flow = langflow.flow(file)
    given = WAYS[way](langflow, flow, session, "hi")
    text = given if isinstance(given, str) else json.dumps(given)
    text = text.replace(flow, "FLOW").replace(session, "SESSION")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( UTC|Z|[+-]\d\d:?\d\d)?", "NOW", text)
    return re.sub(r"\b\d+(\.\d+)?( ?m?s| seconds)?\b", "0", text)
