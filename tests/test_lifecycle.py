"""From the first run to the exit: forks, other processes, exporters, TLS, hanging collectors."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flowspan
from processes import Sink, in_process


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_goes_on_for_itself(sink: Sink):
    """The child exports its own runs at its exit; what the parent had open is the parent's."""
    code = """
    import os
    scope = flowspan.run("parent", run_id="parent")
    scope.__enter__()
    child = os.fork()
    if child == 0:
        assert flowspan.current_run() is None or flowspan.current_run().run_id != "parent"
        with flowspan.run("child", run_id="child"), flowspan.component("B"):
            pass
        sys.exit(0)
    os.waitpid(child, 0)
    with flowspan.component("A"):
        pass
    scope.__exit__(None, None, None)
    result = "done"
    """
    in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)

    spans = sink.wait_for(4)
    assert sorted(span.name for span in sink.spans) == ["A", "B", "child", "parent"]
    assert spans["B"].parent_span_id == spans["child"].span_id
    assert spans["A"].parent_span_id == spans["parent"].span_id
    assert spans["child"].parent_span_id == spans["parent"].span_id


def test_a_carried_function_reaches_another_process(sink: Sink, tmp_path: Path):
    """Pickled into a process pool: the run opened there is below the component that sent it."""
    script = tmp_path / "carried.py"
    script.write_text(
        "import multiprocessing\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "import flowspan\n"
        "from flowspan import propagation\n"
        "def work(n):\n"
        "    with flowspan.run('there'):\n"
        "        pass\n"
        "    flowspan.configure().force_flush(10)\n"
        "    return n + 1\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    with ProcessPoolExecutor(1, mp_context=context) as pool:\n"
        "        with flowspan.run('here'), flowspan.component('send'):\n"
        "            assert pool.submit(propagation.carry(work), 1).result() == 2\n"
    )
    in_process(
        f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__'); result = 0",
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
    )

    spans = sink.wait_for(3)
    assert spans["there"].parent_span_id == spans["send"].span_id
    assert spans["there"].trace_id == spans["send"].trace_id == spans["here"].trace_id


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("traceparent", "parent"),
    [(TRACEPARENT, "b7ad6b7169203331"), ("nonsense", ""), ("", "")],
)
def test_the_process_may_have_a_parent(sink: Sink, traceparent: str, parent: str):
    """`TRACEPARENT`, as build tools and `docker run` set it; a broken one is no parent."""
    in_process(
        "flow(); result = 0",
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        TRACEPARENT=traceparent,
        TRACESTATE="vendor=1",
    )

    run = sink.wait_for(2)["flow"]
    assert run.parent_span_id.hex() == parent
    if parent:
        assert run.trace_id.hex() == TRACEPARENT.split("-")[1]
        assert run.trace_state == "vendor=1"


def test_exporters_by_name(sink: Sink, tmp_path: Path):
    """The console, one that a package offers, and OTLP beside them."""
    package = tmp_path / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[opentelemetry_traces_exporter]\nmine = mine_exporter:Exporter\n"
    )
    (tmp_path / "mine_exporter.py").write_text(
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "made = []\n"
        "class Exporter(InMemorySpanExporter):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        made.append(self)\n"
    )
    code = """
    import contextlib, io
    console = io.StringIO()
    sys.stdout, stdout = console, sys.stdout
    flow()
    done = flowspan.configure().force_flush(10)
    sys.stdout = stdout
    import mine_exporter
    mine = sorted(span.name for span in mine_exporter.made[0].get_finished_spans())
    result = [done, mine, console.getvalue().count('"trace_id"') >= 2]
    """
    result = in_process(
        code,
        OTEL_TRACES_EXPORTER="console,mine,otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        PYTHONPATH=str(tmp_path),
    )

    assert result == [True, ["A", "flow"], True]
    assert set(sink.wait_for(2)) == {"A", "flow"}


