"""
The pytest plugin: the fixture `flowspan_spans`, and what pytest shows when its trees differ.

A module beside the package: pytest imports it at its start, in every environment that has
flowspan, and it imports nothing more until a test asks for the fixture. Any pytest will do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flowspan.testing import RecordedSpans

_FAILED = "_flowspan_test_failed"


@pytest.fixture
def flowspan_spans(request: pytest.FixtureRequest) -> Iterator[RecordedSpans]:
    """What flowspan records during this test; with fixed ids and clock, and nothing exported."""
    from flowspan.testing import LeakError, recording

    left = ""
    try:
        with recording() as spans:
            yield spans
    except LeakError as leak:
        left = str(leak)
    if left and not hasattr(request.node, _FAILED):  # a test that failed may not have got there
        pytest.fail(left, pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    if call.excinfo is not None and call.when == "call":
        setattr(item, _FAILED, True)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    testing = sys.modules.get("flowspan.testing")
    shown: list[str] | None = None
    if testing is not None and op == "==":
        shown = testing.differences(left, right)
    return shown
