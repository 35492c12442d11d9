"""
The five methods of Langflow's tracing service, and `run` and `component` on top of them.

`TracingService` keeps no state of a run: run and component live in the context variables of
`context.py`. Every method is guarded at its edge; the application's own errors pass untouched.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import (
    AsyncGenerator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, overload

from opentelemetry import trace

from flowspan import _guard
from flowspan._component import Component, Edge, describe
from flowspan._guard import guard
from flowspan._payload import state
from flowspan._spans import ComponentSpan, OtherError, Run, end_orphans
from flowspan.context import (
    COMPONENT,
    RUN,
    Attachment,
    ComponentTraceContext,
    TraceContext,
    current_component,
    current_run,
    enter,
    here,
)
from flowspan.pipeline import Pipeline, current_pipeline

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", TraceContext, ComponentTraceContext)

_START_RUN: Final = guard("start a run's span", "the run is not recorded; please report this")
_END_RUN: Final = guard("end a run's span")
_START: Final = guard("start a component's span", "it is not recorded; please report this")
_END: Final = guard("end a component's span")
_LOG: Final = guard("record a log")
_OUTPUTS: Final = guard("record outputs")
_FLUSH: Final = guard("export what has ended")
_EVENT: Final = guard("record an event span")
_LANGCHAIN: Final = guard("find the LangChain handler", "its calls are not recorded")
_MAX_ITEMS: Final = 1_000  # of what a decorated generator yields


class TracingService:
    """
    Langflow's tracing service, signature for signature; works for any engine.

    ``start_tracers`` opens a run, ``trace_component`` a component in it, ``add_log`` and
    ``set_outputs`` write on the component in context, ``end_tracers`` closes the run. No method
    raises, whatever it is given and whenever it is called: misuse is counted and said once. One
    service serves any number of runs at once, from any thread.

    *pipeline*: where spans go; by default the one that `flowspan.configure` made, or one from the
    environment that opens with the first run.
    """

    name = "tracing_service"

    def __init__(self, pipeline: Pipeline | None = None) -> None:
        self._given_pipeline = pipeline

    @property
    def _pipeline(self) -> Pipeline:
        return self._given_pipeline or current_pipeline()

    async def start_tracers(
        self,
        run_id: object,
        run_name: str | None,
        user_id: str | None,
        session_id: str | None,
        project_name: str | None = None,
        flow_id: str | None = None,
        tracing_user_id: str | None = None,
    ) -> None:
        """
        Open a run in this context: what the calling task does from here on belongs to it.

        Inside an open component it is a nested run. With the *run_id* of an earlier run it goes
        on with that run: same trace, and a link to it. Never ended? The task that called this
        ends it when it is done itself.
        """
        with _START_RUN:
            run = self._pipeline.spans.start_run(
                run_id,
                run_name,
                user_id=user_id,
                session_id=session_id,
                project_name=project_name,
                flow_id=flow_id,
                tracing_user_id=tracing_user_id,
            )
            RUN.set(run)
            end_orphans()  # of which the run before may have been one

    def trace_component(
        self,
        component: object,
        trace_name: str,
        inputs: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> _Scope[TracingService]:
        """
        Open a component, a child of the run, for the length of an ``async with`` (or ``with``).

        *component*: a `flowspan.Component`, Langflow's component or anything else; see
        `TracedComponent` for what is read. *metadata* is accepted and not recorded: Langflow
        gives the defaults of the class there.
        """
        opens = partial(open_component, self._given_pipeline, component, trace_name, inputs)
        return _Scope(opens, self)

    def add_log(self, trace_name: str, log: object) -> None:
        """
        A log line on the component in context, frozen now.

        *log*: Langflow's ``Log``, a mapping with ``name``, ``message`` and ``type``, or any value.
        """
        try:
            component: Any = current_component()
            if component is None:
                _guard.report(
                    "add_log outside a component", "it is lost; call it inside trace_component"
                )
                return
            fields: Any = log if type(log) is dict else state(log)
            if "message" in fields:
                component.log(fields["message"], fields.get("name"), fields.get("type"))
            else:
                component.log(log, None, None)
        except Exception as failure:  # noqa: BLE001
            _LOG.failed(failure)

    def set_outputs(
        self,
        trace_name: str,
        outputs: Mapping[str, Any] | None,
        output_metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """
        The outputs of the component in context, frozen now; mappings of several calls are merged.

        *trace_name* must be the one that the component was opened with: outputs never land on
        another component. *output_metadata* is accepted and not recorded.
        """
        try:
            component: Any = current_component()
            if component is None:
                _guard.report(
                    "set_outputs outside a component", "they are lost; call it in trace_component"
                )
            elif trace_name is not None and trace_name not in (
                component.trace_name,
                component.component_id,
                component.name,
            ):
                _guard.report(
                    "set_outputs for another component",
                    "they are not recorded; call it in the trace_component of the same trace_name",
                )
            elif outputs is not None:
                component.outputs(outputs)
        except Exception as failure:  # noqa: BLE001
            _OUTPUTS.failed(failure)

    async def end_tracers(
        self, outputs: Mapping[str, Any] | None, error: BaseException | None = None
    ) -> None:
        """
        Close the run of this context. The first call decides; from any task that inherited it.

        *outputs* become the run's outputs. With *error* the run is `error`, or `cancelled`.
        """
        with _END_RUN:
            run = RUN.get()
            if run is None:
                _guard.report(
                    "end_tracers without a run", "call start_tracers before, in the same context"
                )
                return
            if not isinstance(run, Run) or run.ended:
                return  # twice is once
            if outputs is not None and not (type(outputs) is dict and not outputs):
                run.set_outputs(outputs)
            if error is not None and not isinstance(error, BaseException):
                _guard.report("end_tracers with an error that is none", "give it the exception")
                error = OtherError(error)
            run.end(error)

    def get_langchain_callbacks(self) -> list[Any]:
        """The handler of `flowspan.langchain`, where LangChain is in use and tracing is on."""
        with _LANGCHAIN:
            if "langchain_core" in sys.modules and not self._pipeline.config.disabled:
                # by name: bridges stand above, and nobody pays for one that is not used
                return [import_module("flowspan.langchain").HANDLER]
        return []

    def get_tracer(self, tracer_name: str) -> Any:
        """One of Langflow's vendor tracers; none here."""
        return None

    def record_event_span(
        self, *, span_id: str, name: str, outputs: Mapping[str, Any], span_type: str = "chain"
    ) -> None:
        """A component span of no length in the run of this context, for a step that is no build."""
        with _EVENT:
            component = Component(id=span_id, name=name, type=span_type)
            opened = open_component(self._given_pipeline, component, name, None)
            opened.set_outputs(outputs)
            close(opened, None)

    @property
    def project_name(self) -> str:
        """The project of the run in context, else the configured one."""
        run = current_run()
        return run.project_name if run is not None else self._pipeline.config.project_name

    @property
    def deactivated(self) -> bool:
        """Whether tracing is switched off by configuration."""
        return self._pipeline.config.disabled

    async def teardown(self) -> None:
        """Export what has ended."""
        import asyncio

        with _FLUSH:
            await asyncio.to_thread(self._pipeline.force_flush)


