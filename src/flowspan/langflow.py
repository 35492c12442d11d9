"""
The tracing service that Langflow and lfx find by themselves: theirs goes on, ours beside it.

The entry point `tracing_service` of the group `lfx.services` names `LangflowTracingService`. It
creates the service that would have been there without us and hands every call on to it, so the
trace view of the user interface and every vendor tracer work as before. What ours does is guarded;
what theirs raises passes untouched. Leans on `service`; of lfx only the service manager is
imported, when the service is created.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib import import_module
from operator import is_
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from flowspan import semconv
from flowspan._component import read
from flowspan._guard import guard
from flowspan._langflow_request import in_its_first_trace, register, within_request
from flowspan._langflow_warnings import show_warnings
from flowspan._spans import ComponentSpan, Run
from flowspan.context import RUN, current_component
from flowspan.service import TracingService, close, open_component

if TYPE_CHECKING:
    SettingsService = Any

try:
    # Not a dependency: whoever has Langflow or lfx has it, in whatever version.
    _manager: Any = import_module("lfx.services.manager")
    _schema: Any = import_module("lfx.services.schema")
except ImportError as missing:
    if missing.name == "lfx":
        advice = (
            "flowspan.langflow works inside Langflow or lfx, and neither is installed here: "
            "pip install langflow (or lfx) into the same environment"
        )
    else:
        advice = f"flowspan knows lfx 1.13; this one has no {missing.name}, so it traces no flow"
    raise ImportError(advice, name=missing.name) from missing

__all__ = ["LangflowTracingService", "register"]

_START_RUN: Final = guard("start a run's span", "the run is not recorded; please report this")
_PAUSE: Final = guard("read whether a component asks a person")
_END_RUN: Final = guard("end a run's span")
_END: Final = guard("end a component's span")
_MANAGER: Final = guard(
    "find Langflow's own tracing service",
    "only flowspan traces; it knows lfx 1.13, please report your version",
)
_MAX_CAUSES: Final = 10
_SUBGRAPH: Final = re.compile("(?:^|_)subgraph - ")  # what Langflow calls the body of a loop


class LangflowTracingService(TracingService):
    """
    `flowspan.TracingService` around the one that Langflow would have used. Thread-safe.

    Takes part if `OTEL_EXPORTER_OTLP_ENDPOINT` (or another exporter) is set, or if a tracer
    provider is; its spans go through a provider of our own, because lfx's drops all but its own.
    """

    name = "tracing_service"

    def __init__(self, settings_service: SettingsService | None = None) -> None:
        super().__init__()
        self.settings_service = settings_service
        self.ready = False
        show_warnings()
        self._theirs: Any = _service_without_us()
        self.set_ready()

    def __getattr__(self, name: str) -> Any:
        # Only for what is not ours: whatever else Langflow's service has or will have.
        if name.startswith("__") or name == "_theirs":
            raise AttributeError(name)
        return getattr(self._theirs, name)

    def set_ready(self) -> None:
        """Called by some versions of the manager as well."""
        self.ready = True

    # ---- the five methods

    async def start_tracers(
        self,
        run_id: object,
        run_name: str | None,
        user_id: str | None,
        session_id: str | None,
        project_name: str | None = None,
        flow_id: str | None = None,
        tracing_user_id: str | None = None,
        **more: Any,
    ) -> None:
        with _START_RUN:
            name, iteration = _name_and_iteration(run_name)
            with within_request(), in_its_first_trace(run_id):
                run = self._pipeline.spans.start_run(
                    run_id,
                    name,
                    iteration=iteration,
                    user_id=user_id,
                    session_id=session_id,
                    project_name=project_name,
                    flow_id=flow_id,
                    tracing_user_id=tracing_user_id,
                )
            run.over_with_task = self._theirs is None  # lfx ends no run that a person was asked in
            RUN.set(run)
        if self._theirs is not None:
            optional = {
                "project_name": project_name,
                "flow_id": flow_id,
                "tracing_user_id": tracing_user_id,
            }
            # Only what was given: theirs may be of a version that does not know all of it.
            more |= {name: value for name, value in optional.items() if value is not None}
            await self._theirs.start_tracers(
                run_id=run_id, run_name=run_name, user_id=user_id, session_id=session_id, **more
            )

    def trace_component(  # type: ignore[override]
        self,
        component: object,
        trace_name: str,
        inputs: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> _Both:
        theirs = None
        if self._theirs is not None:
            theirs = self._theirs.trace_component(component, trace_name, inputs, metadata, **more)
        return _Both(self, component, trace_name, inputs, theirs)

    def add_log(self, trace_name: str, log: object) -> None:
        super().add_log(trace_name, log)
        if self._theirs is not None:
            self._theirs.add_log(trace_name, log)

    def set_outputs(
        self,
        trace_name: str,
        outputs: Mapping[str, Any] | None,
        output_metadata: Mapping[str, Any] | None = None,
    ) -> None:
        if not _given_before(outputs):
            super().set_outputs(trace_name, outputs)
        if self._theirs is not None:
            self._theirs.set_outputs(trace_name, outputs, output_metadata)

    async def end_tracers(
        self, outputs: Mapping[str, Any] | None, error: BaseException | None = None, **more: Any
    ) -> None:
        """Close the run. *outputs* is what Langflow notes of the run, not what the flow gave."""
        with _END_RUN:
            run = RUN.get()
            if isinstance(run, Run) and not run.ended:
                if error is None:
                    # The playground ends a failed run first like this; its components know better.
                    run.end_unended(semconv.STATUS_OK)
                elif _is_pause(error):
                    run.set_paused()
                    run.end()
                else:
                    run.end(_unwrapped(error))
        if self._theirs is not None:
            await self._theirs.end_tracers(outputs, error, **more)

    # ---- what else is called

    def get_langchain_callbacks(self) -> list[Any]:
        ours = super().get_langchain_callbacks()
        if self._theirs is None:
            return ours
        return [*ours, *self._theirs.get_langchain_callbacks()]

    def get_tracer(self, tracer_name: str) -> Any:
        return None if self._theirs is None else self._theirs.get_tracer(tracer_name)

    def record_event_span(
        self,
        *,
        span_id: str,
        name: str,
        outputs: Mapping[str, Any],
        span_type: str = "chain",
        **more: Any,
    ) -> None:
        super().record_event_span(span_id=span_id, name=name, outputs=outputs, span_type=span_type)
        if self._theirs is not None:
            self._theirs.record_event_span(
                span_id=span_id, name=name, outputs=outputs, span_type=span_type, **more
            )

    @property
    def project_name(self) -> Any:
        return super().project_name if self._theirs is None else self._theirs.project_name

    @property
    def deactivated(self) -> bool:
        if self._theirs is None:
            return super().deactivated
        return bool(self._theirs.deactivated)

    async def teardown(self) -> None:
        await super().teardown()
        if self._theirs is not None:
            await self._theirs.teardown()


class _Both:
    """A component of ours around theirs; what theirs raises or swallows stays as it is."""

    __slots__ = ("_component", "_given", "_opened", "_service", "_theirs")

    def __init__(
        self,
        service: LangflowTracingService,
        component: object,
        trace_name: str,
        inputs: Mapping[str, Any] | None,
        theirs: Any,
    ) -> None:
        self._service = service
        self._component = component
        self._given = trace_name, inputs
        self._theirs = theirs
        self._opened: Any = None

    async def __aenter__(self) -> LangflowTracingService:
        self._opened = open_component(self._service._pipeline, self._component, *self._given)
        if isinstance(self._opened, ComponentSpan):
            self._opened.calls = read(self._component, "flow_name_selected")
        if self._theirs is not None:
            try:
                await self._theirs.__aenter__()
            except BaseException as error:
                self._close(error)
                raise
        return self._service

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Any:
        try:
            if self._theirs is not None:
                return await self._theirs.__aexit__(kind, error, traceback)
        finally:
            self._close(error)
        return None

    def _close(self, error: BaseException | None) -> None:
        opened, component = self._opened, self._component
        if isinstance(opened, ComponentSpan) and not opened.ended:
            _add_usage(opened, component)
            with _PAUSE:
                if _is_pause(error) if error is not None else _asks_a_person(opened, component):
                    error = None
                    if isinstance(opened.run, Run):
                        opened.run.set_paused()
                    opened.end(status=semconv.STATUS_PAUSED)
        with _END:
            close(opened, error)


def _given_before(outputs: object) -> bool:
    """
    Whether the component has them already: lfx gives the same mapping twice.

    The second time is the next thing that it does, so nothing has changed what is in the values.
    """
    component = current_component()
    if not isinstance(component, ComponentSpan) or component.ended or type(outputs) is not dict:
        return False
    before, component.given = component.given, (outputs, *outputs.values())
    return len(before) == len(component.given) and all(map(is_, before, component.given))


def _add_usage(opened: ComponentSpan, component: object) -> None:
    """
    The tokens that Langflow counted, unless the spans of the model's calls carry them.

    A Chat Output only repeats those of the model before it.
    """
    if opened.usage_below or type(component).__name__ == "ChatOutput":
        return
    usage = read(component, "_token_usage")
    if usage is None:
        return
    model = read(component, "model_name")
    opened.set_usage(
        input_tokens=read(usage, "input_tokens"),
        output_tokens=read(usage, "output_tokens"),
        model=model if isinstance(model, str) else None,
    )


def _is_pause(error: BaseException) -> bool:
    return any(kind.__name__ == "GraphPausedException" for kind in type(error).__mro__)


def _asks_a_person(opened: ComponentSpan, component: object) -> bool:
    """
    Whether *component* has asked for a pause, and will get it.

    Langflow raises the pause where the next component would begin, and ends the run without it.
    """
    graph = read(read(component, "_vertex"), "graph")
    if not (read(graph, "pause_requested") and read(graph, "checkpointing_enabled")):
        return False
    request = str(graph.pause_info["data"].get("request_id"))
    return request.startswith(f"{opened.component_id}:")  # not that of another, beside this one


def _unwrapped(error: BaseException) -> BaseException:
    """What a component raised, out of the `ComponentBuildError` around it."""
    for _ in range(_MAX_CAUSES):
        if type(error).__name__ != "ComponentBuildError" or error.__cause__ is None:
            break
        error = error.__cause__
    return error


def _name_and_iteration(given: str | None) -> tuple[str | None, int | None]:
    """A run's name as people know it; a turn of a loop has its number instead of one."""
    around = current_component()
    if not isinstance(around, ComponentSpan):
        return _run_name(given), None
    if given is not None and _SUBGRAPH.search(given):
        around.iterations += 1
        return f"iteration {around.iterations}", around.iterations
    if _is_nameless(given):  # a sub-flow: its name is known to the component at best
        return around.calls if type(around.calls) is str and around.calls else around.name, None
    return given, None


def _is_nameless(given: str | None) -> bool:
    return given is None or given.startswith("None - ")


def _run_name(given: str | None) -> str | None:
    """`lfx run` knows no name of its flow: then that of its file."""
    if not _is_nameless(given):
        return given
    arguments = sys.argv[1:]
    if "run" not in arguments and "serve" not in arguments:
        return given
    paths = [PurePath(argument) for argument in arguments]
    files = [path for path in paths if path.suffix in (".py", ".json")]
    return files[0].stem if len(files) == 1 else given  # one of several: nothing says which


def _service_without_us() -> Any:
    """The tracing service that the manager would have created; plain lfx has none."""
    with _MANAGER:
        manager = _manager.get_service_manager()
        factory: Any = manager.factories.get(_schema.ServiceType.TRACING_SERVICE)
        if factory is None:
            return None
        services = {one.value: manager.get(one) for one in factory.dependencies}
        theirs = factory.create(**services)
        set_ready = getattr(theirs, "set_ready", None)
        if callable(set_ready):
            set_ready()
        return theirs
    return None
