"""The whole line once more for real: Langflow, OTLP, the repository's Collector, Jaeger."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from backends import Jaeger, Span
from flowspan import semconv
from processes import Sink

from ._door import Door
from ._server import WAYS, Langflow, Received, new_session
from ._traces import of_session
from .test_isolation import HELLO, PAUSES

pytestmark = pytest.mark.backends
SERVICE = "langflow-for-jaeger"


class InJaeger(Received):
    """What Jaeger answers on `/api/v3`."""

    def __init__(self, jaeger: Jaeger, sink: Sink) -> None:
        super().__init__(sink)
        self._jaeger = jaeger

    def _arrived(self, session: str, accepted: Callable[[list[Span]], bool]) -> bool:
        try:
            self._ask(lambda traces: accepted(of_session(chain(*traces.values()), session)))
        except TimeoutError:
            return False
        return True

    def spans(self, session: str) -> list[Span]:
        return of_session(chain(*self._ask(lambda traces: True).values()), session)

    def _ask(self, until: Callable[[dict[str, list[Span]]], object]) -> dict[str, list[Span]]:
        return self._jaeger.traces(SERVICE, until=until, timeout=20)


@pytest.fixture
def seen(jaeger: Jaeger, langflow_sink: Sink) -> InJaeger:
    return InJaeger(jaeger, langflow_sink)


def test_one_flow_pauses_while_another_runs(
    langflow_for_jaeger: Langflow, seen: InJaeger, door: Door
):
    """What flowspan exists for."""
    session, other = new_session(), new_session()
    pauses, hello = langflow_for_jaeger.flow("pauses"), langflow_for_jaeger.flow("hello")
    with ThreadPoolExecutor(1) as client:
        first = client.submit(
            WAYS["run"], langflow_for_jaeger, pauses, session, f"{door.url}/{session}"
        )
        door.wait_for(session)
        WAYS["run"](langflow_for_jaeger, hello, other, "hi")
        door.open(session)
        first.result()

    seen.expect(session, PAUSES)
    spans = seen.expect(other, HELLO)

    assert spans["Hello"]["resource"][semconv.SERVICE_NAME] == SERVICE
    assert spans["Hello"]["attributes"][semconv.SESSION_ID] == other
    (link,) = spans["Chat Output"]["links"]
    assert link["span_id"] == spans["Prompt Template"]["span_id"]


def test_a_loop(langflow_for_jaeger: Langflow, seen: InJaeger):
    turns = {f"iteration {number}": {"Body": {}} for number in (1, 2, 3)}
    below = {"Chat Input": {}, "Items": {}, "Loop": turns, "Tail": {}, "Chat Output": {}}

    seen.expect(langflow_for_jaeger.run("loop"), {"Loop": below})


def test_a_sub_flow(langflow_for_jaeger: Langflow, seen: InJaeger):
    langflow_for_jaeger.flow("hello")

    seen.expect(
        langflow_for_jaeger.run("run_flow"),
        {"Run flow": {"Run Flow": HELLO, "A": {}, "Chat Output": {}}},
    )


def test_a_flow_that_fails(langflow_for_jaeger: Langflow, seen: InJaeger):
    spans = seen.expect(
        langflow_for_jaeger.run("failing"),
        {"Failing": {"Chat Input": {}, "A": {}, "Fails": {}}},
        statuses={"Failing": "error", "Fails": "error"},
    )

    assert spans["Fails"]["status"]["code"] == "ERROR"
    assert spans["Fails"]["events"][-1]["name"] == "exception"
    assert "raised0123456789" not in str(spans)


def test_an_agent_with_a_tool(langflow_for_jaeger: Langflow, seen: InJaeger):
    session = langflow_for_jaeger.run("agent")
    names = ["chat scripted", "chat scripted", "execute_tool seen"]

    def calls(spans: list[Span]) -> list[str]:
        return sorted(span["name"] for span in spans if span["name"] in names)

    seen.until(session, lambda spans: calls(spans) == names)

    spans = {span["name"]: span["attributes"] for span in seen.spans(session)}
    assert spans["execute_tool seen"][semconv.GEN_AI_TOOL_NAME] == "seen"
    assert spans["chat scripted"][semconv.GEN_AI_USAGE_INPUT_TOKENS] == 70
