"""
A second Langflow on the database of the first: two workers, a vendor tracer, settings of its own.

What one process begins, another can go on with.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from flowspan import semconv
from processes import Sink

from ._server import Langflow, new_session
from ._traces import ours, status, trees
from .test_human import BEFORE, DECIDED, pause, resume

WORKER = {"Worker": {"Chat Input": {"Tells": {"Chat Output": {}}}}}  # each below its predecessor


def test_several_workers_at_once(several: Langflow):
    """Each run is one whole trace, whichever worker it was in."""
    several.flow("worker")
    new_connection = {"Connection": "close"}
    with ThreadPoolExecutor(10) as clients:
        sessions = list(
            clients.map(lambda _: several.run("worker", headers=new_connection), range(40))
        )

    workers = set()
    for session in sessions:
        spans = several.expect(session, WORKER)
        told = json.loads(spans["Tells"]["attributes"][semconv.OUTPUT_VALUE])
        workers.add(told["out"]["data"]["text"])
    assert len(workers) == 2


def test_the_project(several: Langflow):
    spans = several.expect(several.run("worker"), WORKER)

    assert spans["Worker"]["attributes"][semconv.PROJECT_NAME] == "Parcels"


def test_a_vendor_tracer_goes_on(several: Langflow, vendor: Sink):
    """Phoenix's spans arrive where they are sent, ours where ours are sent."""
    there = {span["span_id"] for span in vendor.readable}
    several.expect(several.run("worker"), WORKER)

    def names() -> set[str]:
        new = (span for span in vendor.readable if span["span_id"] not in there)
        return {span["name"].split(" (")[0].split(" - ")[0] for span in new}

    with vendor.arrived:
        assert vendor.arrived.wait_for(
            lambda: names() >= {"Chat Input", "Tells", "Chat Output"}, timeout=15
        )
    assert ours(vendor.readable) == []


def test_another_process_goes_on_with_a_paused_run(langflow: Langflow, several: Langflow):
    """In the same trace; the other's settings show that it was the other."""
    session = new_session()
    job = pause(langflow, session)

    resume(several, job, langflow.flow("approval"))

    after = {"Approval": {DECIDED: {}, "Human Input": {"A": {"Chat Output": {}}}}}
    langflow.until(session, lambda spans: trees(spans) == [BEFORE, after])
    first, second = [span for span in langflow.spans(session) if span["name"] == "Approval"]
    assert first["trace_id"] == second["trace_id"]
    assert (status(first), status(second)) == ("paused", "ok")
