"""One Langflow server for the whole session; tests tell their runs apart by session id."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

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
def langflow(
    python: Path, dumped: Path, langflow_sink: Sink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Langflow]:
    """With nothing set but what a user sets: the endpoint."""
    home = tmp_path_factory.mktemp("langflow")
    with running_langflow(python, home, langflow_sink, dumped) as langflow:
        yield langflow


@pytest.fixture
def langflows(
    python: Path, dumped: Path, sink: Sink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., list[Langflow]]]:
    """`langflows({…}, …)`: a server for each set of options, all started at once."""
    with ExitStack() as servers:

        def start(*options: dict[str, Any]) -> list[Langflow]:
            running = [
                running_langflow(python, tmp_path_factory.mktemp("another"), sink, dumped, **one)
                for one in options
            ]
            with ThreadPoolExecutor(len(running)) as starting:
                return list(starting.map(servers.enter_context, running))

        yield start


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.close()