# ---- scopes: open, attach, detach, end


Y = TypeVar("Y")
N = TypeVar("N", Run, ComponentSpan)


class _Scope(Generic[Y]):
    """
    A run or a component, open and current for the length of a `with` or `async with`.

    A class, not a generator: faster, and safe when abandoned.
    """

    __slots__ = ("_given", "_open", "_opened")

    def __init__(self, open: Callable[[], Any], given: Y | None) -> None:
        self._open = open
        self._given = given
        self._opened: Any = None

    def __enter__(self) -> Y:
        opened = self._open()
        self._opened = opened if self._opened is None else self._both(opened)
        return opened if self._given is None else self._given

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        opened = self._opened
        self._opened = None
        try:
            close(opened if type(opened) is not list else self._own(opened), error)
        except Exception as failure:  # noqa: BLE001
            _END.failed(failure)

    async def __aenter__(self) -> Y:
        opened = self._open()
        self._opened = opened if self._opened is None else self._both(opened)
        return opened if self._given is None else self._given

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        opened = self._opened
        self._opened = None
        try:
            close(opened if type(opened) is not list else self._own(opened), error)
        except Exception as failure:  # noqa: BLE001
            _END.failed(failure)

    # One scope in several `with` at once, nested or in several tasks: each has its own.

    def _both(self, opened: Any) -> list[Any]:
        before = self._opened if type(self._opened) is list else [self._opened]
        return [*before, opened]

    def _own(self, opened: list[Any]) -> Any:
        """Which of them was opened by this `with`: that which is current here."""
        current = (COMPONENT.get(), RUN.get())
        own = next((one for one in reversed(opened) if one in current), opened[-1])
        left = [one for one in opened if one is not own]
        self._opened = left or None
        return own


