"""Sub-flows, loops and routers: a run inside a run is below the component that started it."""

from __future__ import annotations

import pytest

from flowspan import semconv

from ._server import Langflow
from ._traces import edges

# Langflow's helper passes no flow name: the run is called after the component that asked for it.
HELPER_FLOW = "Calls Hello"
ITERATIONS = ("iteration 1", "iteration 2", "iteration 3")

BELOW_HELLO = {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}
API_AND_PLAYGROUND = pytest.mark.parametrize(
    "way", ["run", "run streaming", "playground direct", "playground polling", "v2 background"]
)


@API_AND_PLAYGROUND
def test_a_component_runs_another_flow(langflow: Langflow, way: str):
    """By Langflow's helper. What follows it belongs to the outer run."""
    langflow.flow("hello")
    session = langflow.run("calls_hello", way)

    langflow.expect(
        session,
        {
            "Calls hello": {
                "Chat Input": {},
                "Calls Hello": {HELPER_FLOW: BELOW_HELLO},
                "A": {},
                "Chat Output": {},
            }
        },
    )


@API_AND_PLAYGROUND
def test_run_flow(langflow: Langflow, way: str):
    """Langflow's own component for it."""
    langflow.flow("hello")
    session = langflow.run("run_flow", way)

    langflow.expect(
        session,
        {"Run flow": {"Run Flow": {"Hello": BELOW_HELLO}, "A": {}, "Chat Output": {}}},
    )


@API_AND_PLAYGROUND
def test_a_sub_flow_fails_and_the_flow_goes_on(langflow: Langflow, way: str):
    """The error is the sub-flow's; the component handled it, and the run says `ok`."""
    langflow.flow("failing")
    session = langflow.run("handles", way)

    spans = langflow.expect(
        session,
        {
            "Handles": {
                "Chat Input": {},
                "Tries": {"Tries": {"Chat Input": {}, "A": {}, "Fails": {}}},
                "Chat Output": {},
            }
        },
        statuses={"Tries": "error", "Fails": "error"},  # the run below: it is the later of the two
    )
    assert spans["Handles"]["attributes"][semconv.RUN_STATUS] == "ok"
    assert ("Tries", "Chat Output") in edges(langflow.spans(session))


@API_AND_PLAYGROUND
def test_every_iteration_of_a_loop(langflow: Langflow, way: str):
    """In order, with its number, below the Loop."""
    session = langflow.run("loop", way)

    spans = langflow.expect(
        session,
        {
            "Loop": {
                "Chat Input": {},
                "Items": {},
                "Loop": {name: {"Body": {}} for name in ITERATIONS},
                "Tail": {},
                "Chat Output": {},
            }
        },
    )
    numbers = [spans[name]["attributes"][semconv.RUN_ITERATION] for name in ITERATIONS]
    assert numbers == [1, 2, 3]


@API_AND_PLAYGROUND
@pytest.mark.parametrize(("text", "taken"), [("left", "A"), ("right", "B")])
def test_a_router_leaves_the_other_branch_out(langflow: Langflow, way: str, text: str, taken: str):
    session = langflow.run("router", way, text)

    langflow.expect(
        session,
        {"Router": {"Chat Input": {}, "If-Else": {}, taken: {}, "Join": {}, "Chat Output": {}}},
    )


@API_AND_PLAYGROUND
def test_each_turn_of_a_cycle(langflow: Langflow, way: str):
    """A component that is built again has a span again; the edges lead to the latest."""
    session = langflow.run("cycle", way)

    turns = ["Twice", "If-Else", "Twice#2", "If-Else#2", "Twice#3", "If-Else#3"]
    # /api/v1/run leaves out what follows a cycle, without us as well
    names = ["Chat Input", *turns, *([] if way.startswith("run") else ["Chat Output"])]
    langflow.expect(session, {"Cycle": {name: {} for name in names}})
    spans = langflow.spans(session)
    linked = [{link["span_id"] for link in span["links"]} for span in spans[2:]]
    assert all(span["span_id"] in links for span, links in zip(spans[1:], linked, strict=False))
