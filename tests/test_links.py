"""Where a run can be looked at: `flowspan.trace_url`, and one log line for each run."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import flowspan
from conftest import Spans
from flowspan import _links, propagation
from flowspan.config import OtlpConfig

JAEGER = "http://jaeger.example:16686"
TEMPLATE = "https://traces.example/t/{trace_id}?find={run_id}"
REFERENCE = (Path(__file__).parents[1] / "docs" / "reference.md").read_text()
LINKS = REFERENCE.split("## Links to traces")[1].split("\n## ")[0]
DOCUMENTED = re.findall(r"^\|.*\| `(http.+)` \|$", LINKS, re.MULTILINE)
PHOENIX = "http://localhost:6006/redirects/traces/{trace_id}"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "flowspan.runs"]


def of(config: flowspan.Config, **how: bool) -> str | None:
    return _links.template(config, **how)


# ---- the link of a run


def test_the_link_of_the_run_in_context(configured):
    """Its real trace, also from inside a component."""
    configured(trace_url=JAEGER)

    with flowspan.run("Support bot") as run, flowspan.component("Prompt"):
        trace_id = run.span.get_span_context().trace_id
        assert flowspan.trace_url() == f"{JAEGER}/trace/{trace_id:032x}"


def test_outside_a_run_there_is_none(configured):
    configured(trace_url=JAEGER)

    assert flowspan.trace_url() is None


@pytest.mark.parametrize("run_id", ["run-7", uuid.UUID(int=7)])
def test_the_link_from_a_run_id_alone(configured, run_id):
    """The run may be in another process: the trace id of a run without a parent is a hash."""
    spans = configured(trace_url=JAEGER)
    before = flowspan.trace_url(run_id)

    with flowspan.run("Support bot", run_id=run_id):
        inside = flowspan.trace_url()

    trace_id = spans.named("Support bot").context.trace_id
    assert before == inside == flowspan.trace_url(run_id) == f"{JAEGER}/trace/{trace_id:032x}"


def test_in_the_trace_of_a_request_the_real_trace_counts(configured):
    """Also by the run id, while this process knows the run: open, and afterwards."""
    configured(trace_url=JAEGER)
    traceparent = {"traceparent": f"00-{7:032x}-{1:016x}-01"}

    with propagation.extract(traceparent), flowspan.run("Support bot", run_id="run-7"):
        assert flowspan.trace_url() == f"{JAEGER}/trace/{7:032x}"
        assert flowspan.trace_url("run-7") == f"{JAEGER}/trace/{7:032x}"

    assert flowspan.trace_url("run-7") == f"{JAEGER}/trace/{7:032x}"


def test_with_another_provider_the_real_trace_counts(configured):
    """Its trace ids are its own: computed from the id alone the link would be wrong."""
    configured()
    flowspan.pipeline._pipeline.shutdown()
    flowspan.configure(flowspan.Config(trace_url=JAEGER), tracer_provider=TracerProvider())

    with flowspan.run("Support bot", run_id="run-7") as run:
        trace_id = run.span.get_span_context().trace_id
        assert flowspan.trace_url() == f"{JAEGER}/trace/{trace_id:032x}"

    assert trace_id != propagation.trace_id("run-7")
    assert flowspan.trace_url("run-7") == f"{JAEGER}/trace/{trace_id:032x}"


def test_a_run_that_is_not_sampled_has_no_link(configured):
    """It would lead nowhere."""
    configured(trace_url=JAEGER, sampler="always_off")

    with flowspan.run("Support bot", run_id="run-7"):
        assert flowspan.trace_url() is None
        assert flowspan.trace_url("run-7") is None


def test_a_template_of_ones_own(configured):
    """Ids are written as any part of a URL wants them."""
    configured(trace_url=TEMPLATE)

    trace_id = propagation.trace_id("a run/7")
    assert flowspan.trace_url("a run/7") == (
        f"https://traces.example/t/{trace_id:032x}?find=a%20run%2F7"
    )


def test_the_template_for_grafana_is_one_query_for_the_trace():
    """Its state is JSON in the query."""
    (grafana,) = (url for url in DOCUMENTED if "/explore" in url)

    query = parse_qs(urlsplit(_links.fill(grafana, 7, "run-7")).query)

    (pane,) = json.loads(query["panes"][0]).values()
    assert pane["queries"][0]["query"] == f"{7:032x}"
    assert pane["queries"][0]["queryType"] == "traceql"
    assert len(DOCUMENTED) == 4


def test_a_secret_in_a_run_id_is_in_no_link(configured):
    configured(trace_url=TEMPLATE)

    with flowspan.run("Support bot", run_id="sk-proj-abcdefghijklmnopqrstuvwxyz0123456789"):
        link = flowspan.trace_url()

    assert link is not None
    assert "abcdefgh" not in link


def test_what_is_no_run_id_is_misuse(configured, failures: list[str]):
    """Said once, and no reason to break a page."""
    configured(trace_url=JAEGER)

    assert flowspan.trace_url(object()) is None
    assert flowspan.trace_url("") is None
    assert failures == ["a link for what is no run id"] * 2


def test_without_a_pipeline_the_environment_counts(configured, monkeypatch: pytest.MonkeyPatch):
    """A web page may make links to runs of other processes; it opens no exporter for that."""
    monkeypatch.setenv("FLOWSPAN_TRACE_URL", PHOENIX)

    link = flowspan.trace_url("run-7")

    assert link == PHOENIX.replace("{trace_id}", f"{propagation.trace_id('run-7'):032x}")
    assert flowspan.pipeline.pipeline_in_force() is None


# ---- where it leads, if nobody has said


@pytest.mark.parametrize(
    ("protocol", "endpoint"),
    [
        ("http/protobuf", "http://localhost:4318/v1/traces"),
        ("http/protobuf", "http://127.0.0.1:4318/v1/traces"),
        ("http/protobuf", "https://[::1]:4318/v1/traces"),
        ("grpc", "http://localhost:4317"),
        ("grpc", "localhost:4317"),
        ("grpc", "[::1]:4317"),
        ("grpc", "dns:///localhost:4317"),
        ("grpc", "dns:localhost:4317"),
        ("grpc", "ipv4:127.0.0.1:4317"),
    ],
)
def test_a_collector_on_this_machine_has_a_jaeger_beside_it(protocol: str, endpoint: str):
    otlp = OtlpConfig(protocol=protocol, endpoint=endpoint)

    assert of(flowspan.Config(otlp=otlp)) == "http://localhost:16686/trace/{trace_id}"


@pytest.mark.parametrize(
    ("protocol", "endpoint"),
    [
        ("http/protobuf", "http://collector:4318/v1/traces"),
        ("http/protobuf", "https://127.0.0.1.example/v1/traces"),
        ("grpc", "collector:4317"),
        ("grpc", "unix:/run/collector.sock"),
    ],
)
def test_of_any_other_collector_nobody_knows(protocol: str, endpoint: str):
    otlp = OtlpConfig(protocol=protocol, endpoint=endpoint)

    assert of(flowspan.Config(otlp=otlp)) is None


def test_without_a_collector_there_is_no_jaeger():
    """Nothing is sent, or not by us."""
    assert of(flowspan.Config(exporters=())) is None
    assert of(flowspan.Config(exporters=("console",))) is None
    assert of(flowspan.Config(disabled=True)) is None
    assert of(flowspan.Config(), exports=False) is None


def test_anothers_provider_sends_who_knows_where(configured, monkeypatch: pytest.MonkeyPatch):
    """Then only what is set counts; `opentelemetry-instrument` reads the same endpoint."""
    configured()
    with flowspan.run("Support bot"):
        assert flowspan.trace_url() is None

    configured(exporter_configured=True)
    with flowspan.run("Support bot"):
        link = flowspan.trace_url()
        assert link is not None
        assert link.startswith("http://localhost:16686/trace/")


# ---- what may be set


@pytest.mark.parametrize(
    "url",
    [JAEGER, "https://ops.example/jaeger/", TEMPLATE, *DOCUMENTED],
)
def test_a_url_is_taken_as_it_is(url: str):
    config = flowspan.Config.from_env({"FLOWSPAN_TRACE_URL": url})

    assert (config.trace_url, config.problems) == (url, ())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("jaeger:16686", ""),
        ("http://jaeger/trace/{traceid}", " (not '{traceid}')"),
        ("http://jaeger/trace/{trace_id", " (not a single brace)"),
        ('http://grafana/explore?panes={"a":"{trace_id}"}', " (not a single brace)"),
        ("http://jaeger/search?service=langflow", " (no {trace_id} in it)"),
        ("http://me:secret@jaeger", " (not one with a user: it would be in every log line)"),
    ],
)
def test_any_other_is_a_problem_in_one_sentence(url: str, why: str):
    config = flowspan.Config.from_env({"FLOWSPAN_TRACE_URL": url})

    assert config.trace_url is None
    (problem,) = config.problems
    assert problem.startswith("FLOWSPAN_TRACE_URL='")
    assert problem.endswith(
        "': expected an http:// or https:// URL with {trace_id} or {run_id} in it, or without any "
        f"that of a Jaeger; other braces are written %7B and %7D{why}; "
        "using Jaeger on localhost, where the endpoint is"
    )
    assert "secret" not in problem
    with pytest.raises(flowspan.ConfigError, match=r"Config\.trace_url="):
        flowspan.Config(trace_url=url)


# ---- the line


@pytest.fixture
def said(configured: Callable[..., Spans], caplog: pytest.LogCaptureFixture):
    """`said(trace_url=…)`: a pipeline that was opened as the environment would."""

    def configure(**settings: object) -> Spans:
        spans = configured(**settings)
        _links.be_ready(flowspan.Config(**settings))
        return spans

    return configure


def test_a_run_says_where_it_can_be_looked_at(said, caplog: pytest.LogCaptureFixture):
    """At its end, at INFO: name, status, how long, and the link."""
    spans = said(trace_url=JAEGER)

    with flowspan.run("Support\nbot"):
        assert lines(caplog) == []

    trace_id = spans.all()[0].context.trace_id
    (line,) = lines(caplog)
    assert line.startswith("Support bot: ok in 0.0")
    assert line.endswith(f" s, {JAEGER}/trace/{trace_id:032x}")
    (record,) = (r for r in caplog.records if r.name == "flowspan.runs")
    assert (record.levelno, record.status) == (logging.INFO, "ok")
    assert (record.trace_id, record.url) == (f"{trace_id:032x}", line.split(", ")[1])


def test_a_failed_run_says_so(said, caplog: pytest.LogCaptureFixture):
    said(trace_url=JAEGER)

    with pytest.raises(ValueError, match="no"), flowspan.run("Support bot"):
        raise ValueError("no")

    assert lines(caplog)[0].startswith("Support bot: error in ")


def test_a_record_factory_of_the_application_is_in_nobodys_way(
    said, caplog: pytest.LogCaptureFixture
):
    """One that sets `trace_id` itself would make `extra` raise."""
    said(trace_url=JAEGER)
    before = logging.getLogRecordFactory()

    def factory(*args, **kwargs):
        record = before(*args, **kwargs)
        record.trace_id = "theirs"
        return record

    logging.setLogRecordFactory(factory)
    try:
        with flowspan.run("Support bot"):
            pass
    finally:
        logging.setLogRecordFactory(before)

    assert len(lines(caplog)) == 1


def test_what_is_inside_a_run_has_no_line_of_its_own(said, caplog: pytest.LogCaptureFixture):
    """A sub-flow, a turn of a loop: they are in the same trace."""
    said(trace_url=JAEGER)

    with flowspan.run("Support bot"), flowspan.component("Run Flow"), flowspan.run("Sub"):
        pass

    assert [line.split(":")[0] for line in lines(caplog)] == ["Support bot"]


def test_a_run_that_is_not_sampled_has_no_line(said, caplog: pytest.LogCaptureFixture):
    said(trace_url=JAEGER, sampler="always_off")

    with flowspan.run("Support bot"):
        pass

    assert lines(caplog) == []


def test_a_span_that_is_recorded_but_not_exported_has_no_line(
    caplog: pytest.LogCaptureFixture, configured
):
    provider = TracerProvider(sampler=ALWAYS_OFF)
    config = flowspan.Config(trace_url=JAEGER)
    configured()
    flowspan.pipeline._pipeline.shutdown()
    flowspan.configure(config, tracer_provider=provider)

    with flowspan.run("Support bot") as run:
        assert isinstance(run.span, trace.NonRecordingSpan)

    assert lines(caplog) == []


def test_unless_asked_it_is_quiet(said, caplog: pytest.LogCaptureFixture):
    """Also where a link is known; and whoever sets the level of the logger decides."""
    caplog.set_level(logging.DEBUG)
    said()
    with flowspan.run("Support bot"):
        pass
    said(trace_url=JAEGER)
    _links.logger.setLevel(logging.WARNING)
    with flowspan.run("Support bot"):
        pass

    assert lines(caplog) == []


APP = """
{before}
import flowspan

