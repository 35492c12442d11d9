"""What every test has: the spans of a pipeline of its own, and a check that nothing stays open."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import backends
import certificates as authority
import flowspan
from collectors import Raw
from faults import Collector
from flowspan import _guard, _spans, pipeline
from flowspan.config import OtlpConfig
from flowspan.context import COMPONENT, RUN
from flowspan.delivery import DurableSpanProcessor
from flowspan.delivery._transport import Transport, make_transport
from flowspan.testing._recorded import related
from processes import Sink
from programs import Programs

pytest_plugins = ["backends.plugin", "pytester"]

# A shell lets its background jobs ignore ctrl-C, and so would the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Undelivered spans wait below here, not in the developer's own directory.
_state = tempfile.TemporaryDirectory(prefix="flowspan-state-")
os.environ["XDG_STATE_HOME"] = _state.name
assert backends, "it has looked for the user's cache"
os.environ["XDG_CACHE_HOME"] = os.path.join(_state.name, "cache")  # and the demo's page


@pytest.fixture(autouse=True)
def state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One for each test: what one leaves undelivered is not the next one's."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


class Spans:
    """The spans that have ended, read as trees."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.processor = SimpleSpanProcessor(self._exporter)

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (span,) = [span for span in self.all() if span.name == name]
        return span

    def tree(self) -> Any:
        """`{"run": {"a": {}, "b": {}}}` of the only trace, children by start; else a list."""
        trees = self.trees()
        return trees[0] if len(trees) == 1 else trees

    def trees(self) -> list[Any]:
        """One tree a root, in the order in which the roots started."""
        return [span.tree() for span in related(self.all()) if span.parent is None]

    def clear(self) -> None:
        self._exporter.clear()


@pytest.fixture
def failures() -> Iterator[list[str]]:
    """The kinds of misuse that were reported. A failure of ours raises instead of being logged."""
    kinds: list[str] = []

    def handle(kind: str, error: BaseException | None, advice: str) -> None:
        if error is not None:
            raise error
        kinds.append(kind)

    previous = _guard.set_handler(handle)
    _guard.reset()
    yield kinds
    _guard.set_handler(previous)
    _guard.reset()


@pytest.fixture
def configured(failures: list[str]) -> Iterator[Callable[..., Spans]]:
    """`configured(max_payload_bytes=100)`: a pipeline of that Config, and its spans."""

    def configure(**settings: Any) -> Spans:
        close()
        config = flowspan.Config(**settings)
        spans = Spans()
        provider = pipeline.make_provider(config, [spans.processor])
        flowspan.configure(config, tracer_provider=provider)
        return spans

    def close() -> None:
        if pipeline._pipeline is not None:
            pipeline._pipeline.shutdown()
        pipeline._pipeline = None
        _spans._recent.clear()

    yield configure
    close()


@pytest.fixture
def spans(configured: Callable[..., Spans]) -> Spans:
    """The spans of a pipeline with the default configuration."""
    return configured()


@pytest.fixture
def service(spans: Spans) -> flowspan.TracingService:
    return flowspan.TracingService()


@pytest.fixture(autouse=True, scope="module")
def what_is_imported_is_set_aside() -> None:
    """The collection after each test need not walk every library again: that took minutes."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """No run, component, token or current span outlives a test."""
    yield
    gc.collect()
    _spans.end_orphans()
    assert not _spans._lone_components
    assert not [run for run in _spans._open_runs if not run.ended or run._open]
    assert RUN.get() is None
    assert COMPONENT.get() is None
    assert not trace.get_current_span(otel_context.get_current()).get_span_context().is_valid


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    """A configuration may set levels and a handler of last resort; a command silences them."""
    loggers = [logging.getLogger(name) for name in ("opentelemetry", "flowspan", "flowspan.runs")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers = handlers


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a CA, and of a server's and a client's certificate by it."""
    return authority.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in bundles:
            monkeypatch.delenv(name)


@pytest.fixture
def transport(no_proxy_of_the_machine: None) -> Iterator[Callable[..., Transport]]:
    """`transport(url, compression="gzip")`: closed at the end."""
    made: list[Transport] = []

    def make(endpoint: str, **settings: Any) -> Transport:
        made.append(make_transport(OtlpConfig(endpoint=endpoint, **settings)))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def raw() -> Iterator[Callable[..., Raw]]:
    """`raw(talk)`: a server of sockets, closed at the end."""
    made: list[Raw] = []

    def make(talk: Callable[[socket.socket], None], **how: Any) -> Raw:
        made.append(Raw(talk, **how))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def counted_anew() -> Iterator[None]:
    _guard.reset()
    yield
    _guard.reset()


@pytest.fixture
def make(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., DurableSpanProcessor]]:
    """`make(...)`: a processor that sends to *collector* and spools into a directory of its own."""
    made: list[DurableSpanProcessor] = []
    monkeypatch.setattr("flowspan.delivery._exporter._FIRST_BACKOFF", 0.05)

    def make(**settings: Any) -> DurableSpanProcessor:
        given = {
            "endpoint": f"{collector.url}/v1/traces",
            "spool_dir": str(tmp_path / "spool"),
            "schedule_delay": 0.02,
        }
        processor = DurableSpanProcessor(flowspan.Config(), **(given | settings))
        made.append(processor)
        return processor

    yield make
    for processor in made:
        processor.close(0.5)


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that has bad days when told to."""
    monkeypatch.setattr("flowspan.delivery._exporter._FIRST_BACKOFF", 0.05)
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def programs(faulty: Collector, tmp_path: Path) -> Iterator[Programs]:
    """Programs that export to *faulty*. None outlives its test."""
    programs = Programs(faulty, tmp_path)
    yield programs
    programs.close()
