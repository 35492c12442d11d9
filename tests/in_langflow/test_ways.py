"""Every way to run a flow in Langflow: one trace, one root, all components, statuses."""

from __future__ import annotations

import pytest

from flowspan import semconv

from ._server import WAYS, Langflow
from ._traces import edges

NO_ERROR_TYPE = pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="Langflow ends such a run first without its error: its type is not kept",
)
each_way = pytest.mark.parametrize("way", WAYS)


@each_way
def test_a_run_is_one_trace(langflow: Langflow, way: str):
    """Its root says `ok`; the edges of the graph are links between the components."""
    session = langflow.run("hello", way)

    spans = langflow.expect(
        session, {"Hello": {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}}
    )

    run = spans["Hello"]
    assert run["attributes"][semconv.RUN_STATUS] == "ok"
    assert edges(spans.values()) == {
        ("Chat Input", "Prompt Template"),
        ("Prompt Template", "Chat Output"),
    }
    for span in spans.values():
        assert run["start_nanos"] <= span["start_nanos"]
        assert span["end_nanos"] <= run["end_nanos"]


@each_way
def test_a_failing_run_says_where_it_failed(langflow: Langflow, way: str):
    """The component has the exception, the run its kind; what worked before is not in error."""
    session = langflow.run("failing", way)

    spans = langflow.expect(
        session,
        {"Failing": {"Chat Input": {}, "A": {}, "Fails": {}}},
        statuses={"Failing": "error", "Fails": "error"},
    )

    assert [event["name"] for event in spans["Fails"]["events"]] == ["flowspan.log", "exception"]
    assert spans["Fails"]["attributes"][semconv.ERROR_TYPE] == "ValueError"
    assert spans["Failing"]["events"] == []


@pytest.mark.parametrize(
    "way",
    [
        way
        if way in ("run", "run streaming", "v2 sync")
        else pytest.param(way, marks=NO_ERROR_TYPE)
        for way in WAYS
    ],
)
def test_a_failing_run_has_the_kind_of_its_error(langflow: Langflow, way: str):
    session = langflow.run("failing", way)
    langflow.until(session, lambda spans: len(spans) == 4)

    types = {
        span["name"]: span["attributes"].get(semconv.ERROR_TYPE) for span in langflow.spans(session)
    }

    assert types == {"Failing": "ValueError", "Chat Input": None, "A": None, "Fails": "ValueError"}


@each_way
def test_no_secret_is_on_the_wire(langflow: Langflow, way: str):
    """Not the password field's, nor those in a text, a log and an exception."""
    session = langflow.run("failing", way)
    langflow.until(session, lambda spans: len(spans) == 4)

    spans = str(langflow.spans(session))

    for secret in ("password-field", "plain0123456789", "logged0123456789", "raised0123456789"):
        assert secret not in spans
    assert "[REDACTED]" in spans


@each_way
def test_branches_are_siblings(langflow: Langflow, way: str):
    """Whether Langflow builds them one after another or at the same time."""
    session = langflow.run("branches", way)

    spans = langflow.expect(
        session, {"Branches": {"Chat Input": {}, "A": {}, "B": {}, "Join": {}, "Chat Output": {}}}
    )

    assert {("A", "Join"), ("B", "Join")} <= edges(spans.values())
