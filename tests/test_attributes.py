"""What a span carries: whole spans, compared with what `docs/reference.md` says."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

import flowspan
from flowspan import semconv
from flowspan._version import __version__
from flowspan.config import LimitsConfig


def run_attributes(**more: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "invoke_workflow",
        "openinference.span.kind": "CHAIN",
        "langwatch.span.type": "workflow",
        "traceloop.span.kind": "workflow",
        "gen_ai.workflow.name": "Support bot",
        "flowspan.run.id": "r-1",
        "flowspan.run.name": "Support bot",
        "flowspan.project.name": "Langflow",
        "flowspan.run.status": "ok",
        **more,
    }


def component_attributes(kinds: tuple[str, str, str], type: str, **more: Any) -> dict[str, Any]:
    return {
        "openinference.span.kind": kinds[0],
        "langwatch.span.type": kinds[1],
        "traceloop.span.kind": kinds[2],
        "flowspan.run.id": "r-1",
        "flowspan.flow.name": "Support bot",
        "flowspan.component.id": "c-1",
        "flowspan.component.name": "Step",
        "flowspan.component.type": type,
        "graph.node.id": "c-1",
        "graph.node.name": "Step",
        **more,
    }


async def test_a_run_by_the_five_methods(service, spans):
    """Langflow's arguments, each in its place; the flow's name without its id."""
    await service.start_tracers(
        "r-1", "Support bot - f-1", "u-1", "s-1", "Project", "f-1", "public-user"
    )
    await service.end_tracers({"answer": 42})

    span = spans.named("Support bot")
    assert dict(span.attributes) == run_attributes(
        **{
            "flowspan.run.name": "Support bot - f-1",
            "flowspan.project.name": "Project",
            "flowspan.flow.id": "f-1",
            "session.id": "s-1",
            "gen_ai.conversation.id": "s-1",
            "user.id": "u-1",
            "enduser.id": "public-user",
            "output.value": '{"answer":42}',
            "output.mime_type": "application/json",
        }
    )
    assert (span.kind.name, span.status.status_code.name) == ("INTERNAL", "UNSET")
    assert (span.events, span.links) == ((), ())
    scope = span.instrumentation_scope
    assert (scope.name, scope.version, scope.schema_url) == (
        "flowspan",
        __version__,
        semconv.SCHEMA_URL,
    )


def test_a_run_with_a_conversation(spans):
    """Text in and out is a message, too; tags and metadata are where backends read them."""
    metadata = {"tier": "gold", "api_key": "hush"}
    with flowspan.run(
        "Support bot", run_id="r-1", inputs="Hi", tags=["a", "b"], metadata=metadata
    ) as run:
        run.set_outputs("Hello")

    def message(role: str, text: str) -> str:
        return f'[{{"role":"{role}","parts":[{{"type":"text","content":"{text}"}}]}}]'

    assert dict(spans.named("Support bot").attributes) == run_attributes(
        **{
            "input.value": "Hi",
            "input.mime_type": "text/plain",
            "gen_ai.input.messages": message("user", "Hi"),
            "output.value": "Hello",
            "output.mime_type": "text/plain",
            "gen_ai.output.messages": message("assistant", "Hello"),
            "tag.tags": ("a", "b"),
            "metadata": '{"tier":"gold","api_key":"[REDACTED]"}',
            "flowspan.redacted": 1,
        }
    )


TYPES: dict[str, tuple[tuple[str, str, str], dict[str, Any]]] = {
    "prompt": (("CHAIN", "component", "task"), {}),
    "chain": (("CHAIN", "component", "task"), {}),
    "llm": (("CHAIN", "component", "task"), {}),
    "agent": (
        ("AGENT", "agent", "agent"),
        {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "Step"},
    ),
    "tool": (
        ("TOOL", "tool", "tool"),
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "Step",
            "gen_ai.tool.call.arguments": '{"q":1}',
            "gen_ai.tool.call.result": '{"a":2}',
        },
    ),
    "retriever": (("RETRIEVER", "rag", "task"), {"gen_ai.operation.name": "retrieval"}),
    "embedding": (("EMBEDDING", "component", "task"), {}),
}


@pytest.mark.parametrize("type", TYPES)
def test_a_component_of_each_type(type: str, spans):
    """Whole; and not one `gen_ai` attribute where Jaeger would open an empty tab."""
    with flowspan.run("Support bot", run_id="r-1", session_id="s-1", user_id="u-1"):
        with flowspan.component("Step", id="c-1", type=type, inputs={"q": 1}) as component:
            component.set_outputs({"a": 2})

    kinds, more = TYPES[type]
    span = spans.named("Step")
    assert dict(span.attributes) == component_attributes(
        kinds,
        type,
        **{
            "session.id": "s-1",
            "user.id": "u-1",
            "input.value": '{"q":1}',
            "input.mime_type": "application/json",
            "output.value": '{"a":2}',
            "output.mime_type": "application/json",
            **more,
        },
    )
    assert (span.kind.name, span.status.status_code.name) == ("INTERNAL", "UNSET")


async def test_a_component_of_langflow(service, spans):
    """What is read off Langflow's component and its vertex, and the name without the id."""
    edge = SimpleNamespace(
        source_id="a-1", source_handle=SimpleNamespace(name="text"), target_param="question"
    )

    class PromptComponent:
        display_name = "Prompt"
        trace_type = "prompt"
        _vertex = SimpleNamespace(id="c-1", incoming_edges=[edge])

    await service.start_tracers("r-1", "Support bot", None, None)
    async with service.trace_component(flowspan.Component("a-1", "A"), "A (a-1)"):
        pass
    async with service.trace_component(PromptComponent(), "Prompt (c-1)", {"q": 1}, {"m": 1}):
        service.set_outputs("Prompt (c-1)", {"a": 1}, {"m": 1})
        service.set_outputs("Prompt (c-1)", {"b": 2})
    await service.end_tracers({})

    span = spans.named("Prompt")
    expected = component_attributes(
        ("CHAIN", "component", "task"),
        "prompt",
        **{
            "flowspan.component.class": "PromptComponent",
            "flowspan.component.name": "Prompt",
            "graph.node.name": "Prompt",
            "graph.node.parent_id": "a-1",
            "input.value": '{"q":1}',
            "input.mime_type": "application/json",
            "output.value": '{"a":1,"b":2}',
            "output.mime_type": "application/json",
        },
    )
    assert dict(span.attributes) == expected
    (link,) = span.links
    assert link.context == spans.named("A").context
    assert dict(link.attributes) == {
        "flowspan.link.type": "edge",
        "flowspan.edge.source": "a-1.text",
        "flowspan.edge.target": "c-1.question",
    }