def open_component(
    pipeline: Pipeline | None,
    component: object,
    trace_name: object,
    inputs: object,
    nests: bool = False,
) -> ComponentTraceContext:
    try:
        opened = (pipeline or current_pipeline()).spans.start_component(
            describe(component, trace_name), trace_name, inputs, inside_component=nests
        )
        opened.attachment = Attachment(COMPONENT, opened)
    except Exception as error:  # noqa: BLE001 - as `with _START` does, at less cost
        _START.failed(error)
        return _nothing(ComponentSpan())
    return opened


def _nothing(context: N) -> N:
    """What stands in for a run or a component that could not be opened: it records nothing."""
    context.span = trace.INVALID_SPAN
    context.ended = True
    context.outer = None
    for name in ("run_id", "name", "project_name", "component_id", "trace_name", "type"):
        if hasattr(type(context), name):
            setattr(context, name, "")
    for name in ("flow_id", "session_id", "user_id", "tracing_user_id", "run"):
        if hasattr(type(context), name):
            setattr(context, name, None)
    return context


def close(opened: Any, error: BaseException | None) -> None:
    """End and detach; what is not open any more, or never was, is left alone."""
    attachment = opened.attachment
    if attachment is None:
        return
    try:
        opened.end(error)
    finally:
        if attachment.detach():
            opened.attachment = None  # no cycle is left for the collector
        nested = RUN.get()
        outer = nested.outer if nested is not None else None
        if outer is not None and outer is opened:
            RUN.set(outer.run)  # a run nested here was never ended in this context


# ---- context managers and decorators


class Scope(_Scope[C]):
    """
    A `with`, an `async with` or a decorator: for functions, coroutines and generators.

    Each ``with`` of it, and as a decorator each call, makes a span of its own.
    """

    __slots__ = ("_make",)

    def __init__(
        self, open: Callable[[], C], make: Callable[[str, Any], Scope[C]] | None = None
    ) -> None:
        self._open: Callable[[], C] = open  # not through `super`: it is made for each component
        self._given = None
        self._opened: Any = None
        self._make: Callable[[str, Any], Scope[C]] | None = make

    def __call__(self, function: F) -> F:
        """Decorate: each call is one span, its arguments the inputs, its result the outputs."""
        if self._make is None:
            raise TypeError("expected a decorator with a name and options, not one already in use")
        return _decorated(function, self._make)


