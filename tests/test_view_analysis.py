"""What `flowspan view` adds up: self times, the critical path, tokens, where errors began."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flowspan.cli.view._analysis import Tokens, analyse, error_text
from flowspan.cli.view._model import ERROR, Event, Span, Trace


def span(name: str, start: int, end: int, parent: str = "", **more: Any) -> Span:
    """A span whose id is its name."""
    return Span(
        trace_id="t", span_id=name, parent_id=parent, name=name, start=start, end=end, **more
    )


def path_of(*spans: Span) -> list[tuple[str, int, int]]:
    return [(s.span.name, s.start, s.end) for s in analyse(Trace("t", spans)).path]


def self_times_of(*spans: Span) -> dict[str, int]:
    return analyse(Trace("t", spans)).self_times


# ---- self times


def test_self_time_is_what_no_child_covers():
    """Children that overlap are counted once."""
    times = self_times_of(span("run", 0, 100), span("a", 10, 40, "run"), span("b", 30, 60, "run"))

    assert times == {"run": 50, "a": 30, "b": 30}


def test_a_child_outside_of_its_parent_takes_only_what_is_inside():
    """Clocks that disagree make no time negative."""
    times = self_times_of(
        span("run", 100, 200), span("early", 50, 120, "run"), span("late", 190, 400, "run")
    )

    assert times["run"] == 70


def test_a_child_that_starts_after_its_parent_belongs_to_whoever_still_runs():
    """With `FLOWSPAN_PARENTING=edge` the predecessor is the parent: it waits for nobody."""
    times = self_times_of(
        span("run", 0, 100), span("a", 0, 40, "run"), span("b", 40, 70, "a"), span("c", 70, 90, "b")
    )

    assert times == {"run": 10, "a": 40, "b": 30, "c": 20}


def test_an_open_span_goes_on_as_long_as_its_trace():
    """Its duration is not known; what its children took is."""
    times = self_times_of(span("run", 0, 0), span("a", 10, 40, "run"))

    assert times == {"run": 10, "a": 30}


# ---- the critical path


def test_the_path_goes_through_the_child_that_ended_last():
    """Of two at once the longer one; the parent itself before, between and after."""
    path = path_of(
        span("run", 0, 100),
        span("short", 10, 30, "run"),
        span("long", 10, 60, "run"),
        span("after", 70, 90, "run"),
    )

    assert path == [
        ("run", 0, 10),
        ("long", 10, 60),
        ("run", 60, 70),
        ("after", 70, 90),
        ("run", 90, 100),
    ]


def test_the_path_goes_down():
    """A child that took all of its parent's time leaves nothing to it; it is on the path still."""
    trace = Trace("t", [span("run", 0, 50), span("a", 0, 50, "run"), span("call", 5, 45, "a")])

    found = analyse(trace)

    assert [(s.span.name, s.start, s.end) for s in found.path] == [
        ("a", 0, 5),
        ("call", 5, 45),
        ("a", 45, 50),
    ]
    assert found.critical == {"run": 0, "a": 10, "call": 40}


def test_one_after_the_other_by_edges():
    """A chain of parents that have ended reads as the sequence that it was."""
    path = path_of(
        span("run", 0, 100),
        span("a", 0, 40, "run"),
        span("b", 40, 70, "a"),
        span("c", 70, 100, "b"),
    )

    assert path == [("a", 0, 40), ("b", 40, 70), ("c", 70, 100)]


def test_deep_traces_have_a_path():
    """Ten thousand levels; Python's stack is not asked."""
    spans = [span("0", 0, 20_000)]
    spans += [span(str(n), n, 20_000 - n, str(n - 1)) for n in range(1, 9_999)]

    found = analyse(Trace("t", spans))

    assert len(found.critical) == 9_999
    assert found.self_times["0"] == 2


TIMES = st.integers(0, 60)
SPANS = st.lists(st.tuples(TIMES, TIMES, st.integers(0, 9)), min_size=1, max_size=10)


