"""
Langflow's own service with a vendor tracer whose `ready` raises, alone or under ours.

Run by Langflow's Python with `alone` or `ours`. Prints what the flow hears of it.
"""

import asyncio
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from langflow.services.tracing import service as langflow_service
from lfx.services.manager import get_service_manager
from lfx.services.schema import ServiceType

from flowspan.langflow import LangflowTracingService


class Unready:
    def __init__(self, **given: Any) -> None: ...

    @property
    def ready(self) -> bool:
        raise RuntimeError("ready")


def theirs() -> Any:
    settings = SimpleNamespace(deactivate_tracing=False)
    return langflow_service.TracingService(SimpleNamespace(settings=settings))


async def heard(what: str, call: Callable[[], Any]) -> None:
    try:
        result = call()
        if asyncio.iscoroutine(result):
            await result
        print(what, "well")
    except RuntimeError as error:
        print(what, error)


async def flow(service: Any) -> None:
    component = SimpleNamespace(
        get_vertex=lambda: None, trace_type="chain", _id="A-1", display_name="A"
    )

    async def work() -> None:
        async with service.trace_component(component, "A (A-1)", {"text": "hi"}, {}):
            await heard("callbacks", service.get_langchain_callbacks)
            step = {"span_id": "s-1", "name": "Step", "outputs": {}}
            await heard("event", lambda: service.record_event_span(**step))
            service.set_outputs("A (A-1)", {"out": "done"})

    await heard("start", lambda: service.start_tracers("r-1", "Flow", None, "session-1"))
    await heard("work", work)
    await heard("end", lambda: service.end_tracers({}, None))


langflow_service._get_traceloop_tracer = lambda: Unready
get_service_manager().factories[ServiceType.TRACING_SERVICE] = SimpleNamespace(
    dependencies=[], create=theirs
)
asyncio.run(flow(LangflowTracingService() if sys.argv[1] == "ours" else theirs()))