def _decorated(function: F, make: Callable[[str, Any], Scope[Any]]) -> F:
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(_decorated(function.__func__, make))
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"{function!r}: expected a function to decorate, or a method of a class")
    title = getattr(function, "__name__", type(function).__name__)
    try:
        signature: inspect.Signature | None = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None

    def opened(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Scope[Any]:
        return make(title, _arguments(signature, args, kwargs))

    wrapper: Any
    plain = inspect.isroutine(function) or isinstance(function, functools.partial)
    code: Any = function if plain else type(function).__call__
    awaited = inspect.iscoroutinefunction(code) or _is_generator_to_await(code)
    if inspect.isasyncgenfunction(code):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            steps = _Steps(opened(args, kwargs))
            items = function(*args, **kwargs)
            sent: Any = None
            thrown: BaseException | None = None
            with steps:
                while True:
                    with steps.attached():
                        try:
                            if thrown is None:
                                item = await items.asend(sent)
                            else:
                                item = await items.athrow(thrown)
                        except StopAsyncIteration:
                            return
                    steps.keep(item)
                    thrown = None
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with steps.attached():
                            await items.aclose()
                        raise
                    except BaseException as error:  # noqa: BLE001 - the generator's to handle
                        sent, thrown = None, error

    elif inspect.isgeneratorfunction(code) and not awaited:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            steps = _Steps(opened(args, kwargs))
            items = function(*args, **kwargs)
            sent: Any = None
            thrown: BaseException | None = None
            with steps:
                while True:
                    with steps.attached():
                        try:
                            item = items.send(sent) if thrown is None else items.throw(thrown)
                        except StopIteration as end:
                            return end.value
                    steps.keep(item)
                    thrown = None
                    try:
                        sent = yield item
                    except GeneratorExit:
                        with steps.attached():
                            items.close()
                        raise
                    except BaseException as error:  # noqa: BLE001 - the generator's to handle
                        sent, thrown = None, error

    elif awaited:

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with opened(args, kwargs) as current:
                result = await function(*args, **kwargs)
                current.set_outputs(result)
                return result

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            scope = opened(args, kwargs)
            with scope as current:
                result = function(*args, **kwargs)
                if inspect.iscoroutine(result):
                    return _Steps(scope).awaited(result)
                current.set_outputs(result)
                return result

    return wrapper  # type: ignore[no-any-return]


def _is_generator_to_await(code: Any) -> bool:
    flags: int = getattr(getattr(code, "__code__", None), "co_flags", 0)
    return bool(flags & inspect.CO_ITERABLE_COROUTINE)  # `types.coroutine`


def _is_function(name: object) -> bool:
    return callable(name) or isinstance(name, (classmethod, staticmethod))


class _Steps:
    """
    A generator's span: open as long as the generator, current only while its own code runs.

    So what the consumer does between two items is not filed below the generator.
    """

    def __init__(self, scope: _Scope[Any]) -> None:
        self._scope = scope
        self._items: list[Any] = []

    def __enter__(self) -> None:
        before = here()
        self._opened = self._scope.__enter__()
        self._inside = here()
        enter(before)

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        with _OUTPUTS:
            if self._items:
                texts = all(type(item) is str for item in self._items)
                self._opened.set_outputs("".join(self._items) if texts else self._items)
        with _END:
            self._opened.attachment = None  # no cycle is left for the collector
            self._opened.end(error)

    def keep(self, item: Any) -> None:
        opened = self._opened
        if len(self._items) < _MAX_ITEMS and opened.recording:
            with _OUTPUTS:
                self._items.append(item if type(item) is str else opened.frozen(item))

    def awaited(self, result: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """A coroutine that a plain function gave: the span that is current ends when it has run."""
        opened = self._opened = self._scope._opened
        self._inside = here()
        if opened.attachment is not None:
            opened.attachment.detach()
        self._scope._opened = _nothing(ComponentSpan())

        async def run() -> Any:
            try:
                with self.attached():
                    found = await result
                opened.set_outputs(found)
            except BaseException as error:
                self.__exit__(type(error), error, None)
                raise
            self.__exit__(None, None, None)
            return found

        return run()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """The generator's code runs: with what it has open itself, which is left between items."""
        before = here()
        enter(self._inside)
        try:
            yield
        finally:
            self._inside = here()
            enter(before)


def _arguments(
    signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    if signature is not None:
        try:
            found = dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:  # the call itself will say it
            found = None
        if found is not None:
            for own in ("self", "cls"):
                found.pop(own, None)
            return found
    return {"args": args, **kwargs}


@overload
def run(name: F, /) -> F: ...
@overload
def run(
    name: str | None = None,
    /,
    *,
    run_id: object = None,
    session_id: object = None,
    user_id: object = None,
    project_name: str | None = None,
    flow_id: object = None,
    inputs: object = None,
    tags: Iterable[str] = (),
    metadata: Mapping[str, object] | None = None,
) -> Scope[TraceContext]: ...
def run(name: Any = None, /, **options: Any) -> Any:
    """
    ``with flowspan.run("Support bot", session_id="s-1", inputs=question) as run:``

    Opens a run and makes it current; ``async with`` and ``@flowspan.run`` as well. An active span
    around it is its parent. An exception that leaves the block ends it as `error`, a cancellation
    as `cancelled`. Raises TypeError for an option that does not exist.

    *inputs*: any value. *tags*: texts to find runs by. *metadata*: any JSON-like mapping.
    *run_id*: any text or UUID, by default a new one; that of an earlier run resumes it.
    """
    _check_options("run", options, _RUN_OPTIONS)

    def make(title: str, inputs: Any) -> Scope[TraceContext]:
        return _run_scope(name if isinstance(name, str) else title, {**options, "inputs": inputs})

    return _decorated(name, make) if _is_function(name) else _run_scope(name, options, make)


def _run_scope(
    name: object,
    options: dict[str, Any],
    make: Callable[[str, Any], Scope[TraceContext]] | None = None,
) -> Scope[TraceContext]:
    def open_run() -> TraceContext:
        with _START_RUN:
            given = dict(options)
            run_id = given.pop("run_id", None)
            opened = current_pipeline().spans.start_run(run_id, name, owned=False, **given)
            opened.attachment = Attachment(RUN, opened)
            return opened
        return _nothing(Run())

    return Scope(open_run, make)


@overload
def component(name: F, /) -> F: ...
@overload
def component(
    name: str | None = None,
    /,
    *,
    type: str = "chain",
    inputs: object = None,
    id: str | None = None,
    edges: Sequence[Edge] = (),
) -> Scope[ComponentTraceContext]: ...
def component(name: Any = None, /, **options: Any) -> Any:
    """
    ``with flowspan.component("Prompt", type="prompt", inputs=values) as component:``

    Opens a component of the run in context and makes its span the current one; ``async with`` and
    ``@flowspan.component`` as well. Inside another component of the same run it is that one's
    child. *id*: by default the name. *type*, *edges*: see `flowspan.Component`. Raises TypeError
    for an option that does not exist.
    """
    _check_options("component", options, _COMPONENT_OPTIONS)

    def make(title: str, inputs: Any) -> Scope[ComponentTraceContext]:
        given = name if isinstance(name, str) else title
        return _component_scope(given, {**options, "inputs": inputs})

    return _decorated(name, make) if _is_function(name) else _component_scope(name, options, make)


def _component_scope(
    name: Any,
    options: dict[str, Any],
    make: Callable[[str, Any], Scope[ComponentTraceContext]] | None = None,
) -> Scope[ComponentTraceContext]:
    title = name if name is not None else "component"

    def opened() -> ComponentTraceContext:
        component_id = options.get("id")
        described = Component(
            id=title if component_id is None or component_id == "" else component_id,
            name=title,
            type=options.get("type", "chain"),
            edges=options.get("edges", ()),
        )
        return open_component(None, described, title, options.get("inputs"), True)

    return Scope(opened, make)


def _check_options(function: str, options: dict[str, Any], known: frozenset[str]) -> None:
    if not known.issuperset(options):
        option = next(option for option in options if option not in known)
        raise TypeError(f"{function}({option}=…): expected one of {', '.join(sorted(known))}")


_RUN_OPTIONS: Final = frozenset(
    ("run_id", "session_id", "user_id", "project_name", "flow_id", "inputs", "tags", "metadata")
)
_COMPONENT_OPTIONS: Final = frozenset(("type", "inputs", "id", "edges"))
