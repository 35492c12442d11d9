"""However a process ends, what it was promised arrives: at once, or from the next process."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends import Collector as BackendCollector
from backends import Jaeger
from faults import HANG, Collector, Reply
from flowspan import semconv
from programs import SIGNALS, Programs, arrived, deliver_the_rest, following

CLEAN = {
    "return": 0,
    "sys.exit": 3,
    "exception": 1,
    "SIGINT": -SIGNALS["SIGINT"],
    "SIGTERM handled": 5,
}
WAITED_FOR = {how: CLEAN[how] for how in ("return", "SIGTERM handled")}
KILLED = {
    "os._exit": 4,
    "SIGTERM": -SIGNALS["SIGTERM"],
    "SIGTERM raised again": -SIGNALS["SIGTERM"],
    "SIGKILL": -SIGNALS["SIGKILL"],
}
STRICT = {
    "os._exit at once": 4,
    "SIGTERM raised again": -SIGNALS["SIGTERM"],
    "SIGKILL while it works": -SIGNALS["SIGKILL"],
}


def end_all(programs: Programs, kind: str, ends: dict[str, int], **env: str) -> dict[str, set[str]]:
    """
    A process for each of the ways to end, all at once; what each had ended, by id.

    Checks that it ends by itself and as it was to end, and that nothing of ours stands in the way.
    """
    started = {how: programs.start(how, ["ends.py", how, kind], **env) for how in ends}
    for how, program in started.items():
        if how == "SIGKILL while it works":
            program.wait_for_ids(200)
        elif how.startswith("SIG"):
            program.wait_for("ready")
        if how.startswith("SIG"):
            program.kill(SIGNALS[how.split()[0]])
    for how, program in started.items():
        assert program.ended() == ends[how], (how, program.stderr)
        theirs = how in ("exception", "SIGINT")
        assert ("Traceback" in program.stderr) == theirs, program.stderr
        assert "ignored" not in program.stderr
        assert len(program.stderr.splitlines()) <= (12 if theirs else 2), program.stderr
    return {how: set(program.ids) for how, program in started.items()}


def missing(promised: dict[str, set[str]], there: list[str]) -> dict[str, int]:
    """How many of the spans that were promised are not *there*, by how their process ended."""
    left = {how: len(ids - set(there)) for how, ids in promised.items()}
    return {how: count for how, count in left.items() if count}


@pytest.mark.parametrize("kind", ["flowspan", "bare"])
def test_a_process_that_ends_in_good_order_has_delivered(
    faulty: Collector, programs: Programs, kind: str
):
    """By return, `sys.exit`, an exception, ctrl-C, or a handler of SIGTERM: each span, once."""
    promised = end_all(programs, kind, CLEAN)

    assert missing(promised, arrived(faulty)) == {}
    assert len(arrived(faulty)) == len(set(arrived(faulty)))
    assert all(len(ids) >= 30 for ids in promised.values())


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_a_process_that_is_ended_has_its_spans_delivered_by_the_next(
    faulty: Collector, programs: Programs, down: bool
):
    """Nothing of ours runs at the end; what was in the spool, 20 ms after its end, is safe."""
    if down:
        faulty.refuse()
    promised = end_all(programs, "both", KILLED)
    if down:
        faulty.listen()

    deliver_the_rest(faulty, *map(programs.spool, promised))

    assert missing(promised, arrived(faulty)) == {}
    assert len(set(arrived(faulty))) == sum(map(len, promised.values()))
    if down:  # else one that was just being sent may come twice, as the very same bytes
        assert len(arrived(faulty)) == len(set(arrived(faulty)))


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_strict_means_that_nothing_is_missing(faulty: Collector, programs: Programs, down: bool):
    """`FLOWSPAN_DURABILITY=strict`: a span is safe when its end returns, whatever comes then."""
    if down:
        faulty.refuse()
    promised = end_all(programs, "both", STRICT, FLOWSPAN_DURABILITY="strict")
    if down:
        faulty.listen()

    deliver_the_rest(faulty, *map(programs.spool, promised))

    assert missing(promised, arrived(faulty)) == {}


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
@pytest.mark.parametrize("kind", ["flowspan", "bare"])
def test_no_end_waits_for_a_collector(faulty: Collector, programs: Programs, kind: str, fault: str):
    """It tries for a moment, then leaves the spans to the next process: each arrives once."""
    if fault == "hangs":
        faulty.behave(HANG)
    else:
        faulty.refuse()
    promised = end_all(programs, kind, CLEAN if fault == "refuses" else WAITED_FOR)
    if fault == "hangs":
        faulty.behave(Reply(kept=True))
    else:
        faulty.listen()

    deliver_the_rest(faulty, *map(programs.spool, promised))

    assert missing(promised, arrived(faulty)) == {}
    assert len(arrived(faulty)) == len(set(arrived(faulty)))


# ---- what was open


def abandoned(collector: Collector) -> list[str]:
    """The ids of the spans that have arrived as abandoned."""
    return [
        span.span_id.hex()
        for span in collector.spans
        for attribute in span.attributes
        if (attribute.key, attribute.value.string_value)
        == (semconv.SPAN_STATUS, semconv.STATUS_ABANDONED)
    ]


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("durability", ["normal", "strict"])
def test_spans_that_were_open_arrive_as_abandoned(
    faulty: Collector, programs: Programs, durability: str, down: bool
):
    """A process killed in the middle of a flow: what had ended, and what had not, each once."""
    if down:
        faulty.refuse()
    program = programs.start("flow", ["opened.py", "flow", "r-1"], FLOWSPAN_DURABILITY=durability)
    program.wait_for("ready")
    if not down:
        faulty.wait_for(1)
    program.kill(SIGNALS["SIGKILL"])
    program.ended()
    if down:
        faulty.listen()

    deliver_the_rest(faulty, programs.spool("flow"))
    deliver_the_rest(faulty, programs.spool("flow"))

    ended = [word.split()[1] for word in program.words if word.startswith("ended ")]
    opened = [word.split()[1] for word in program.words if word.startswith("open ")]
    spans = {span.span_id.hex(): span for span in faulty.spans if span.name != "next"}
    (run,) = (key for key, span in spans.items() if span.name == "flow")
    assert sorted(abandoned(faulty)) == sorted([run, *opened])
    assert set(spans) == {run, *ended, *opened}
    if down:  # else it may be that only the acknowledgement was missing
        assert len(arrived(faulty)) == 1 + len(ended) + len(opened)
    assert {span.trace_id for span in spans.values()} == {spans[run].trace_id}
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans.values())
    attributes = {attribute.key for attribute in spans[opened[0]].attributes}
    assert semconv.INPUT_VALUE in attributes


@pytest.mark.parametrize("durability", ["normal", "strict"])
def test_no_span_that_had_ended_arrives_as_abandoned(
    faulty: Collector, programs: Programs, durability: str
):
    """Killed while flows begin and end: a span is one or the other."""
    program = programs.start("flow", ["opened.py", "flows"], FLOWSPAN_DURABILITY=durability)
    program.wait_for_ids(300)
    program.kill(SIGNALS["SIGKILL"])
    program.ended()

    deliver_the_rest(faulty, programs.spool("flow"))

    left = abandoned(faulty)
    assert len(left) == len(set(left)) < 8 or durability == "normal"
    ended = [span for span in arrived(faulty) if span not in set(left)]
    assert len(ended) + len(left) == len(arrived(faulty))
    if durability == "strict":
        assert not set(left) & set(program.ids)
        assert set(program.ids) <= set(ended)


@pytest.mark.backends
def test_jaeger_shows_a_flow_that_was_killed(
    jaeger: Jaeger, collector: BackendCollector, programs: Programs, tmp_path: Path
):
    """As soon as another process uses the spool; a tree without holes."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_http}
    run_id = str(tmp_path)  # an own one for each session: the trace's id comes from it
    program = programs.start("flow", ["opened.py", "flow", run_id], **endpoint)
    program.wait_for("ready")
    program.kill(SIGNALS["SIGKILL"])
    program.ended()

    with following(collector.otlp_http, programs.spool("flow")) as processor:
        assert processor.force_flush(20_000)

    (trace_id,) = (word.split()[1] for word in program.words if word.startswith("trace "))
    spans = jaeger.trace(trace_id, until=lambda spans: len(spans) == 4)
    assert {
        span["name"]: span["attributes"].get(semconv.SPAN_STATUS)
        for span in spans
        if span["name"] != "A"
    } == dict.fromkeys(("flow", "B", "Tool"), semconv.STATUS_ABANDONED)
    names = {span["span_id"]: span["name"] for span in spans}
    parents = {span["name"]: names.get(span["parent_span_id"]) for span in spans}
    assert parents == {"flow": None, "A": "flow", "B": "flow", "Tool": "B"}
