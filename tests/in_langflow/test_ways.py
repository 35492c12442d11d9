"""Every way to run a flow in Langflow: one trace, one root, all components, statuses."""

from __future__ import annotations

import pytest

from ._server import WAYS, Langflow
from ._traces import edges, trees

each_way = pytest.mark.parametrize("way", WAYS)


@each_way
def test_a_run_is_one_trace(langflow: Langflow, way: str):
    """Its root says `ok`; the edges of the graph are links between the components."""
    session = langflow.run("hello", way)

    spans = langflow.expect(session, {"Hello": {"Chat Input": {}, "Prompt": {}, "Chat Output": {}}})

    assert spans["Hello"]["attributes"]["flowspan.run.status"] == "ok"
    assert edges(spans.values()) == {("Chat Input", "Prompt"), ("Prompt", "Chat Output")}
    for span in spans.values():
        assert spans["Hello"]["start_nanos"] <= span["start_nanos"]
        assert span["end_nanos"] <= spans["Hello"]["end_nanos"]


@each_way
def test_a_failing_run_says_where_it_failed(langflow: Langflow, way: str):
    """The component has the exception, the run its kind; what worked before is not in error."""
    session = langflow.run("fails", way)

    spans = langflow.expect(
        session,
        {"Fails": {"Chat Input": {}, "A": {}, "Fails": {}}},
        statuses={"Fails": "error"},
    )

    assert [event["name"] for event in spans["Fails"]["events"]] == ["flowspan.log", "exception"]
    roots = [s for s in langflow.spans(session) if "flowspan.run.status" in s["attributes"]]
    assert [root["attributes"]["error.type"] for root in roots] == ["ValueError"]
    assert trees(roots) == [{"Fails": {}}]


def test_branches_are_siblings(langflow: Langflow):
    session = langflow.run("branches", "playground direct")

    spans = langflow.expect(
        session,
        {"Branches": {"Chat Input": {}, "A": {}, "B": {}, "Join": {}, "Chat Output": {}}},
    )

    assert {("A", "Join"), ("B", "Join")} <= edges(spans.values())
