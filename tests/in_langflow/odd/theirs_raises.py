"""
Langflow's own service, of which each method raises, under ours: what is heard of it is printed.

Run by Langflow's Python.
"""

import asyncio
from types import SimpleNamespace
from typing import Any, NoReturn

from lfx.services.manager import get_service_manager
from lfx.services.schema import ServiceType

from flowspan.langflow import LangflowTracingService


class Theirs:
    def set_ready(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name in ("project_name", "deactivated"):
            raise RuntimeError(name)

        def method(*given: Any, **more: Any) -> NoReturn:
            raise RuntimeError(name)

        return method

    def trace_component(self, component: Any, trace_name: str, *given: Any) -> "Scope":
        if trace_name == "trace_component":
            raise RuntimeError(trace_name)
        return Scope(trace_name)


class Scope:
    def __init__(self, raises: str) -> None:
        self.raises = raises

    async def __aenter__(self) -> None:
        if self.raises == "enter":
            raise RuntimeError(self.raises)

    async def __aexit__(self, *error: Any) -> bool:
        if self.raises == "exit":
            raise RuntimeError(self.raises)
        return self.raises == "swallow"


get_service_manager().factories[ServiceType.TRACING_SERVICE] = SimpleNamespace(
    dependencies=[], create=Theirs
)
service = LangflowTracingService()


async def heard(call: Any) -> None:
    try:
        result = call()
        if asyncio.iscoroutine(result):
            await result
    except RuntimeError as error:
        print(error)


async def in_component(name: str, *calls: Any) -> None:
    async with service.trace_component(None, name, {}, {}):
        for call in calls:
            await heard(call)


async def flow() -> None:
    await heard(lambda: service.start_tracers("r-1", "Flow", None, "session-1"))
    for name in ("trace_component", "enter", "exit"):
        await heard(lambda: in_component(name))  # noqa: B023 - called at once
    await in_component(
        "calls",
        lambda: service.add_log("calls", "line"),
        lambda: service.set_outputs("calls", {"a": 1}),
        service.get_langchain_callbacks,
        lambda: service.get_tracer("langfuse"),
        lambda: service.record_event_span(span_id="s-1", name="Step", outputs={}),
        lambda: service.project_name,
        lambda: service.deactivated,
    )
    async with service.trace_component(None, "swallow", {}, {}):
        raise RuntimeError("nobody hears it")
    await heard(lambda: service.end_tracers({}, None))
    await heard(service.teardown)


asyncio.run(flow())
