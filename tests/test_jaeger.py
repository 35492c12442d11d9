"""The whole line for real: runs, OTLP, the repository's Collector, Jaeger."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowspan
from backends import running_collector, running_jaeger
from flowspan import pipeline, propagation, semconv
from flowspan.config import OtlpConfig

pytestmark = pytest.mark.backends


@pytest.fixture
def exported():
    """`exported(protocol, endpoint)` opens the pipeline that exports there."""

    def configure(protocol: str, endpoint: str) -> flowspan.Pipeline:
        otlp = OtlpConfig(protocol=protocol, endpoint=endpoint)
        return flowspan.configure(flowspan.Config(service_name="bots", otlp=otlp))

    yield configure
    if pipeline._pipeline is not None:
        pipeline._pipeline.shutdown()
    pipeline._pipeline = None


def run_flows(number: str) -> dict[str, str]:
    """A flow that works and one that fails; their names by trace id."""
    ids = {name: f"{name} {number}" for name in ("works", "fails")}
    with flowspan.run("works", run_id=ids["works"], inputs="?") as run:
        with flowspan.component("A", inputs={"api_key": "hush", "a": 1}) as component:
            component.add_log("line")
        with flowspan.component("B", type="agent", edges=[flowspan.Edge("A")]):
            with flowspan.component("Tool", type="tool"):
                pass
        run.set_outputs("!")
    with (
        pytest.raises(ValueError, match="broken"),
        flowspan.run("fails", run_id=ids["fails"]),
        flowspan.component("C"),
    ):
        raise ValueError("broken")
    return {f"{propagation.trace_id(run_id):032x}": name for name, run_id in ids.items()}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_jaeger_answers_with_the_right_traces(jaeger, collector, exported, protocol):
    """Names, parents, attributes, status, events and links come back as they were made."""
    endpoint = f"{collector.otlp_http}/v1/traces"
    if protocol == "grpc":
        endpoint = f"http://{collector.otlp_grpc}"
    opened = exported(protocol, endpoint)
    traces = {name: trace_id for trace_id, name in run_flows(protocol).items()}
    assert opened.shutdown()
    assert (opened.stats().ended, opened.stats().exported) == (6, 6)

    spans = jaeger.trace(traces["works"], until=lambda spans: len(spans) == 4)
    by_name = {span["name"]: span for span in spans}
    parents = {
        name: next((s["name"] for s in spans if s["span_id"] == span["parent_span_id"]), None)
        for name, span in by_name.items()
    }
    assert parents == {"works": None, "A": "works", "B": "works", "Tool": "B"}
    assert by_name["works"]["attributes"][semconv.RUN_STATUS] == "ok"
    assert by_name["works"]["resource"][semconv.SERVICE_NAME] == "bots"
    assert by_name["A"]["attributes"][semconv.INPUT_VALUE] == '{"api_key":"[REDACTED]","a":1}'
    (log,) = by_name["A"]["events"]
    assert (log["name"], log["attributes"][semconv.LOG_MESSAGE]) == (semconv.LOG, "line")
    assert [link["span_id"] for link in by_name["B"]["links"]] == [by_name["A"]["span_id"]]

    failed = jaeger.trace(traces["fails"], until=lambda spans: len(spans) == 2)
    assert {span["name"]: span["status"]["code"] for span in failed} == {
        "fails": "ERROR",
        "C": "ERROR",
    }


def test_nothing_is_lost_while_jaeger_is_restarted(tmp_path: Path, exported):
    """The Collector holds the queue; when Jaeger is back, every trace is there."""
    with (
        running_jaeger(tmp_path) as jaeger,
        running_collector(tmp_path, jaeger) as collector,
    ):
        opened = exported("http/protobuf", f"{collector.otlp_http}/v1/traces")
        jaeger.stop()
        traces: dict[str, str] = {}
        for number in range(20):
            traces |= run_flows(str(number))
        assert opened.shutdown()
        jaeger.start()

        for trace_id, name in traces.items():
            expected = 4 if name == "works" else 2
            found = jaeger.trace(
                trace_id, until=lambda spans, n=expected: len(spans) >= n, timeout=60
            )
            assert len({span["span_id"] for span in found}) == expected
