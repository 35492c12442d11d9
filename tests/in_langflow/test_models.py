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


@pytest.mark.parametrize("way", AT_ONCE)
def test_the_tokens_that_a_component_counts_itself(langflow: Langflow, way: str):
    """Where no span of a call carries them: on the component, once, and on the run."""
    session = langflow.run("counts", way)

    spans = langflow.expect(
        session, {"Counts": {"Chat Input": {}, "Counts": {}, "A": {}, "Chat Output": {}}}
    )

    used = {span["name"]: span["attributes"].get(TOKENS[0]) for span in spans.values()}
    assert {name: tokens for name, tokens in used.items() if tokens} == {"Counts": 11}
    component, run = spans["Counts"], langflow.spans(session)[0]
    assert component["attributes"][semconv.GEN_AI_REQUEST_MODEL] == "untraced"
    assert component["attributes"][TOKENS[1]] == 4
    assert [run["attributes"][name] for name in SUMS] == [11, 4, 15]


@pytest.mark.parametrize("way", ["run", "playground polling"])
def test_no_secret_of_a_tool_call_is_on_the_wire(langflow: Langflow, way: str):
    """Not in its arguments, its result, its component's log nor what the model asked for."""
    secret = "sk-proj-tooltooltool0123456789abcdef"
    session = langflow.run("agent", way, f"look with {secret}")
    langflow.until(session, lambda spans: any(map(is_run, spans)))

    spans = langflow.spans(session)

    assert "tooltooltool" not in str(spans)
    (tool,) = [span["attributes"] for span in spans if span["name"] == "execute_tool seen"]
    for name in (semconv.GEN_AI_TOOL_CALL_ARGUMENTS, semconv.GEN_AI_TOOL_CALL_RESULT):
        assert "look with [REDACTED]" in tool[name]
    asked = [s["attributes"][semconv.GEN_AI_OUTPUT_MESSAGES] for s in spans if is_model(s)]
    assert "look with [REDACTED]" in asked[0]


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


def is_model(span: Span) -> bool:
    return semconv.GEN_AI_OUTPUT_MESSAGES in span["attributes"]
