"""The plugin for tests of our users: `flowspan_spans`, and `recording()` without pytest."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace

import flowspan
from conftest import Spans
from flowspan import pipeline, testing
from flowspan.context import current_run
from flowspan.pipeline import current_pipeline
from flowspan.propagation import carry, trace_id
from flowspan.testing import LeakError, RecordedSpans, Tree, recording
from processes import Sink


def answer(question: str) -> str:
    """Code of a user's."""
    with flowspan.run("Support bot", session_id="s-1", inputs=question) as run:
        with flowspan.component("Prompt", type="prompt", inputs={"question": question}) as prompt:
            prompt.add_log("template loaded")
            prompt.set_outputs({"text": "You are…", "api_key": "sk-1"})
        with flowspan.component("Model", type="llm"), flowspan.component("Cache"):
            pass
        run.set_outputs("On Tuesday.")
    return "On Tuesday."


# ---- what was recorded


def test_runs_are_trees_to_compare(flowspan_spans: RecordedSpans):
    """The order of siblings is not compared; a second one of a name has a number."""
    answer("Where is my parcel?")
    answer("And the other one?")

    below = {"Model": {"Cache": {}}, "Prompt": {}}
    assert flowspan_spans.tree() == {"Support bot": below, "Support bot#2": below}
    assert [run.tree() for run in flowspan_spans.runs("Support bot")] == [
        {"Support bot": below}
    ] * 2
    assert flowspan_spans.runs("Other bot") == []


def test_a_span_has_its_values_parsed(flowspan_spans: RecordedSpans):
    """As they were recorded: redacted, in JSON's types."""
    answer("Where is my parcel?")

    run, prompt = flowspan_spans.named("Support bot"), flowspan_spans.named("Prompt")
    assert (run.kind, run.type, run.status, run.inputs, run.outputs) == (
        "run",
        "run",
        "ok",
        "Where is my parcel?",
        "On Tuesday.",
    )
    assert (prompt.kind, prompt.type, prompt.status, prompt.error) == (
        "component",
        "prompt",
        "ok",
        None,
    )
    assert prompt.inputs == {"question": "Where is my parcel?"}
    assert prompt.outputs == {"text": "You are…", "api_key": "[REDACTED]"}
    assert prompt.logs == ["template loaded"]
    assert prompt.attributes["session.id"] == "s-1"
    assert (prompt.parent, prompt.children, prompt.run_id) == (run, [], run.run_id)
    assert run.children == [prompt, flowspan_spans.named("Model")]
    assert flowspan_spans.named("Model").children[0].name == "Cache"


def test_an_error_and_a_cancellation(flowspan_spans: RecordedSpans):
    with pytest.raises(ValueError, match="no"), flowspan.run("Failing"):
        with flowspan.component("Fails"):
            raise ValueError("no")
    with pytest.raises(asyncio.CancelledError), flowspan.run("Called off"):
        raise asyncio.CancelledError

    found = {span.name: (span.status, span.error) for span in flowspan_spans.all()}
    assert found == {
        "Failing": ("error", "ValueError"),
        "Fails": ("error", "ValueError"),
        "Called off": ("cancelled", None),
    }


def test_the_outline_is_all_of_it_as_one_text(flowspan_spans: RecordedSpans):
    answer("Where?")

    assert flowspan_spans.outline().splitlines() == [
        "Support bot (run) ok",
        '  inputs "Where?"',
        '  outputs "On Tuesday."',
        "  Prompt (prompt) ok",
        '    inputs {"question": "Where?"}',
        '    outputs {"text": "You are…", "api_key": "[REDACTED]"}',
        "    log template loaded",
        "  Model (llm) ok",
        "    Cache (chain) ok",
    ]
    assert flowspan_spans.outline() in repr(flowspan_spans)


def test_no_span_of_a_name_says_what_there_is(flowspan_spans: RecordedSpans):
    with pytest.raises(AssertionError, match="0 spans are called 'Promt'; there is:\nnothing has"):
        flowspan_spans.named("Promt")
    answer("Where?")
    there = "Support bot\n  Model\n    Cache\n  Prompt"
    with pytest.raises(AssertionError, match=f"0 spans are called 'Promt'; there is:\n{there}$"):
        flowspan_spans.named("Promt")


def test_spans_of_others_are_there_if_they_are_given_the_provider(flowspan_spans: RecordedSpans):
    """An instrumentation's, or ones of your own."""
    tracer = flowspan_spans.tracer_provider.get_tracer("shop")

    with flowspan.run("Support bot"), flowspan.component("Search"):
        with tracer.start_as_current_span("GET /orders") as span:
            span.add_event("sent")
        with pytest.raises(OSError, match="gone"), tracer.start_as_current_span("GET /users"):
            raise OSError("gone")

    assert flowspan_spans.tree() == {
        "Support bot": {"Search": {"GET /orders": {}, "GET /users": {}}}
    }
    assert flowspan_spans.named("GET /orders").kind == "span"
    assert flowspan_spans.named("GET /users").status == "error"


