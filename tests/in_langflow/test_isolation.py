"""Runs at the same time in one server: each its own trace, whole."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from ._door import Door
from ._server import WAYS, Langflow, new_session

HELLO = {"Hello": {"Chat Input": {}, "Prompt Template": {}, "Chat Output": {}}}
PAUSES = {"Pauses": {"Chat Input": {}, "A": {}, "Waits": {}, "B": {}, "Chat Output": {}}}


@pytest.mark.parametrize("way", WAYS)
def test_a_flow_runs_while_another_pauses(langflow: Langflow, door: Door, way: str):
    """What came after the pause was once filed in the other flow's trace."""
    session = new_session()
    pauses, text = langflow.flow("pauses"), f"{door.url}/{session}"
    with ThreadPoolExecutor(1) as client:
        first = client.submit(WAYS[way], langflow, pauses, session, text)
        door.wait_for(session)
        other = langflow.run("hello", way)
        langflow.expect(other, HELLO)
        door.open(session)
        first.result()

    spans = langflow.expect(session, PAUSES)
    langflow.expect(other, HELLO)

    for span in spans.values():
        assert span["attributes"]["session.id"] == session


def test_twenty_runs_at_once(langflow: Langflow):
    ways = ["run", "playground polling", "v2 sync", "run streaming"] * 5
    langflow.flow("hello")
    with ThreadPoolExecutor(20) as clients:
        sessions = list(clients.map(langflow.run, ["hello"] * 20, ways))

    for session in sessions:
        langflow.expect(session, HELLO)
