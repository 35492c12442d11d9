"""The client stops a run, or goes away."""

from __future__ import annotations

import json
from http.client import HTTPConnection

import pytest

from ._door import Door
from ._server import Langflow, new_session, start_build
from .test_isolation import PAUSES

TREE = {"Pauses": {"Chat Input": {}, "A": {}, "Waits": {}}}
CANCELLED = {"Pauses": "cancelled", "Waits": "cancelled"}


@pytest.mark.parametrize("delivery", ["streaming", "polling"])
def test_a_build_is_cancelled(langflow: Langflow, door: Door, delivery: str):
    """The playground's stop button: what had run is `ok`, what was running is cancelled."""
    session = new_session()
    url = f"{door.url}/{session}"
    build = start_build(langflow, langflow.flow("pauses"), session, url, delivery)
    door.wait_for(session)

    stopped = langflow.call("POST", f"/api/v1/build/{build['job_id']}/cancel")

    assert stopped["success"]
    langflow.expect(session, TREE, statuses=CANCELLED)


def test_a_background_run_is_stopped(langflow: Langflow, door: Door):
    session = new_session()
    text = f"{door.url}/{session}"
    body = {"flow_id": langflow.flow("pauses"), "input_value": text, "session_id": session}
    job = langflow.call("POST", "/api/v2/workflows", body | {"mode": "background"})
    door.wait_for(session)

    langflow.call("POST", "/api/v2/workflows/stop", {"job_id": job["job_id"]})

    langflow.expect(session, TREE, statuses=CANCELLED)


@pytest.mark.parametrize("way", ["run streaming", "v2 stream", "playground direct"])
def test_the_client_of_a_stream_goes_away(langflow: Langflow, door: Door, way: str):
    session = new_session()
    text = f"{door.url}/{session}"
    flow = langflow.flow("pauses")
    path, body = {
        "run streaming": (
            f"/api/v1/run/{flow}?stream=true",
            {"input_value": text, "session_id": session},
        ),
        "v2 stream": (
            "/api/v2/workflows",
            {"flow_id": flow, "input_value": text, "session_id": session, "mode": "stream"},
        ),
        "playground direct": (
            f"/api/v1/build/{flow}/flow?event_delivery=direct",
            {"inputs": {"input_value": text, "session": session}},
        ),
    }[way]

    with langflow.client.stream("POST", path, json=body):
        door.wait_for(session)

    langflow.expect(session, TREE, statuses=CANCELLED)


@pytest.mark.parametrize("way", ["run", "v2 sync"])
def test_the_client_of_an_answer_goes_away(langflow: Langflow, door: Door, way: str):
    """Langflow does not notice: the flow runs to its end, and so does the trace."""
    session = new_session()
    text = f"{door.url}/{session}"
    flow = langflow.flow("pauses")
    path, body = {
        "run": (
            f"/api/v1/run/{flow}?stream=false",
            {"input_value": text, "session_id": session},
        ),
        "v2 sync": (
            "/api/v2/workflows",
            {"flow_id": flow, "input_value": text, "session_id": session, "mode": "sync"},
        ),
    }[way]
    url = langflow.client.base_url
    headers = {"x-api-key": langflow.client.headers["x-api-key"]}

    connection = HTTPConnection(url.host, url.port)
    connection.request(
        "POST", path, json.dumps(body), headers | {"Content-Type": "application/json"}
    )
    door.wait_for(session)
    connection.close()
    door.open(session)

    langflow.expect(session, PAUSES)
