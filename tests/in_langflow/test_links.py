"""With `FLOWSPAN_TRACE_URL` each run says where it can be looked at, in whatever runs the flow."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backends._process import wait_for
from processes import Sink

from ._server import FLOWS, environment, lfx, running_langflow
from .test_lfx import serving

JAEGER = "http://jaeger.example:16686"


def said(flow: str, log: str) -> list[str]:
    """The lines of that flow; a terminal's handler may have wrapped them."""
    link = re.escape(JAEGER) + "/trace/[0-9a-f]{32}"
    return re.findall(rf"{flow}:okin\d+\.\d\ds,{link}", re.sub(r"\s|_links\.py", "", log))


def test_lfx_run_says_it_beside_the_answer(python: Path, sink: Sink, tmp_path: Path):
    """On stderr; the answer is the same."""
    command = ("run", str(FLOWS / "hello_flow.py"), "hi")
    without = lfx(python, tmp_path, *command, **environment(tmp_path, sink))

    done = lfx(python, tmp_path, *command, **environment(tmp_path, sink, FLOWSPAN_TRACE_URL=JAEGER))

    assert done.stdout == without.stdout
    assert len(said("flowspan:hello_flow", done.stderr)) == 1, done.stderr
    assert JAEGER not in without.stderr


def test_lfx_serve_says_it(python: Path, dumped: Path, sink: Sink, tmp_path: Path):
    """On stderr, where its own logs start at warnings."""
    flow = dumped / "hello.json"
    with serving(python, tmp_path, sink, flow, FLOWSPAN_TRACE_URL=JAEGER) as (served, log):
        served.run("Hello")
        served.run("Hello")
        wait_for(log.read_text, until=lambda text: len(said("hello", text)) == 2, timeout=20)


@pytest.mark.parametrize(("pretty", "level"), [("true", "info"), ("false", "error")])
def test_langflow_run_says_it(
    python: Path, dumped: Path, sink: Sink, tmp_path: Path, pretty: str, level: str
):
    """In its own log, at its level; else on stderr."""
    env = {"FLOWSPAN_TRACE_URL": JAEGER, "LANGFLOW_LOG_LEVEL": level}
    with running_langflow(python, tmp_path, sink, dumped, pretty=pretty, **env) as langflow:
        langflow.run("hello")
        (log,) = tmp_path.glob("langflow-*.log")
        wait_for(log.read_text, until=lambda text: len(said("Hello", text)) == 1, timeout=20)
