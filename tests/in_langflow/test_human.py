"""A run that pauses for a person, and goes on when the person has decided."""

from __future__ import annotations

from backends._process import wait_for
from flowspan import semconv

from ._server import Langflow, new_session
from ._traces import status, trees

DECIDED = "Human In The Loop — Approve"  # recorded by Langflow
BEFORE = {"Approval": {"Chat Input": {}, "Human Input": {}}}


def pause(langflow: Langflow, session: str) -> str:
    """The job that waits for a person."""
    body = {"flow_id": langflow.flow("approval"), "input_value": "ok?", "session_id": session}
    job = langflow.call("POST", "/api/v2/workflows", body | {"mode": "background"})["job_id"]
    langflow.until(session, lambda spans: len(spans) == 3)
    return str(job)


def resume(langflow: Langflow, job: str, flow: str) -> None:
    (request,) = wait_for(
        lambda: [
            one["request_id"]
            for one in langflow.call("GET", f"/api/v2/workflows/pending?flow_id={flow}")
            if one["job_id"] == job
        ],
        timeout=15,
    )
    decision = {"request_id": request, "decision": {"action_id": "approve"}}
    langflow.call("POST", f"/api/v2/workflows/{job}/resume", decision)


def test_a_paused_run_says_so(langflow: Langflow):
    """The run, and the component that asked. Langflow ends such a run as one that is done."""
    session = new_session()
    pause(langflow, session)

    langflow.expect(session, BEFORE, statuses={"Approval": "paused", "Human Input": "paused"})


def test_a_resumed_run_is_in_the_same_trace(langflow: Langflow):
    """A second span of the run, linked to the first, and `ok`."""
    session = new_session()
    job = pause(langflow, session)

    resume(langflow, job, langflow.flow("approval"))

    after = {"Approval": {DECIDED: {}, "Human Input": {}, "A": {}, "Chat Output": {}}}
    langflow.until(session, lambda spans: trees(spans) == [BEFORE, after])
    spans = langflow.spans(session)
    first, second = [span for span in spans if span["name"] == "Approval"]
    assert first["trace_id"] == second["trace_id"]
    (link,) = second["links"]
    assert link["span_id"] == first["span_id"]
    assert link["attributes"][semconv.LINK_TYPE] == semconv.LINK_RESUME
    assert [status(span) for span in spans if span["name"] == "Approval"] == ["paused", "ok"]
