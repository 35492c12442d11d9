"""One Jaeger and one Collector for a whole test session. Load with `pytest_plugins`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ._collector import Collector, running_collector
from ._jaeger import Jaeger, running_jaeger


@pytest.fixture(scope="session")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    """Shared by every test of the session: tests tell their traces apart, and never stop it."""
    with running_jaeger(tmp_path_factory.mktemp("jaeger")) as jaeger:
        yield jaeger


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory, jaeger: Jaeger) -> Iterator[Collector]:
    """In front of `jaeger`, and shared like it."""
    with running_collector(tmp_path_factory.mktemp("collector"), jaeger) as collector:
        yield collector
