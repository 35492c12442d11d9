"""A place that OTLP arrives at, and code that runs in a process of its own."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backends import Span
from backends._spans import spans_of


class Sink:
    """A server that takes OTLP and any other request, and remembers both."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.readable: list[Span] = []  # the same, as Jaeger would answer them
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.arrived = threading.Condition()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not self.path.endswith("/v1/traces"):
                    return self.answer()
                if self.headers["Content-Encoding"] == "gzip":
                    body = gzip.decompress(body)
                request = ExportTraceServiceRequest.FromString(body)
                with sink.arrived:
                    sink.readable.extend(_readable(request))
                    sink.bodies.append(body)
                    for resource in request.resource_spans:
                        for scope in resource.scope_spans:
                            sink.spans.extend(scope.spans)
                    sink.arrived.notify_all()
                return self.answer()

            def do_GET(self) -> None:
                sink.headers.append({k.lower(): v for k, v in self.headers.items()})
                self.answer()

            def answer(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def wait_for(self, count: int, timeout: float = 30) -> dict[str, Any]:
        """The spans by name, once there are *count*."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.spans) >= count, timeout), self.spans
            return {span.name: span for span in self.spans}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def _readable(request: ExportTraceServiceRequest) -> list[Span]:
    spans = spans_of({"result": MessageToDict(request, use_integers_for_enums=True)})
    for span in spans:
        span["trace_id"] = _hex(span["trace_id"])
        span["span_id"] = _hex(span["span_id"])
        span["parent_span_id"] = _hex(span["parent_span_id"])
        for link in span["links"]:
            link["trace_id"], link["span_id"] = _hex(link["trace_id"]), _hex(link["span_id"])
    return spans


def _hex(written: str) -> str:
    """Protobuf's own JSON writes bytes in base64, OTLP's ids in hex."""
    return base64.b64decode(written).hex()


FLOW = """
import json, threading, sys
import flowspan
from opentelemetry import trace
def flow():
    with flowspan.run("flow", run_id="r-1"), flowspan.component("A") as component:
        assert flowspan.current_component() is component
        return format(component.span.get_span_context().trace_id, "032x")
"""
THEIRS = """
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
memory = InMemorySpanExporter()
theirs = TracerProvider()
theirs.add_span_processor(SimpleSpanProcessor(memory))
names = lambda: sorted(span.name for span in memory.get_finished_spans())
"""


# the bundle of a machine behind a proxy would win over the certificate that the exporter is given
NOT_KEPT = ("OTEL_", "FLOWSPAN_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def in_process(code: str, **env: str) -> Any:
    """What *code* puts into `result`, run in a process of its own with only *env* of ours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_KEPT)}
    script = FLOW + textwrap.dedent(code) + "\nprint(json.dumps(result))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=kept | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