def test_usage_is_summed_on_the_run(spans):
    """Each component's tokens once, those of nested runs too; a model's component becomes LLM."""
    with flowspan.run("Support bot", run_id="r-1"):
        with flowspan.component("Step", id="c-1", type="llm") as model:
            model.set_usage(input_tokens=10, output_tokens=5, model="gpt-5")
        with flowspan.component("Outer"), flowspan.run("inner"):
            with flowspan.component("Agent", type="agent") as agent:
                agent.set_usage(input_tokens=1, output_tokens=2)

    assert dict(spans.named("Step").attributes) == component_attributes(
        ("LLM", "llm", "task"),
        "llm",
        **{
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "gpt-5",
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 5,
        },
    )
    sums = {
        span.name: tuple(
            span.attributes.get(f"flowspan.usage.{kind}_tokens")
            for kind in ("input", "output", "total")
        )
        for span in spans.all()
        if semconv.RUN_STATUS in span.attributes
    }
    assert sums == {"Support bot": (11, 7, 18), "inner": (1, 2, 3)}


def test_logs_are_events_and_those_beyond_the_limit_are_counted(configured):
    """An error after a thousand logs still finds room for its own event."""
    spans = configured(limits=LimitsConfig(max_events=10))

    with pytest.raises(ValueError, match="late"), flowspan.run("flow"):
        with flowspan.component("chatty") as component:
            for number in range(1000):
                component.add_log({"line": number}, name="progress", type="json")
            raise ValueError("late")

    span = spans.named("chatty")
    assert [event.name for event in span.events] == ["flowspan.log"] * 8 + ["exception"]
    assert dict(span.events[3].attributes) == {
        "log.name": "progress",
        "log.type": "json",
        "log.message": '{"line":3}',
    }
    assert span.attributes["flowspan.logs.dropped"] == 992


