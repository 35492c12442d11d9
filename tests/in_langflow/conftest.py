"""The Langflow servers of the whole session; tests tell their runs apart by session id."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from backends import Collector
from processes import Sink

from ._door import Door
from ._server import HERE, Langflow, langflow_python, running_langflow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.langflow)


@pytest.fixture(scope="session")
def python() -> Path:
    return langflow_python()


@pytest.fixture(scope="session")
def dumped(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flows as JSON, as a user would export them."""
    directory = tmp_path_factory.mktemp("flows")
    subprocess.run([python, HERE / "dump.py", directory], check=True, timeout=120)
    return directory


@pytest.fixture(scope="session")
def langflow_sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture(scope="session")
def vendor() -> Iterator[Sink]:
    """Where the Phoenix tracer of `several` sends its spans."""
    vendor = Sink()
    yield vendor
    vendor.close()


class Ahead:
    """Servers that later tests need, started one after another while earlier tests run."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._running: list[AbstractContextManager[Langflow]] = []
        self._starting: dict[str, Future[Langflow]] = {}
        self.hanging: Hanging

    def start(self, name: str, server: AbstractContextManager[Langflow]) -> None:
        def enter() -> Langflow:
            langflow = server.__enter__()
            self._running.append(server)
            return langflow

        self._starting[name] = self._pool.submit(enter)

    def __getitem__(self, name: str) -> Langflow:
        return self._starting[name].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        with ThreadPoolExecutor(10) as stopping:
            list(stopping.map(lambda server: server.__exit__(None, None, None), self._running))


@pytest.fixture(scope="session")
def ahead(
    request: pytest.FixtureRequest,
    python: Path,
    dumped: Path,
    langflow_sink: Sink,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ahead]:
    """Every server of the tests that were chosen, the one that most need first."""
    ahead = Ahead()
    needed = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    first = tmp_path_factory.mktemp("langflow")

    def start(name: str, home: Path | None = None, **options: Any) -> None:
        if name in needed:
            home = home or tmp_path_factory.mktemp(name)
            ahead.start(name, running_langflow(python, home, langflow_sink, dumped, **options))

    with closing(Hanging()) as hanging:
        ahead.hanging = hanging
        start("langflow", first)
        if "several" in needed:
            vendor = request.getfixturevalue("vendor")
            start("several", first, workers=2, **SEVERAL, PHOENIX_COLLECTOR_ENDPOINT=vendor.url)
        if "langflow_for_jaeger" in needed:
            with suppress(pytest.skip.Exception):  # who asks for it is told
                collector = request.getfixturevalue("collector")
                start(
                    "langflow_for_jaeger",
                    OTEL_EXPORTER_OTLP_ENDPOINT=collector.otlp_http,
                    OTEL_SERVICE_NAME="langflow-for-jaeger",
                )
        start(
            "silent",
            toml='[services]\ntracing_service = "late:Late"\n',
            OTEL_EXPORTER_OTLP_ENDPOINT="",
            OTEL_TRACES_EXPORTER="otlp",
            LATE_ENDPOINT=langflow_sink.url,
        )
        start("deactivated", LANGFLOW_DEACTIVATE_TRACING="true")
        start("without_us", toml=ODD_SERVICE.format("Theirs"), **ORDER)
        start(
            "badly_off",
            toml=ODD_SERVICE.format("Ours"),
            OTEL_EXPORTER_OTLP_ENDPOINT=hanging.url,
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            FLOWSPAN_SPOOL_DIR="/proc/x",
            **ORDER,
        )
        try:
            yield ahead
        finally:
            ahead.close()


class Hanging:
    """A collector that takes connections and never answers."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._take)
        self._thread.start()

    def _take(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                self._taken.append(self._listening.accept()[0])
                self.reached.set()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        for connection in self._taken:
            connection.close()


SEVERAL = {
    # of a playground's polls: they are for one worker; with it Langflow asks for Redis
    "LANGFLOW_DANGEROUSLY_ALLOW_MULTI_WORKER_WITHOUT_SHARED_QUEUE": "true",
    "LANGCHAIN_PROJECT": "Parcels",
    "FLOWSPAN_PARENTING": "edge",
}
ORDER = {"PYTHONHASHSEED": "0"}  # Langflow sends the order of a set
ODD_SERVICE = """\
[services]
tracing_service = "odd:{}"
"""


@pytest.fixture(scope="session")
def langflow(ahead: Ahead) -> Langflow:
    """With nothing set but what a user sets: the endpoint."""
    return ahead["langflow"]


@pytest.fixture(scope="session")
def several(langflow: Langflow, ahead: Ahead) -> Langflow:
    """On the database of the first, with two workers, a vendor tracer and settings of its own."""
    return ahead["several"]


@pytest.fixture(scope="session")
def langflow_for_jaeger(collector: Collector, ahead: Ahead) -> Langflow:
    return ahead["langflow_for_jaeger"]


@pytest.fixture(scope="session")
def silent(ahead: Ahead) -> Langflow:
    """With `OTEL_TRACES_EXPORTER=otlp` alone: it exports nothing, flowspan's spans are all."""
    return ahead["silent"]


@pytest.fixture(scope="session")
def deactivated(ahead: Ahead) -> Langflow:
    """With `LANGFLOW_DEACTIVATE_TRACING`."""
    return ahead["deactivated"]


@pytest.fixture(scope="session")
def hanging(ahead: Ahead) -> Hanging:
    """What `badly_off` exports to."""
    return ahead.hanging


@pytest.fixture(scope="session")
def badly_off(ahead: Ahead) -> Langflow:
    """The collector hangs, the spool cannot be written, vendor tracers raise (`odd/odd.py`)."""
    return ahead["badly_off"]


@pytest.fixture(scope="session")
def without_us(ahead: Ahead) -> Langflow:
    """Langflow's own service; the same vendor tracers raise."""
    return ahead["without_us"]


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()