@given(SPANS)
def test_whatever_the_times_and_parents(rows: list[tuple[int, int, int]]):
    """Cycles, ends before starts, children elsewhere: no negative time, no moment counted twice."""
    trace = Trace(
        "t", [span(str(n), start, end, str(up)) for n, (start, end, up) in enumerate(rows)]
    )

    found = analyse(trace)

    assert sorted(s.span_id for s, _ in trace.walk()) == sorted(trace.by_id)
    assert all(time >= 0 for time in found.self_times.values())
    of_root: dict[str, list[tuple[int, int]]] = {}
    for section in found.path:
        root = section.span
        while (above := trace.parent(root)) is not None:
            root = above
        of_root.setdefault(root.span_id, []).append((section.start, section.end))
    for sections in of_root.values():
        assert all(start < end for start, end in sections)
        assert all(one[1] <= two[0] for one, two in pairwise(sections))
    for root in trace.roots:
        if root.end > root.start:
            assert sum(end - start for start, end in of_root[root.span_id]) == root.duration


# ---- tokens and errors


def usage(given: int, made: int) -> dict[str, int]:
    return {"gen_ai.usage.input_tokens": given, "gen_ai.usage.output_tokens": made}


def test_tokens_are_counted_once():
    """The run's own sum says the same again."""
    whole = {"flowspan.usage.input_tokens": 30, "flowspan.usage.output_tokens": 3}
    trace = Trace(
        "t",
        [
            span("run", 0, 9, attributes=whole),
            span("a", 1, 2, "run", attributes=usage(10, 1)),
            span("b", 2, 3, "run", attributes=usage(20, 2)),
        ],
    )

    assert analyse(trace).tokens == Tokens(30, 3)


def test_tokens_of_an_agent_include_its_calls():
    """Another framework's agent adds up what its calls carry."""
    trace = Trace(
        "t",
        [
            span("agent", 0, 9, attributes=usage(30, 3)),
            span("a", 1, 2, "agent", attributes=usage(10, 1)),
            span("b", 2, 3, "agent", attributes=usage(20, 2)),
        ],
    )

    assert analyse(trace).tokens == Tokens(30, 3)


def test_tokens_that_are_no_numbers_count_nothing():
    """Text, not a number, less than none."""
    for wrong in ("12", float("nan"), float("inf"), -1, None, [1]):
        given = {"gen_ai.usage.input_tokens": wrong}
        assert analyse(Trace("t", [span("run", 0, 1, attributes=given)])).tokens == Tokens()


def test_an_error_counts_where_it_began():
    """Three spans are marked, one thing went wrong."""
    trace = Trace(
        "t",
        [
            span("run", 0, 9, status=ERROR),
            span("component", 1, 8, "run", status=ERROR),
            span("call", 2, 7, "component", status=ERROR, status_message="refused"),
        ],
    )

    assert [s.name for s in analyse(trace).errors] == ["call"]


def test_the_text_of_an_error():
    """The exception that was recorded, else the status, else its type."""
    thrown = {"exception.type": "ValueError", "exception.message": "no"}
    recorded = span("a", 0, 1, events=[Event(name="exception", time=0, attributes=thrown)])

    assert error_text(recorded) == "ValueError: no"
    assert error_text(span("a", 0, 1, status_message="no")) == "no"
    typed = {"error.type": "ValueError"}
    assert error_text(span("a", 0, 1, status_message="no", attributes=typed)) == "ValueError: no"
    assert error_text(span("a", 0, 1, attributes=typed)) == "ValueError"
    assert error_text(span("a", 0, 1)) == ""


def test_the_outcome_of_a_run():
    """What its root says; a run whose root has not ended is open."""
    assert analyse(Trace("t", [span("run", 0, 5)])).status == "ok"
    assert analyse(Trace("t", [span("run", 0, 0), span("a", 1, 7, "run")])).status == "open"
    assert analyse(Trace("t", [span("run", 0, 0), span("a", 1, 7, "run")])).duration == 7
