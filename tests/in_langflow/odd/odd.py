"""Named by an `lfx.toml`: Langflow's service with vendor tracers that raise, with us and not."""

from typing import Any, NoReturn

from langflow.services.tracing import service
from langflow.services.tracing.service import TracingService as Theirs

from flowspan.langflow import LangflowTracingService as Ours

__all__ = ["Ours", "Theirs"]


class Raises:
    """Takes part in every run, and fails at everything."""

    ready = True

    def __init__(self, **given: Any) -> None:
        self.trace_id = given.get("trace_id")

    def add_trace(self, *given: Any, **more: Any) -> NoReturn:
        raise RuntimeError("add_trace")

    def end_trace(self, *given: Any, **more: Any) -> NoReturn:
        raise RuntimeError("end_trace")

    def end(self, *given: Any, **more: Any) -> NoReturn:
        raise RuntimeError("end")

    def get_langchain_callback(self) -> NoReturn:
        raise RuntimeError("get_langchain_callback")


class RaisesAtOnce:
    def __init__(self, **given: Any) -> None:
        raise RuntimeError("not even made")


service._get_traceloop_tracer = lambda: Raises
service._get_langwatch_tracer = lambda: RaisesAtOnce