def test_no_exporter_and_an_unknown_one(sink: Sink):
    """`none` builds nothing to export with; a name that nobody offers is a warning."""
    code = """
    import logging
    lines = []
    class Lines(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())
    logging.getLogger("flowspan").addHandler(Lines())
    flow()
    result = [threading.active_count(), lines]
    """
    url = sink.url
    threads, lines = in_process(code, OTEL_TRACES_EXPORTER="none", OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert (threads, lines) == (1, [])

    threads, lines = in_process(
        code, OTEL_TRACES_EXPORTER="nobodys", OTEL_EXPORTER_OTLP_ENDPOINT=url
    )
    assert any("nobodys" in line for line in lines), lines
    assert all("Traceback" not in line for line in lines)


@pytest.fixture
def hanging() -> Iterator[str]:
    """A collector that accepts connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in accepted:
        connection.close()


def test_a_collector_that_hangs_takes_no_more_time_than_given(hanging: str):
    """`force_flush` and `shutdown` say False when their time is over, and not long after."""
    code = """
    import time
    flow()
    start = time.monotonic()
    flushed = flowspan.configure().force_flush(0.5)
    middle = time.monotonic()
    down = flowspan.configure().shutdown(0.5)
    took = [middle - start, time.monotonic() - middle]
    result = [flushed, down, [0.4 < seconds < 5 for seconds in took]]
    """
    result = in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=hanging)

    assert result == [False, False, [True, True]]


def tls_variables(certificates: Path, client: bool) -> dict[str, str]:
    variables = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(certificates / "ca.pem")}
    if client:
        variables["OTEL_EXPORTER_OTLP_CLIENT_KEY"] = str(certificates / "client.key")
        variables["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] = str(certificates / "client.pem")
    return variables


FLUSHED = "flow(); result = flowspan.configure().force_flush(20)"


@pytest.mark.parametrize("mutual", [False, True])
def test_https(sink: Sink, certificates: Path, mutual: bool):
    """A private CA, and a client's certificate where the server wants one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    if mutual:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates / "ca.pem")
    sink.server.socket = context.wrap_socket(sink.server.socket, server_side=True)
    url = sink.url.replace("http:", "https:")

    done = in_process(
        FLUSHED, OTEL_EXPORTER_OTLP_ENDPOINT=url, **tls_variables(certificates, mutual)
    )

    assert done is True
    assert set(sink.wait_for(2)) == {"A", "flow"}


@pytest.mark.parametrize("mutual", [False, True])
def test_grpc_with_tls(certificates: Path, mutual: bool):
    """The same over gRPC."""
    from concurrent.futures import ThreadPoolExecutor

    import grpc
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceResponse,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
        TraceServiceServicer,
        add_TraceServiceServicer_to_server,
    )

    names: list[str] = []

    class Service(TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    names.extend(span.name for span in scope.spans)
            return ExportTraceServiceResponse()

    def read(name: str) -> bytes:
        return (certificates / name).read_bytes()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Service(), server)
    credentials = grpc.ssl_server_credentials(
        [(read("server.key"), read("server.pem"))],
        root_certificates=read("ca.pem") if mutual else None,
        require_client_auth=mutual,
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()

    done = in_process(
        FLUSHED,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"https://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        **tls_variables(certificates, mutual),
    )

    server.stop(None).wait()
    assert done is True
    assert sorted(names) == ["A", "flow"]


DECLARED = """
file_format: "1.0"
resource:
  attributes:
    - name: service.name
      value: declared
tracer_provider:
  processors:
    - simple:
        exporter:
          otlp_http:
            endpoint: {url}/v1/traces
"""


def test_a_declared_pipeline(sink: Sink, tmp_path: Path):
    """`OTEL_CONFIG_FILE`: OpenTelemetry's own package builds it, and makes it the global one."""
    file = tmp_path / "otel.yaml"
    file.write_text(DECLARED.format(url=sink.url))
    code = "flow(); result = type(trace.get_tracer_provider()).__name__"

    assert in_process(code, OTEL_CONFIG_FILE=str(file)) == "TracerProvider"
    assert set(sink.wait_for(2)) == {"A", "flow"}


@pytest.mark.parametrize("content", [None, "file_format: [", "tracer_provider: 5"])
def test_a_declaration_that_is_wrong(tmp_path: Path, content: str | None):
    """The application goes on; one warning names the trouble."""
    file = tmp_path / "otel.yaml"
    if content is not None:
        file.write_text(content)
    code = """
    import logging
    lines = []
    class Lines(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())
    logging.getLogger("flowspan").addHandler(Lines())
    flow()
    flow()
    result = lines
    """
    lines = in_process(code, OTEL_CONFIG_FILE=str(file))

    assert len(lines) == 1
    assert "otel.yaml" in lines[0] or "pipeline" in lines[0]


def test_stats_count_what_left_and_what_did_not(sink: Sink):
    """Ended, exported, and given up."""
    code = """
    from dataclasses import asdict
    flow()
    pipeline = flowspan.configure()
    pipeline.force_flush(10)
    stats = asdict(pipeline.stats())
    result = {k: v for k, v in stats.items() if k not in ("reports", "delivery")}
    """
    stats = in_process(code, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)

    assert stats == {"ended": 2, "exported": 2, "waiting": 0, "failed": 0}
    assert flowspan.TracingService.name == "tracing_service"
