"""
Takes the run and the component across threads, executors, queues and processes.

`carry` for a function that runs elsewhere, `inject` and `extract` for a message. Uses the
propagators that the application has set (`OTEL_PROPAGATORS`); opens and ends no span.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
from collections.abc import (
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from contextlib import contextmanager
from typing import Any, Final, Generic, ParamSpec, TypeVar

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

from flowspan._guard import guard
from flowspan._spans import CONSUMED
from flowspan.context import Here, current_run, enter, here, trace_id

__all__ = ["carry", "extract", "inject", "trace_id"]

P = ParamSpec("P")
R = TypeVar("R")


def inject(carrier: MutableMapping[str, str]) -> None:
    """
    Write the current span's `traceparent` (and baggage) into *carrier*: a message's headers.

    Outside a component that is the span of the run in context, even where nothing is attached.
    """
    with _INJECT:
        context = otel_context.get_current()
        run = current_run()
        if run is not None and not trace.get_current_span(context).get_span_context().is_valid:
            context = trace.set_span_in_context(run.span, context)
        propagate.inject(carrier, context)


@contextmanager
def extract(carrier: Mapping[str, str]) -> Iterator[None]:
    """
    Work on a message: runs opened inside are children of the span that *carrier* names.

    Their span's kind is CONSUMER. The run and the component around this block do not count in it.
    An empty or broken carrier changes nothing but that. Values may be bytes, as brokers give them,
    and names may come more than once, as in the headers of a web framework.
    """
    context: Context = otel_context.set_value(CONSUMED, True)
    context = trace.set_span_in_context(trace.INVALID_SPAN, context)
    with _EXTRACT:
        context = extracted(carrier.items(), context)
    with _at((None, None, context)):
        yield


@contextmanager
def _at(place: Here) -> Iterator[None]:
    before = here()
    enter(place)
    try:
        yield
    finally:
        enter(before)


def extracted(headers: Iterable[tuple[Any, Any]], context: Context | None = None) -> Context:
    """
    *context* with what *headers* carry: pairs of names and values, texts or bytes. May raise.

    Names count in any case. Of one that comes more than once the values are joined with commas, in
    order, as HTTP and W3C have it for `tracestate` and `baggage`; two `traceparent` are none.
    """
    carrier: dict[str, str] = {}
    for name, given in headers:
        key = _text(name)
        for one in given if isinstance(given, (list, tuple)) else (given,):
            value = _text(one)
            if key is not None and value is not None:
                key = key.lower()
                carrier[key] = f"{carrier[key]},{value}" if key in carrier else value
    return propagate.extract(carrier, context, _AnyCase())


class _AnyCase(Getter[dict[str, str]]):
    def get(self, carrier: dict[str, str], key: str) -> list[str] | None:
        value = carrier.get(key.lower())
        return None if value is None else [value]

    def keys(self, carrier: dict[str, str]) -> list[str]:
        return list(carrier)


def _text(given: object) -> str | None:
    if isinstance(given, bytes):
        return given.decode("latin-1")
    return given if isinstance(given, str) else None


_INJECT: Final = guard("inject a traceparent", "the message carries none; give a mutable mapping")
_EXTRACT: Final = guard("extract a traceparent", "the run has no parent; give a mapping of texts")


class _Carried(Generic[P, R]):
    """A function with the context it was made in. May run many times, at once, in any thread."""

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        self._context = contextvars.copy_context()
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        # a copy for each call: one context cannot be entered twice at once
        context = self._context.copy()
        result: Any = context.run(self._function, *args, **kwargs)
        if inspect.isgenerator(result):
            result = _steps(context, result)
        elif inspect.iscoroutine(result):
            result = _bound(context.run(here), result)
        return result  # type: ignore[no-any-return]

    def __copy__(self) -> _Carried[P, R]:
        return self

    def __deepcopy__(self, memo: object) -> _Carried[P, R]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process goes the function with a `traceparent`; it must be picklable."""
        carrier: dict[str, str] = {}
        self._context.copy().run(inject, carrier)
        return _call_extracted, (self._function, carrier)


def _steps(
    context: contextvars.Context, items: Generator[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    """*items*, with the code between two of them in *context*."""
    step: Any = items.send
    given: Any = None
    while True:
        try:
            item = context.run(step, given)
        except StopIteration as end:
            return end.value
        try:
            given = yield item
            step = items.send
        except GeneratorExit:
            context.run(items.close)
            raise
        except BaseException as error:  # noqa: BLE001 - the generator's to handle
            given, step = error, items.throw


async def _bound(place: Here, coroutine: Coroutine[Any, Any, Any]) -> Any:
    with _at(place):
        return await coroutine


class _Extracted(Generic[P, R]):
    """A function that came from another process, with the carrier it came with."""

    def __init__(self, function: Callable[P, R], carrier: dict[str, str]) -> None:
        self._function = function
        self._carrier = carrier

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        with extract(self._carrier):
            return self._function(*args, **kwargs)


def _call_extracted(function: Callable[P, R], carrier: dict[str, str]) -> _Extracted[P, R]:
    return _Extracted(function, carrier)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """
    *function*, bound to the run and the component of here and now, whoever calls it and when.

    For threads and executors: `executor.submit(carry(work), item)`. In a process pool the run
    itself stays here, and runs opened there become children of the span that is current now.
    A coroutine or a generator that it gives runs bound as well; not an asynchronous generator.
    Raises TypeError if *function* is not callable.
    """
    if not callable(function):
        raise TypeError(f"carry(<{type(function).__name__}>): expected a function")
    if inspect.iscoroutinefunction(function):
        carried: Callable[P, R] = _carry_coroutine(function)
        return carried
    return _Carried(function)


def _carry_coroutine(function: Any) -> Any:
    place = here()

    @functools.wraps(function)
    async def carried(*args: Any, **kwargs: Any) -> Any:
        return await _bound(place, function(*args, **kwargs))

    return carried
