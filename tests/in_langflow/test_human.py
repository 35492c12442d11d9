"""A run that pauses for a person, and goes on when the person has decided."""

from __future__ import annotations

from flowspan import semconv

from ._server import Langflow, new_session


def test_a_run_is_paused_and_resumed(langflow: Langflow):
    """Two spans of one run id in one trace; the second is linked to the first."""
    session = new_session()
    body = {"flow_id": langflow.flow("approval"), "input_value": "ok?", "session_id": session}
    job = langflow.call("POST", "/api/v2/workflows", body | {"mode": "background"})["job_id"]
    before = {"Approval": {"Chat Input": {}, "Human Input": {}}}
    paused = langflow.expect(
        session, before, statuses={"Approval": "paused", "Human Input": "paused"}
    )

    flow = langflow.flow("approval")
    (pending,) = langflow.call("GET", f"/api/v2/workflows/pending?flow_id={flow}")
    decision = {"request_id": pending["request_id"], "decision": {"action_id": "approve"}}
    langflow.call("POST", f"/api/v2/workflows/{job}/resume", decision)

    after = {"Approval": {"Human Input": {}, "A": {}, "Chat Output": {}}}
    langflow.until(session, lambda spans: len(spans) == 7)
    langflow.expect(
        session, before, after, statuses={"Approval": "paused", "Human Input": "paused"}
    )
    resumed = [
        span
        for span in langflow.spans(session)
        if span["name"] == "Approval" and span["span_id"] != paused["Approval"]["span_id"]
    ]
    assert [span["trace_id"] for span in resumed] == [paused["Approval"]["trace_id"]]
    assert [link["span_id"] for link in resumed[0]["links"]] == [paused["Approval"]["span_id"]]
    assert resumed[0]["links"][0]["attributes"][semconv.LINK_TYPE] == semconv.LINK_RESUME
    assert resumed[0]["attributes"][semconv.RUN_STATUS] == "ok"