with flowspan.run("Support bot", run_id="run-7"):
    pass
flowspan.configure().shutdown()
"""
LINE = f"Support bot: ok in 0.00 s, {JAEGER}/trace/{propagation.trace_id('run-7'):032x}"


@pytest.mark.parametrize(
    ("before", "env", "seen"),
    [
        ("", {"FLOWSPAN_TRACE_URL": JAEGER}, f"flowspan: {LINE}\n"),
        ("", {"FLOWSPAN_TRACE_URL": JAEGER, "OTEL_LOG_LEVEL": "warn"}, ""),
        ("", {}, ""),
        (
            "import logging; logging.basicConfig(format='%(name)s - %(message)s')",
            {"FLOWSPAN_TRACE_URL": JAEGER},
            f"flowspan.runs - {LINE}\n",
        ),
        (
            "import logging; logging.getLogger('flowspan.runs').setLevel(30)",
            {"FLOWSPAN_TRACE_URL": JAEGER},
            "",
        ),
    ],
    ids=["no logging", "OTEL_LOG_LEVEL", "unset", "basicConfig", "its level"],
)
def test_a_line_that_was_asked_for_is_seen(
    before: str, env: dict[str, str], seen: str, tmp_path: Path
):
    """With and without a logging configuration; in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "FLOWSPAN_"))}
    exporter = {"OTEL_TRACES_EXPORTER": "console"}

    done = subprocess.run(
        [sys.executable, "-c", APP.format(before=before)],
        env=kept | exporter | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    digits = f"{JAEGER}/trace/{propagation.trace_id('run-7'):032x}"
    assert done.stderr.replace(" in 0.01 s", " in 0.00 s") == seen
    assert (digits in done.stderr) == bool(seen)
