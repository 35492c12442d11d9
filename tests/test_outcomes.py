"""What a run is when its components say one thing and its end, or nobody's, another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import flowspan
from flowspan import semconv
from flowspan._spans import Run


@pytest.fixture
def run(service: flowspan.TracingService, spans: Any) -> Callable[[], Run]:
    """Opens a run that nobody ends but the test, and answers with it."""

    async def start() -> Run:
        await service.start_tracers("r-1", "flow", None, None)
        run = flowspan.current_run()
        assert isinstance(run, Run)
        return run

    return start


def status(spans: Any) -> tuple[Any, Any]:
    (run,) = (span for span in spans.all() if semconv.RUN_STATUS in span.attributes)
    return run.attributes[semconv.RUN_STATUS], run.attributes.get(semconv.ERROR_TYPE)


def component(name: str, *after: str) -> flowspan.Component:
    return flowspan.Component(name, name, edges=[flowspan.Edge(one) for one in after])


async def build(service: Any, info: flowspan.Component, error: BaseException | None = None) -> None:
    try:
        async with service.trace_component(info, info.name, {}):
            if error is not None:
                raise error
    except (ValueError, asyncio.CancelledError):
        pass


async def test_the_end_of_a_run_decides(service, spans, run):
    """Whatever its components did."""
    await run()
    await build(service, component("A"), ValueError())
    await service.end_tracers({})

    assert status(spans) == ("ok", None)


async def test_a_failure_that_nobody_handled_is_the_runs(service, spans, run):
    """Where the end says nothing: the first, before a cancellation beside it."""
    unended = await run()
    await build(service, component("A"), asyncio.CancelledError())
    await build(service, component("B"), ValueError())
    await build(service, component("C"), asyncio.CancelledError())
    unended.end_unended(semconv.STATUS_OK)

    assert status(spans) == ("error", "ValueError")


@pytest.mark.parametrize("error", [ValueError(), asyncio.CancelledError()])
async def test_a_second_try_that_went_well(service, spans, run, error):
    unended = await run()
    await build(service, component("A"), error)
    await build(service, component("A"))
    unended.end_unended(semconv.STATUS_OK)

    assert status(spans) == ("ok", None)


@pytest.mark.parametrize("error", [ValueError(), asyncio.CancelledError()])
async def test_a_failure_that_the_flow_went_on_from(service, spans, run, error):
    """What follows it on an edge was built."""
    unended = await run()
    await build(service, component("A"), error)
    await build(service, component("B", "A"))
    unended.end_unended(semconv.STATUS_OK)

    assert status(spans) == ("ok", None)


async def test_a_failure_beside_what_goes_on(service, spans, run):
    """Another branch is no sign that anybody handled it."""
    unended = await run()
    await build(service, component("A"))
    await build(service, component("B", "A"), ValueError())
    await build(service, component("C", "A"))
    unended.end_unended(semconv.STATUS_OK)

    assert status(spans) == ("error", "ValueError")


async def test_a_failure_inside_a_component_that_handles_it(service, spans, run):
    unended = await run()
    async with service.trace_component(component("A"), "A", {}):
        await build(service, component("B"), ValueError())
    unended.end_unended(semconv.STATUS_OK)

    assert status(spans) == ("ok", None)


async def test_a_pause_cancels_what_runs_beside_it(service, spans, run):
    unended = await run()
    unended.set_paused()
    await build(service, component("A"), asyncio.CancelledError())
    unended.end_unended(semconv.STATUS_OK)

    assert status(spans) == ("paused", None)


async def test_an_error_beside_a_pause(service, spans, run):
    """Nobody can resume what failed."""
    unended = await run()
    unended.set_paused()
    await build(service, component("A"), ValueError())
    unended.end_unended(semconv.STATUS_OK)

    assert status(spans) == ("error", "ValueError")