def test_what_has_ended_can_be_forgotten(flowspan_spans: RecordedSpans):
    answer("Where?")
    flowspan_spans.clear()

    assert flowspan_spans.all() == []
    assert flowspan_spans.tree() == {}


# ---- ids and times


@pytest.mark.parametrize("again", [1, 2])
def test_ids_and_times_are_the_same_each_time(flowspan_spans: RecordedSpans, again: int):
    """Whichever test ran before; a trace id is the hash of its run's id, as it is anywhere."""
    answer("Where?")
    answer("Where?")

    first, second = flowspan_spans.runs()
    assert (first.run_id, second.run_id) == ("run-1", "run-2")
    assert first.trace_id == f"{trace_id('run-1'):032x}"
    assert [span.span_id for span in flowspan_spans.all()] == [f"{n:016x}" for n in range(1, 9)]
    assert first.span.start_time == 1_767_225_600_001_000_000
    assert (first.duration, second.duration) == (0.008, 0.008)
    (log,) = [event for span in first.children for event in span.span.events]
    assert log.timestamp == 1_767_225_600_003_000_000


def test_the_clock_moves_when_told(flowspan_spans: RecordedSpans):
    with flowspan.run("Support bot"):
        flowspan_spans.advance(2.5)

    assert flowspan_spans.named("Support bot").duration == 2.501


def test_threads_do_not_share_an_id(flowspan_spans: RecordedSpans):
    """Which thread gets which is theirs to settle; the tree is the same."""

    def work(number: int) -> None:
        with flowspan.component(f"part {number}"):
            pass

    with flowspan.run("Support bot"), ThreadPoolExecutor(4) as executor:
        list(executor.map(carry(work), range(50)))

    assert flowspan_spans.tree() == {"Support bot": {f"part {n}": {} for n in range(50)}}
    assert sorted(span.span_id for span in flowspan_spans.all()) == [
        f"{n:016x}" for n in range(1, 52)
    ]


# ---- leaks


def test_what_is_left_open_is_named():
    """By kind and name; after it nothing is open."""
    with pytest.raises(LeakError) as leak, recording() as spans:
        service = flowspan.TracingService()
        asyncio.run(service.start_tracers("r-1", "Support bot", None, None))
        left = flowspan.component("Prompt")
        left.__enter__()

    assert str(leak.value).splitlines() == [
        "run 'Support bot' (r-1) is still open: end it",
        "component 'Prompt' is still open: end it",
        "component 'Prompt' is still the current span: detach it",
    ]
    assert spans.named("Prompt").status == "abandoned"
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_run_that_nobody_can_end_any_more_is_named():
    with pytest.raises(LeakError, match=r"^run 'Left' \(r-1\) is still open: end it$"), recording():

        async def engine() -> None:
            await flowspan.TracingService().start_tracers("r-1", "Left", None, None)

        asyncio.run(engine())


def test_what_is_left_open_on_purpose_is_no_leak(flowspan_spans: RecordedSpans):
    """It is ended as at a shutdown."""
    asyncio.run(flowspan.TracingService().start_tracers("r-1", "Left", None, None))

    assert flowspan_spans.end_open() == ["run 'Left' (r-1)"]
    assert flowspan_spans.named("Left").status == "abandoned"


def test_what_the_block_raises_is_what_is_seen():
    """Not the leaks that come of it."""
    with pytest.raises(KeyError), recording():
        flowspan.component("Prompt").__enter__()
        raise KeyError


def test_a_span_of_the_applications_that_is_left_open():
    with pytest.raises(LeakError, match="span 'GET /orders' is still open"), recording() as spans:
        spans.tracer_provider.get_tracer("shop").start_span("GET /orders")


def test_misuse_is_in_the_reports(flowspan_spans: RecordedSpans):
    """Said by each test that has it, not only by the first of the process."""
    service = flowspan.TracingService()
    service.add_log("Prompt", "line")
    service.add_log("Prompt", "line")

    assert flowspan_spans.reports == ["add_log outside a component"] * 2


# ---- what the application configures


