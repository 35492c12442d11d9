"""
Each page of docs/recipes does what it says: whole traces, across tasks, threads and processes.

The files and the commands are the page's, in processes of their own; the tree that the page shows
is compared with what a collector was sent.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from faults import Collector
from programs import GUARD
from recipes import PAGES, Recipe, commands_of, free_port, size, wait_for_port

CONSUMER = OtlpSpan.SPAN_KIND_CONSUMER


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture
def recipe(tmp_path: Path, collector: Collector) -> Iterator[Callable[[str], Recipe]]:
    """`recipe("fastapi.md")`. Each of its commands has been run when the test is over."""
    made: list[Recipe] = []

    def make(page: str) -> Recipe:
        made.append(Recipe(page, tmp_path, collector))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis of this test's own."""
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server on this machine: apt-get install redis-server")
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def consumers(collector: Collector) -> list[str]:
    """The runs that were picked up from somewhere else."""
    return sorted(span.name for span in collector.spans if span.kind == CONSUMER)


def attribute(span: OtlpSpan, name: str) -> str:
    (value,) = [given.value.string_value for given in span.attributes if given.key == name]
    return value


def test_every_command_of_every_page_is_run_here():
    """No page without a test, and no line that nobody has tried."""
    tests = Path(__file__).read_text()

    for page in PAGES.glob("*.md"):
        assert page.name == "README.md" or f'recipe("{page.name}")' in tests, page.name
        for command in commands_of(page.read_text()):
            assert f'"{command}"' in tests, f"{page.name}: {command}"


def test_fastapi(collector: Collector, recipe: Callable[[str], Recipe]):
    """Two servers, one trace; a stream is a run as long as it lasts."""
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine: apt-get install curl")
    page = recipe("fastapi.md")
    (tree,) = page.shown()
    servers = [
        page.serve("uvicorn warehouse:app --port 8001", "8001"),
        page.serve("FLOWSPAN_SET_GLOBAL=true uvicorn shop:app --port 8000", "8000"),
    ]

    answered = page.run("curl 'http://localhost:8000/ask?question=lamps'")
    told = page.run("curl 'http://localhost:8000/story?subject=lamp'")

    assert answered == '"There are 7 left."'
    assert told == "Once upon lamp"
    assert page.arrived(size(tree)) == tree
    assert consumers(collector) == ["Warehouse"]
    for server in servers:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=GUARD)


def test_celery(redis: str, collector: Collector, recipe: Callable[[str], Recipe]):
    """
    Two forked workers: whole traces of the caller's, delivered when they end, long before their
    time to export.
    """
    page = recipe("celery.md")
    (tree,) = page.shown()
    urls = {"CELERY_BROKER_URL": redis, "CELERY_RESULT_BACKEND": redis}
    worker = page.start(
        "celery -A tasks worker --concurrency 2", OTEL_BSP_SCHEDULE_DELAY="600000", **urls
    )

    assert page.run("python shop.py", **urls) == "6\n"
    worker.send_signal(signal.SIGTERM)
    _, log = worker.communicate(timeout=GUARD)

    assert worker.returncode == 0, log
    assert page.arrived(size(tree)) == tree
    assert consumers(collector) == ["tasks.pack"] * 2 + ["tasks.ship"] * 2
    attempts = [span for span in collector.spans if span.name == "tasks.ship"]
    first, second = sorted(attempts, key=lambda span: span.start_time_unix_nano)
    assert (first.status.code, second.status.code) == (2, 0)
    assert attribute(first, "flowspan.run.id") == attribute(second, "flowspan.run.id")


def test_a_queue_of_asyncio(collector: Collector, recipe: Callable[[str], Recipe]):
    """Workers that are older than the work file it where it was put."""
    page = recipe("asyncio-queue.md")
    (tree,) = page.shown()

    page.run("python pipeline.py")

    assert page.arrived(size(tree)) == tree
    assert consumers(collector) == ["Resize"] * 3


def test_threads(collector: Collector, recipe: Callable[[str], Recipe]):
    """`carry` takes run and component to an executor's threads and to one's own."""
    page = recipe("threads-and-processes.md")
    tree, _, _ = page.shown()

    page.run("python threads.py")

    assert page.arrived(size(tree)) == tree


@pytest.mark.parametrize("command", ["python processes.py fork", "python processes.py spawn"])
def test_process_pools(collector: Collector, recipe: Callable[[str], Recipe], command: str):
    """Runs in the children of a pool are children of the component that asked for them."""
    page = recipe("threads-and-processes.md")
    _, tree, _ = page.shown()

    assert page.run(command) == "11\n"

    assert page.arrived(size(tree)) == tree
    assert consumers(collector) == ["Chapter"] * 3


def test_a_command(collector: Collector, recipe: Callable[[str], Recipe]):
    """A process finds its parent in the environment."""
    page = recipe("threads-and-processes.md")
    _, _, tree = page.shown()

    page.run("python parent.py")

    assert page.arrived(size(tree)) == tree


def test_langgraph(collector: Collector, recipe: Callable[[str], Recipe]):
    """Nodes, what they open and what they call, without Langflow."""
    page = recipe("langgraph.md")
    (tree,) = page.shown()
    page.serve("python orders.py", "8002")

    page.run("python agent.py 'Where is my parcel?'")

    assert page.arrived(size(tree)) == tree
    assert consumers(collector) == ["Order service"]


def test_an_engine_of_ones_own(collector: Collector, recipe: Callable[[str], Recipe]):
    """The five methods, a graph whose parts run at once, and a flow in another process."""
    page = recipe("engine.md")
    (tree,) = page.shown()

    assert page.run("python flows.py Answers lamps") == "pages on lamps; spmal\n"

    assert page.arrived(size(tree)) == tree
    named = {span.name: span for span in collector.spans}
    edges = {link.span_id for link in named["Writer"].links}
    assert edges == {named["Search"].span_id, named["Translate"].span_id}
