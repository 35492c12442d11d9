"""The command `flowspan`, run as people run it: a process of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import flowspan

COMMAND = str(Path(sys.executable).parent / "flowspan")
FLOWS = {
    "Support bot": {
        "Chat Input": {},
        "Order Search": {},
        "Prompt": {},
        "Model": {},
        "Chat Output": {},
    },
    "Trip planner": {"Agent": {"get_weather": {}, "find_hotel": {}}},
    "Release notes": {"Read Commits": {}, "Summary": {}},
    "Nightly import": {"Read CSV": {}, "Exchange Rates": {}, "Resize Images": {}},
}
SPANS = 17


def flowspan_command(
    *arguments: str, command: str = COMMAND, **variables: str
) -> subprocess.CompletedProcess[str]:
    """`flowspan` in an environment with nothing of ours but *variables*."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "FLOWSPAN_", "LANG", "TRACE", "OPENINFERENCE_"))
    }
    environment = {**kept, "PYTHONUTF8": "1", "COLUMNS": "80", **variables}
    return subprocess.run(
        [command, *arguments],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Collector:
    """An HTTP server in a collector's place: keeps the spans of requests that it answers 200."""

    def __init__(self, status_for_spans: int) -> None:
        self.spans: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                request = ExportTraceServiceRequest.FromString(body)
                found = [
                    span
                    for resource in request.resource_spans
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
                status = status_for_spans if found else 200
                if status == 200:
                    collector.spans += found
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def collector() -> Iterator[Callable[..., Collector]]:
    started: list[Collector] = []

    def start(status_for_spans: int = 200) -> Collector:
        started.append(Collector(status_for_spans))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture(scope="module")
def shown() -> subprocess.CompletedProcess[str]:
    """The demo where no collector answers."""
    endpoint = f"http://127.0.0.1:{closed_port()}"
    return flowspan_command("demo", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)


def trees_in(output: str) -> dict[str, Any]:
    """The trees that were drawn, names only: a row has a duration, a line below it has none."""
    found: dict[str, Any] = {}
    path = [found]
    for line in output.splitlines():
        row = re.match(r"([│├└─ ]*)(\S.*?) {2,}\S+ +[\d.]+ m?s  [█·]{20} \w+$", line)
        if row is not None:
            depth = len(row[1]) // 3
            del path[depth + 1 :]
            below: dict[str, Any] = {}
            path[depth][row[2]] = below
            path.append(below)
    return found


def row_of(name: str, output: str) -> str:
    (row,) = [line for line in output.splitlines() if re.search(rf"[─ ]{name}  .*[█·]", line)]
    return row


def test_without_a_collector_one_line_says_so(shown: subprocess.CompletedProcess[str]) -> None:
    """The address is in it, nothing is on stderr, and the exit code is 0."""
    assert (shown.returncode, shown.stderr) == (0, "")
    assert re.fullmatch(
        r"No collector answers at http://127\.0\.0\.1:\d+/v1/traces "
        r"\(connection refused\): showing the traces here",
        shown.stdout.splitlines()[0],
    )


def test_each_flow_is_a_tree_of_its_own(shown: subprocess.CompletedProcess[str]) -> None:
    """Flows that run at the same time never mix."""
    assert trees_in(shown.stdout) == FLOWS


def test_a_row_ends_with_its_status(shown: subprocess.CompletedProcess[str]) -> None:
    """In words, so that colour is never needed."""
    assert row_of("Model", shown.stdout).endswith(" ok")
    assert row_of("Exchange Rates", shown.stdout).endswith(" error")
    assert row_of("Resize Images", shown.stdout).endswith(" cancelled")


def test_below_a_row_stand_error_tokens_logs_and_redacted_inputs(
    shown: subprocess.CompletedProcess[str],
) -> None:
    """The error's message, once, where it was raised; no secret anywhere."""
    message = "error ConnectionError: rates.example.com: 503 Service Unavailable"
    assert shown.stdout.count(message) == 1
    assert "tokens 2310 in, 327 out (gpt-4o)" in shown.stdout
    assert "log weather first, then a hotel" in shown.stdout
    assert '"api_key":"[REDACTED]"' in shown.stdout
    assert "sk-demo" not in shown.stdout


def test_a_pipe_gets_80_columns_and_no_colour(shown: subprocess.CompletedProcess[str]) -> None:
    """No escape sequence, no line that a terminal would wrap but addresses."""
    assert "\x1b" not in shown.stdout
    assert max(map(len, shown.stdout.splitlines()[1:-1])) <= 80


def test_a_collector_gets_the_spans_and_jaeger_the_links(
    collector: Callable[..., Collector],
) -> None:
    """One link a trace, with the trace's id."""
    there = collector()

    done = flowspan_command(
        "demo", "--jaeger", "http://jaeger/ui/", OTEL_EXPORTER_OTLP_ENDPOINT=there.url
    )

    assert (done.returncode, done.stderr) == (0, "")
    roots = {span.name: span.trace_id.hex() for span in there.spans if not span.parent_span_id}
    first, *links = done.stdout.splitlines()
    assert first == f"Exported {SPANS} spans to {there.url}/v1/traces"
    assert len(there.spans) == SPANS
    assert dict(re.split(r" {2,}", link.strip()) for link in links) == {
        name: f"http://jaeger/ui/trace/{roots[name]}" for name in FLOWS
    }


def test_a_failed_export_is_said(collector: Callable[..., Collector]) -> None:
    """A collector that answers and then refuses: no link that leads nowhere."""
    there = collector(status_for_spans=400)

    done = flowspan_command(
        "demo", "--jaeger", "http://jaeger", OTEL_EXPORTER_OTLP_ENDPOINT=there.url
    )

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == (
        f"Export to {there.url}/v1/traces failed: {SPANS} of {SPANS} spans did not arrive\n"
    )


def test_never_means_never(collector: Callable[..., Collector]) -> None:
    """`FLOWSPAN_EXPORT=never` holds for the demo too."""
    there = collector()

    done = flowspan_command("demo", OTEL_EXPORTER_OTLP_ENDPOINT=there.url, FLOWSPAN_EXPORT="never")

    assert (done.returncode, done.stderr, there.spans) == (0, "", [])
    assert done.stdout.startswith("FLOWSPAN_EXPORT is never: showing the traces here\n")


def test_a_wrong_variable_is_a_line(collector: Callable[..., Collector]) -> None:
    """It names the variable and what is accepted, and the demo goes on."""
    done = flowspan_command(
        "demo",
        "--jaeger",
        "http://jaeger",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector().url,
        FLOWSPAN_MAX_PAYLOAD_BYTES="lots",
    )

    assert (done.returncode, done.stderr) == (0, "")
    first, second, *_ = done.stdout.splitlines()
    assert first.startswith("FLOWSPAN_MAX_PAYLOAD_BYTES='lots': expected ")
    assert second.startswith("Exported ")


def test_switched_off_is_said() -> None:
    """Nothing runs then."""
    done = flowspan_command("demo", OTEL_SDK_DISABLED="true")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Tracing is switched off by OTEL_SDK_DISABLED")
    assert len(done.stdout.splitlines()) == 1


def test_version() -> None:
    """The package's."""
    assert flowspan_command("--version").stdout == f"flowspan, version {flowspan.__version__}\n"
