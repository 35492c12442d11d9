"""Sub-flows, loops and routers: a run inside a run is below the component that started it."""

from __future__ import annotations

import pytest

from ._server import Langflow

# As they are called today: a sub-flow of the helper has no name, an iteration no number.
HELPER_FLOW = "flow"
ITERATIONS = ("Loop_subgraph", "Loop_subgraph#2", "Loop_subgraph#3")

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
def test_every_iteration_of_a_loop(langflow: Langflow, way: str):
    """In order, below the Loop."""
    session = langflow.run("loop", way)

    langflow.expect(
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


@API_AND_PLAYGROUND
@pytest.mark.parametrize(("text", "taken"), [("left", "A"), ("right", "B")])
def test_a_router_leaves_the_other_branch_out(langflow: Langflow, way: str, text: str, taken: str):
    session = langflow.run("router", way, text)

    langflow.expect(
        session,
        {"Router": {"Chat Input": {}, "If-Else": {}, taken: {}, "Join": {}, "Chat Output": {}}},
    )


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="Langflow's helper passes no flow name: the run is `flow`",
)
def test_a_sub_flow_of_the_helper_has_its_name(langflow: Langflow):
    langflow.flow("hello")
    session = langflow.run("calls_hello")
    langflow.until(session, lambda spans: len(spans) == 9)

    assert "Hello" in {span["name"] for span in langflow.spans(session)}


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="each iteration is named `<flow>_subgraph`"
)
def test_iterations_can_be_told_apart(langflow: Langflow):
    session = langflow.run("loop")
    langflow.until(session, lambda spans: len(spans) == 12)

    names = [span["name"] for span in langflow.spans(session)]
    iterations = [name for name in names if any(number in name for number in "123")]
    assert len(iterations) == 3