def test_an_application_that_configures_flowspan_itself(flowspan_spans: RecordedSpans, sink: Sink):
    """Its settings for what is recorded count; where it would send it does not."""
    otlp = flowspan.config.OtlpConfig(endpoint=f"{sink.url}/v1/traces")
    config = flowspan.Config(
        redact_keys=("question",), otlp=otlp, sampler="always_off", project_name="Parcels"
    )

    opened = flowspan.configure(config)
    answer("Where?")

    assert flowspan.configure() is flowspan.configure(config) is opened is current_pipeline()
    assert flowspan_spans.named("Prompt").inputs == {"question": "[REDACTED]"}
    assert flowspan_spans.named("Support bot").attributes["flowspan.project.name"] == "Parcels"
    assert opened.force_flush()
    assert sink.bodies == []


def test_a_provider_of_the_applications_gets_nothing(flowspan_spans: RecordedSpans):
    """It may well export."""
    theirs = Spans()
    provider = pipeline.make_provider(flowspan.Config(), [theirs.processor])

    flowspan.configure(tracer_provider=provider)
    answer("Where?")

    assert theirs.all() == []
    assert list(flowspan_spans.tree()) == ["Support bot"]


def test_another_configuration_is_an_error_as_it_is_elsewhere(flowspan_spans: RecordedSpans):
    """Until the first is shut down."""
    first = flowspan.configure(flowspan.Config(max_payload_bytes=100))
    with pytest.raises(flowspan.ConfigError, match="called before with other arguments"):
        flowspan.configure(flowspan.Config(max_payload_bytes=200))

    first.shutdown()
    answer("nobody records this")
    flowspan.configure(flowspan.Config(max_payload_bytes=200))
    answer("Where?")

    assert flowspan_spans.named("Support bot").inputs == "Where?"


def test_a_service_that_was_made_before_records_here(configured):
    """As one at import does; afterwards it records where it did, and all is as before."""
    elsewhere = configured()
    before = pipeline._pipeline
    service = flowspan.TracingService(before)

    async def flow() -> None:
        await service.start_tracers("r-1", "Support bot", None, None)
        async with service.trace_component(flowspan.Component("A"), "A"):
            pass
        await service.end_tracers({})

    with recording() as spans:
        asyncio.run(flow())
        assert elsewhere.all() == []
    assert pipeline._pipeline is before
    asyncio.run(flow())

    assert spans.tree() == elsewhere.tree() == {"Support bot": {"A": {}}}
    assert spans.named("A").span_id == f"{2:016x}"
    assert elsewhere.named("A").context.span_id != 2


def test_a_run_around_the_test_is_not_its_parent(configured):
    """What is in context before is no part of it, and is there again afterwards."""
    elsewhere = configured()
    with flowspan.run("around") as around:
        with recording() as spans:
            assert current_run() is None
            answer("Where?")
        assert current_run() is around

    assert list(spans.tree()) == ["Support bot"]
    assert elsewhere.tree() == {"around": {}}


def test_a_run_id_that_another_test_had_is_no_resumed_run():
    """Each begins with nothing remembered."""
    for _ in range(2):
        with recording() as spans:
            with flowspan.run("Support bot", run_id="r-1"):
                pass
        assert spans.named("Support bot").span.links == ()


def test_variables_do_not_count(monkeypatch: pytest.MonkeyPatch, sink: Sink):
    """CI switches OpenTelemetry off, a developer's shell sends it somewhere."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.setenv("TRACEPARENT", f"00-{7:032x}-{1:016x}-01")
    monkeypatch.setenv("FLOWSPAN_CAPTURE_CONTENT", "false")

    with recording() as spans:
        flowspan.configure()
        answer("Where?")

    assert spans.named("Support bot").inputs == "Where?"
    assert spans.named("Support bot").trace_id == f"{trace_id('run-1'):032x}"
    assert sink.bodies == []
    assert os.environ["OTEL_SDK_DISABLED"] == "true"


def test_one_at_a_time():
    with recording(), pytest.raises(RuntimeError, match="one is open already"), recording():
        pass


def test_a_thread_that_outlives_the_block_is_the_applications():
    """What it records then is not ours to keep."""
    go, done = threading.Event(), threading.Event()

    def late() -> None:
        go.wait()
        answer("late")
        done.set()

    thread = threading.Thread(target=late)
    with recording() as spans:
        thread.start()
    go.set()
    done.wait()
    thread.join()

    assert spans.all() == []


def test_trees_that_differ_are_shown_line_by_line():
    recorded = Tree({"Support bot": Tree({"Prompt": Tree(), "Model": Tree()})})

    assert testing.differences(recorded, {"Support bot": {"Promt": {}, "Model": {}}}) == [
        "recorded (+) is not what is expected (-)",
        "  Support bot",
        "    Model",
        "-   Promt",
        "+   Prompt",
    ]
    assert testing.differences({"a": {}}, {"b": {}}) is None
    assert testing.differences(recorded, None) is None