@pytest.mark.parametrize("hidden", ["inputs", "outputs"])
def test_hidden_inputs_or_outputs(hidden: str, configured):
    """OpenInference's two switches: the one side leaves only its size."""
    spans = configured(**{f"hide_{hidden}": True})

    with flowspan.run("flow", inputs="in") as run:
        run.set_outputs("out")
        with flowspan.component("tool", type="tool", inputs={"a": "in"}) as component:
            component.set_outputs({"b": "out"})

    word = hidden[:-1]
    for span in spans.all():
        keys = set(span.attributes)
        assert f"flowspan.{word}.bytes" in keys
        assert not keys & {f"{word}.value", f"{word}.mime_type", f"gen_ai.{word}.messages"}
        assert ("gen_ai.tool.call.arguments" in keys) == (
            hidden == "outputs" and span.name == "tool"
        )
        assert {"input.value", "output.value"} & keys


def test_what_was_cut_and_hidden_is_marked(configured):
    """The names of cut attributes and the number of secrets, on the span that lacks them."""
    spans = configured(max_payload_bytes=256)

    with flowspan.run("flow"):
        with flowspan.component("A", inputs="word " * 100) as component:
            component.set_outputs({"password": "a", "note": "sk-abcdefgh12345678 of mine"})
            component.set_outputs({"password": "a", "note": "sk-abcdefgh12345678 of mine"})
            component.add_log("Bearer abcDEF1234567890abcDEF")

    attributes = spans.named("A").attributes
    assert attributes["flowspan.truncated"] == ("input.value",)
    assert attributes["flowspan.redacted"] == 3
    assert len(attributes["input.value"].encode()) <= 256


@pytest.mark.parametrize("limit", ["max_attribute_length", "max_span_attribute_length"])
def test_the_sdks_length_limit_cuts_no_json_in_the_middle(limit: str, configured):
    """Payloads are cut to it before the SDK would, valid and marked."""
    spans = configured(limits=LimitsConfig(**{limit: 100}))

    with flowspan.run("flow", inputs={"text": ["word"] * 100}):
        pass

    attributes = spans.named("flow").attributes
    assert len(attributes["input.value"]) <= 100
    assert "…" in json.dumps(json.loads(attributes["input.value"]), ensure_ascii=False)
    assert attributes["flowspan.truncated"] == ("input.value",)


def test_attributes_named_like_ours_stay_inside_the_metadata(spans):
    """Nobody's keys are spread over the top level."""
    wild = {"flowspan.run.status": "mine", "gen_ai.operation.name": "mine", "error": "mine"}
    with flowspan.run("flow", run_id="r-1", metadata=wild, inputs=wild):
        pass

    attributes = spans.named("flow").attributes
    assert attributes["flowspan.run.status"] == "ok"
    assert "error" not in attributes
    assert json.loads(attributes["metadata"]) == wild


def test_a_handled_error_is_on_the_component(spans):
    """`set_error`: the component failed, the run did not."""
    with flowspan.run("flow"), flowspan.component("A") as component:
        component.set_error(ValueError("handled"))

    span = spans.named("A")
    assert (span.status.status_code.name, span.status.description) == ("ERROR", "handled")
    assert span.attributes["error.type"] == "ValueError"
    assert [event.name for event in span.events] == ["exception"]
    assert spans.named("flow").attributes["flowspan.run.status"] == "ok"


