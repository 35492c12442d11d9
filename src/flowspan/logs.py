"""
Log lines that say in which run, component and span they were written; and log lines on spans.

One line each for `logging` (`correlate`), structlog (`structlog_processor`) and loguru
(`loguru_patcher`). They add the fields of `FIELDS` and change nothing else. `SpanHandler` is the
other way round, for those who ask for it: `logging` records as events on the component's span.
Leans on the contexts; imports neither structlog nor loguru, and sends no log anywhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.trace import Span

from flowspan._guard import guard
from flowspan._spans import ComponentSpan, Run, active_below
from flowspan.context import (
    COMPONENT,
    RUN,
    ComponentTraceContext,
    TraceContext,
    current_component,
    current_run,
)

FIELDS: Final = (
    "trace_id",
    "span_id",
    "trace_flags",
    "run_id",
    "run_name",
    "component_id",
    "component_name",
)
"""
What a log line gets. The first three are named, and written in hex, as OpenTelemetry wants them
in logs that are not its own.
"""

_NOWHERE: Final[Mapping[str, str]] = dict.fromkeys(FIELDS, "")
_ALL: Final = frozenset(FIELDS)
_NOT_OURS: Final = guard("find the place of a log line", "it has no ids")
_SILENT: Final = ("flowspan", "opentelemetry")  # a span's own trouble is no event on a span


def fields() -> dict[str, str]:
    """The fields of this place, without those for which there is nothing. For any other logger."""
    component, run = COMPONENT.get(), RUN.get()
    if component is not None or run is not None:
        component, run = current_component(), current_run()
        if component is not None and run is not None and component.run is not run:
            component = None  # the run is nested in it, and between two components of its own
    found: dict[str, str] = {}
    span = _span(component, run).get_span_context()
    if span.is_valid:
        found["trace_id"] = f"{span.trace_id:032x}"
        found["span_id"] = f"{span.span_id:016x}"
        found["trace_flags"] = f"{span.trace_flags:02x}"
    if run is not None:
        found["run_id"] = run.public_id if isinstance(run, Run) else run.run_id
        found["run_name"] = run.name
    if component is not None:
        found["component_id"] = component.component_id
        found["component_name"] = component.name
    return found


def _span(component: ComponentTraceContext | None, run: TraceContext | None) -> Span:
    if component is not None:
        return active_below(component)
    if run is None:
        return trace.get_current_span()
    span = active_below(run)
    around = getattr(run.span, "parent", None)  # that of a request, which is current all the time
    if around is not None and span.get_span_context().span_id == around.span_id:
        return run.span
    return span


# ---- logging


class ContextFilter(logging.Filter):
    """
    Gives each record that passes a handler all of `FIELDS`, empty where there is nothing.

    For a handler, not for a logger: a logger's filters do not see the records of those below it.
    What a record has already stays. A handler that runs in a thread of its own (behind a
    `QueueHandler`) is too late: add it to the `QueueHandler`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        known = record.__dict__
        if not known.keys() >= _ALL:
            with _NOT_OURS:
                for name, value in fields().items():
                    known.setdefault(name, value)
            for name, value in _NOWHERE.items():
                known.setdefault(name, value)
        return True


def correlate(*handlers: logging.Handler) -> None:
    """
    Add a `ContextFilter` to *handlers*, by default to each one that any logger has now. Twice is
    once.

    Raises ValueError if there is none: call it when logging is set up, or give it the handlers.
    """
    for handler in handlers:
        if not isinstance(handler, logging.Handler):
            raise TypeError(f"correlate({handler!r}): expected handlers of the module logging")
    found = handlers or tuple(_all_handlers())
    if not found:
        raise ValueError(
            "correlate(): no logger has a handler yet; expected to be called after "
            "logging.basicConfig() and the like, or to be given the handlers"
        )
    for handler in found:
        if not any(isinstance(one, ContextFilter) for one in handler.filters):
            handler.addFilter(ContextFilter())


def _all_handlers() -> dict[logging.Handler, None]:
    named = list(logging.Logger.manager.loggerDict.values())
    loggers = [logging.getLogger(), *(one for one in named if isinstance(one, logging.Logger))]
    return {handler: None for logger in loggers for handler in logger.handlers}


class SpanHandler(logging.Handler):
    """
    `logging.getLogger().addHandler(SpanHandler())`: records below a component are on its span.

    As `add_log` puts them there: an event `flowspan.log` with the logger as `log.name`, the level
    as `log.type` and, of a record with an exception, `exception.type`, `.message` and
    `.stacktrace`; redacted, bounded, and counted beyond the span's event limit. Nothing outside a
    component, where the span does not record, and of what flowspan and OpenTelemetry log.
    A formatter makes no difference.
    """

    def __init__(self, level: int | str = logging.INFO) -> None:
        super().__init__(level)

    def handle(self, record: logging.LogRecord) -> bool:
        # Without the handler's lock: an event needs none, and one that is held while another
        # lock is waited for is a deadlock in the making.
        passed: Any = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        component = current_component()
        if (
            not isinstance(component, ComponentSpan)
            or not component.recording
            or record.name.partition(".")[0] in _SILENT
            or otel_context.get_value(_SUPPRESS_INSTRUMENTATION_KEY)  # an exporter is at work
        ):
            return
        try:
            error = record.exc_info[1] if record.exc_info else None
            message, kind = record.getMessage(), record.levelname.lower()
            component.log(message, record.name, kind, error)
        except Exception:  # noqa: BLE001 - arguments that do not fit; `logging` says it its way
            self.handleError(record)


# ---- structlog and loguru


def structlog_processor(
    logger: Any, method_name: str, event_dict: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """
    ``structlog.configure(processors=[flowspan.logs.structlog_processor, …])``

    Adds those of `FIELDS` that there are; a key that is there already stays. Before the renderer.
    """
    with _NOT_OURS:
        for name, value in fields().items():
            event_dict.setdefault(name, value)
    return event_dict


def loguru_patcher(record: Any) -> None:
    """
    ``loguru.logger.configure(patcher=flowspan.logs.loguru_patcher)``

    Adds `FIELDS` to the record's ``extra``, empty where there is nothing: a format asks for them
    by ``{extra[trace_id]}``. A key that is bound already stays.
    """
    extra = record["extra"]
    with _NOT_OURS:
        for name, value in fields().items():
            extra.setdefault(name, value)
    for name, value in _NOWHERE.items():
        extra.setdefault(name, value)
