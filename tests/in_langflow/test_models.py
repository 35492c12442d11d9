"""Models, agents and tools: their calls are below the component that makes them."""

from __future__ import annotations

import pytest

from backends import Span
from flowspan import semconv

from ._server import WAYS, Langflow
from ._traces import trees

TOKENS = (semconv.GEN_AI_USAGE_INPUT_TOKENS, semconv.GEN_AI_USAGE_OUTPUT_TOKENS)
SUMS = (
    semconv.USAGE_INPUT_TOKENS,
    semconv.USAGE_OUTPUT_TOKENS,
    semconv.USAGE_TOTAL_TOKENS,
)
AT_ONCE = ("run", "run streaming", "playground streaming", "playground polling", "v2 background")
each_way = pytest.mark.parametrize("way", WAYS)


@pytest.mark.parametrize(
    ("flow", "way"),
    [*(("models", way) for way in WAYS), *(("at_once", way) for way in AT_ONCE)],
)
def test_the_tokens_of_two_models_do_not_mix(langflow: Langflow, flow: str, way: str):
    """
    Each on the call that used them, once; their sum on the run.

    In `at_once` neither model answers before the other is asked.
    """
    session = langflow.run(flow, way, text=flow + way)
    run_name = flow.replace("_", " ").capitalize()
    call = {"chat scripted": {}}

    langflow.expect(
        session,
        {
            run_name: {
                "Chat Input": {},
                "Model": call,
                "Model#2": call,
                "Join": {},
                "Chat Output": {},
            }
        },
    )

    used = {
        tuple(span["attributes"].get(name) for name in TOKENS): span["name"]
        for span in langflow.spans(session)
    }
    assert used.pop((None, None))
    assert used == {(70, 30): "chat scripted", (7, 3): "chat scripted"}
    (run,) = [span for span in langflow.spans(session) if span["name"] == run_name]
    assert [run["attributes"][name] for name in SUMS] == [77, 33, 110]


@each_way
def test_an_agent_and_its_tool(langflow: Langflow, way: str):
    """Langflow's Agent: each call of the model and of the tool, once, in order, below it."""
    session = langflow.run("agent", way)
    langflow.until(session, lambda spans: any(map(is_run, spans)))

    (run,) = trees(langflow.spans(session))
    assert run["Agent"].pop("Agent") == {
        "invoke_agent": {
            "model": {"chat scripted": {}},
            "tools": {"execute_tool seen": {}},
            "model#2": {"chat scripted": {}},
        }
    }
    # the model and the tool that it is given are components of their own, in any order
    assert run == {"Agent": {"Chat Input": {}, "Looks": {}, "Model": {}, "Chat Output": {}}}
    (root,) = filter(is_run, langflow.spans(session))
    assert [root["attributes"][name] for name in SUMS] == [140, 60, 200]


def is_run(span: Span) -> bool:
    return semconv.RUN_STATUS in span["attributes"]
