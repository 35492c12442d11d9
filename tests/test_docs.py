"""What the documents say is what the code does."""

import asyncio
import dataclasses
import re
from pathlib import Path
from typing import Any

from opentelemetry import trace

import flowspan
from conftest import Spans
from flowspan import semconv
from flowspan.config import VARIABLES

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
VALUES = ("STATUS_", "MIME_", "LINK_EDGE", "LINK_RESUME", "LINK_ORIGIN", "SCOPE_", "SCHEMA_")
VALUES += ("METRIC_", "OTEL_COMPONENT_")


def names_in(heading: str) -> list[str]:
    """The first column of the table below *heading*."""
    section = REFERENCE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def test_the_reference_lists_each_attribute_once():
    """No attribute without a line, no line without an attribute."""
    written = [
        value
        for name, value in vars(semconv).items()
        if name.isupper() and not name.startswith(VALUES)
    ]

    assert names_in("Attributes and events") == written


def test_the_reference_lists_each_metric_once():
    """No metric without a line, no line without a metric."""
    metrics = [value for name, value in vars(semconv).items() if name.startswith("METRIC_")]

    assert names_in("Metrics") == metrics


def test_the_reference_lists_each_variable_once():
    """Name, default and what is accepted come from the table that reads them."""
    assert names_in("Environment variables") == list(VARIABLES)
    for variable in VARIABLES.values():
        (line,) = [row for row in REFERENCE.splitlines() if row.startswith(f"| `{variable.name}`")]
        assert line.replace("\\|", "|").endswith(f" | {variable.meaning} |")


def test_python_for_a_platform_runs(configured):
    """One provider, one configuration, one endpoint, below a request that was sampled."""
    page = (ROOT / "docs" / "platform.md").read_text()
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    names: dict[str, Any] = {}
    exec(compile(code, "platform.md", "exec"), names)
    spans = Spans()
    names["provider"].add_span_processor(spans.processor)
    sampled = trace.SpanContext(1, 1, is_remote=True, trace_flags=trace.TraceFlags(1))

    with trace.use_span(trace.NonRecordingSpan(sampled)):
        assert asyncio.run(names["ask"]("rain")) == "About rain: yes."

    assert spans.tree() == {"Support bot": {"Answer": {}}}
    assert spans.named("Support bot").parent.span_id == 1


def test_the_page_for_a_platform_names_each_setting():
    """No field of `Config` is left out."""
    page = (ROOT / "docs" / "platform.md").read_text()
    derived = {"problems", "exporter_configured"}

    for setting in dataclasses.fields(flowspan.Config):
        assert setting.name in derived or f"`{setting.name}`" in page, setting.name


def test_python_in_the_readme_runs(spans):
    """The five lines for a workflow developer work as they stand."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    exec(compile(code, "README.md", "exec"), {})

    assert spans.tree() == {"Support bot": {"Prompt": {}}}