async def test_a_cancellation_is_no_error(spans):
    """Status unset, an event, and the word for it on the component and on the run."""

    async def flow() -> None:
        with flowspan.run("flow"), flowspan.component("A"):
            await asyncio.Event().wait()

    task = asyncio.create_task(flow())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    for name, key in (("A", "flowspan.component.status"), ("flow", "flowspan.run.status")):
        span = spans.named(name)
        assert span.status.status_code.name == "UNSET"
        assert "error.type" not in span.attributes
        assert span.attributes[key] == "cancelled"
        assert [event.name for event in span.events] == ["flowspan.cancelled"]


def test_a_paused_run(spans):
    """It says so, and is resumed by its run id."""
    for _ in range(2):
        with flowspan.run("flow", run_id="r-1") as run:
            run.set_paused()

    first, second = spans.all()
    assert first.attributes["flowspan.run.status"] == "paused"
    assert [link.attributes["flowspan.link.type"] for link in second.links] == ["resume"]


async def test_loop_iterations_nest_with_the_same_run_id(service, spans):
    """Langflow's loop starts a run of the same id for each iteration and ends none of them."""
    await service.start_tracers("r-1", "flow", None, None)
    async with service.trace_component(flowspan.Component("loop", "Loop"), "Loop", {}):
        for _ in range(3):
            await service.start_tracers("r-1", "iteration", None, None)
            async with service.trace_component(flowspan.Component("body", "Body"), "Body", {}):
                pass
    async with service.trace_component(flowspan.Component("after", "After"), "After", {}):
        pass
    await service.end_tracers({})

    iteration: dict[str, Any] = {"Body": {}}
    assert spans.tree() == {
        "flow": {
            "Loop": {
                "iteration": iteration,
                "iteration#2": iteration,
                "iteration#3": iteration,
            },
            "After": {},
        }
    }
    assert {
        span.attributes["flowspan.run.status"]
        for span in spans.all()
        if semconv.RUN_STATUS in span.attributes
    } == {"ok"}


async def test_ending_a_nested_run_twice_leaves_the_outer_open(service, spans):
    """`end_tracers` ends the run of its context, and no other in its stead."""
    await service.start_tracers("outer", "outer", None, None)
    async with service.trace_component(None, "A", {}):
        await service.start_tracers("inner", "inner", None, None)
        await service.end_tracers({})
        await service.end_tracers({})
        assert [span.name for span in spans.all()] == ["inner"]
    await service.end_tracers({})

    assert spans.tree() == {"outer": {"A": {"inner": {}}}}


def test_shutdown_ends_what_is_open(configured):
    """Runs and components that nobody ended are `abandoned`, and are exported."""
    spans = configured()
    scope = flowspan.run("flow")
    scope.__enter__()
    inner = flowspan.component("A")
    inner.__enter__()
    current = flowspan.configure()

    current.shutdown()

    assert spans.tree() == {"flow": {"A": {}}}
    assert spans.named("flow").attributes["flowspan.run.status"] == "abandoned"
    assert spans.named("A").attributes["flowspan.component.status"] == "abandoned"
    inner.__exit__(None, None, None)
    scope.__exit__(None, None, None)
    assert len(spans.all()) == 2


def test_a_run_that_is_not_sampled_serialises_nothing(configured, monkeypatch):
    """And its contexts still stand, so that what is below it is not sampled either."""
    spans = configured(sampler="always_off")
    frozen: list[Any] = []
    monkeypatch.setattr(
        "flowspan._payload.Payloads.freeze", lambda self, value, onto=None: frozen.append(value)
    )

    with flowspan.run("flow", inputs="a", metadata={"a": 1}) as run:
        with flowspan.component("A", inputs="b") as component:
            component.add_log("c")
            component.set_outputs("d")
            component.set_usage(input_tokens=1)
            assert flowspan.current_run() is run
            assert flowspan.current_component() is component
            assert not component.span.is_recording()
        run.set_outputs("e")

    assert frozen == []
    assert spans.all() == []
