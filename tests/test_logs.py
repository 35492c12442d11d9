"""Log lines that say where they were written, and log lines on spans, when asked for."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.config
import logging.handlers
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import loguru
import pytest
import structlog
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY
from opentelemetry.sdk.trace import TracerProvider

import flowspan
from conftest import Spans
from flowspan import logs, semconv
from flowspan.config import LimitsConfig
from flowspan.propagation import carry

FORMAT = " ".join(f"%({name})s" for name in ("message", *logs.FIELDS))
NOTHING = dict.fromkeys(logs.FIELDS, "")


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def fields(self) -> list[dict[str, str]]:
        return [{name: getattr(record, name) for name in logs.FIELDS} for record in self.records]


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger of the application's, at INFO."""
    logger = logging.getLogger("shop.answers")
    logger.setLevel(logging.INFO)
    yield logger
    logger.handlers = []
    logger.filters = []
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def kept(log: logging.Logger) -> Kept:
    """What a handler with our filter gets."""
    kept = Kept()
    log.addHandler(kept)
    logs.correlate(kept)
    return kept


def of(span: Any, **more: str) -> dict[str, str]:
    context = span.get_span_context()
    ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    return {**NOTHING, **ids, "trace_flags": f"{context.trace_flags:02x}", **more}


RUN = {"run_id": "r-1", "run_name": "Support bot"}
PROMPT = {"component_id": "Prompt-1", "component_name": "Prompt"}


def support_bot() -> Any:
    return flowspan.run("Support bot", run_id="r-1")


def prompt() -> Any:
    return flowspan.component("Prompt", id="Prompt-1")


# ---- logging


def test_a_record_says_where_it_was_written(spans: Spans, log: logging.Logger, kept: Kept):
    """Ids as OpenTelemetry writes them in logs that are not its own; nothing outside."""
    log.info("before")
    with support_bot() as run:
        log.info("in the run")
        with prompt() as component:
            log.info("in the component")
    log.info("after")

    assert kept.fields == [
        NOTHING,
        of(run.span, **RUN),
        of(component.span, **RUN, **PROMPT),
        NOTHING,
    ]


async def test_a_run_by_the_five_methods_is_never_the_current_span(
    service: flowspan.TracingService, log: logging.Logger, kept: Kept
):
    """Between two components it is the run's all the same, below a request as well."""
    with TracerProvider().get_tracer("web").start_as_current_span("POST /ask"):
        await service.start_tracers("r-1", "Support bot", None, None)
        run = flowspan.current_run()
        assert run is not None
        log.info("between two components")
        await service.end_tracers({})

    assert kept.fields == [of(run.span, **RUN)]


def test_the_span_is_the_innermost_one(spans: Spans, log: logging.Logger, kept: Kept):
    """That of an instrumented client inside a component."""
    tracer = trace.get_tracer("client", tracer_provider=flowspan.pipeline._pipeline._given)
    with support_bot(), prompt(), tracer.start_as_current_span("GET /parcel") as call:
        log.info("asking")

    assert kept.fields == [of(call, **RUN, **PROMPT)]


def test_between_the_components_of_a_nested_run_there_is_none(
    spans: Spans, log: logging.Logger, kept: Kept
):
    """The component around it belongs to another run."""
    with support_bot(), prompt(), flowspan.run("Sub", run_id="r-2") as sub:
        log.info("in the sub-flow")

    assert kept.fields == [of(sub.span, run_id="r-2", run_name="Sub")]


async def test_tasks_that_run_at_once_do_not_mix(spans: Spans, log: logging.Logger, kept: Kept):
    turn = asyncio.Barrier(2) if hasattr(asyncio, "Barrier") else None

    async def flow(name: str) -> None:
        async with flowspan.run(name, run_id=name), flowspan.component(f"in {name}"):
            if turn is not None:
                await turn.wait()
            log.info(name)

    await asyncio.gather(flow("a"), flow("b"))

    for record in kept.records:
        name = record.getMessage()
        assert (record.run_id, record.component_name) == (name, f"in {name}")


def test_a_thread_with_a_carried_context(spans: Spans, log: logging.Logger, kept: Kept):
    """A thread starts without one; `carry` gives it one."""
    with support_bot(), prompt() as component:
        for work in (log.info, carry(log.info)):
            thread = threading.Thread(target=work, args=("from a thread",))
            thread.start()
            thread.join()

    assert kept.fields == [NOTHING, of(component.span, **RUN, **PROMPT)]


def test_not_sampled_has_ids_and_says_so(
    configured: Callable[..., Spans], log: logging.Logger, kept: Kept
):
    configured(sampler="always_off")
    with support_bot():
        log.info("line")

    (fields,) = kept.fields
    assert not int(fields["trace_flags"], 16) & trace.TraceFlags.SAMPLED
    assert fields["run_id"] == "r-1"


def test_what_a_record_has_already_stays(spans: Spans, log: logging.Logger, kept: Kept):
    """`extra` of the application's, which a record factory would make raise KeyError."""
    with support_bot():
        log.info("line", extra={"run_id": "mine", "trace_id": "mine"})

    (fields,) = kept.fields
    assert (fields["run_id"], fields["trace_id"]) == ("mine", "mine")
    assert fields["run_name"] == "Support bot"


def test_a_queue_in_between(spans: Spans, log: logging.Logger):
    """The filter is on the handler that fills the queue; whoever empties it finds the fields."""
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    log.addHandler(logging.handlers.QueueHandler(waiting))
    kept = Kept()
    logs.correlate(log.handlers[0], kept)
    listener = logging.handlers.QueueListener(waiting, kept)
    listener.start()
    with support_bot() as run:
        log.info("line")
    listener.stop()

    assert kept.fields == [of(run.span, **RUN)]


def test_by_a_configuration_in_a_file(spans: Spans):
    """`dictConfig`, as most applications have it."""
    stream = io.StringIO()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"flowspan": {"()": "flowspan.logs.ContextFilter"}},
            "formatters": {"plain": {"format": FORMAT}},
            "handlers": {
                "out": {
                    "class": "logging.StreamHandler",
                    "stream": stream,
                    "formatter": "plain",
                    "filters": ["flowspan"],
                }
            },
            "loggers": {"shop.answers": {"handlers": ["out"], "level": "INFO"}},
        }
    )
    log = logging.getLogger("shop.answers")
    with support_bot() as run:
        log.info("line")
    log.info("line")
    log.handlers = []

    context = run.span.get_span_context()
    ids = f"{context.trace_id:032x} {context.span_id:016x} {context.trace_flags:02x}"
    assert stream.getvalue() == f"line {ids} r-1 Support bot  \nline       \n"


def test_every_handler_there_is(spans: Spans, log: logging.Logger):
    """By default; each once, whoever calls it how often."""
    here, below = Kept(), Kept()
    log.addHandler(below)
    logging.getLogger().addHandler(here)
    try:
        logs.correlate()
        logs.correlate()
        with support_bot():
            log.info("line")
    finally:
        logging.getLogger().removeHandler(here)
        for handler in logging.getLogger().handlers:  # pytest's own
            for one in [f for f in handler.filters if isinstance(f, logs.ContextFilter)]:
                handler.removeFilter(one)

    assert here.fields == below.fields != [NOTHING]
    assert len(below.filters) == 1


def test_too_early_is_said_at_once(monkeypatch: pytest.MonkeyPatch):
    """Before there is a handler each record would fail to be formatted, much later."""
    monkeypatch.setattr(logs, "_all_handlers", dict)

    with pytest.raises(ValueError, match="no logger has a handler yet"):
        logs.correlate()
    with pytest.raises(TypeError, match="expected handlers"):
        logs.correlate(logging.getLogger())  # type: ignore[arg-type]


# ---- structlog and loguru


def test_structlog(spans: Spans):
    """What there is, and nothing where there is nothing."""
    stream = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[logs.structlog_processor, structlog.processors.JSONRenderer()],
    )
    log.info("before")
    with support_bot(), prompt() as component:
        log.info("in the component", run_id="mine")

    before, inside = map(json.loads, stream.getvalue().splitlines())
    assert before == {"event": "before"}
    expected = of(component.span, **RUN, **PROMPT) | {"run_id": "mine"}
    assert inside == {"event": "in the component", **expected}


def test_loguru(spans: Spans):
    """A format asks for each field everywhere."""
    stream = io.StringIO()
    log = loguru.logger
    log.remove()
    log.configure(patcher=logs.loguru_patcher)
    fields = " ".join(f"{{extra[{name}]}}" for name in logs.FIELDS)
    log.add(stream, format="{message}|" + fields, catch=False)
    try:
        log.info("before")
        with support_bot(), prompt() as component:
            log.bind(run_id="mine").info("inside")
    finally:
        log.remove()
        log.configure(patcher=lambda record: None)

    before, inside = stream.getvalue().splitlines()
    expected = of(component.span, **RUN, **PROMPT) | {"run_id": "mine"}
    assert before == "before|" + " " * (len(logs.FIELDS) - 1)
    assert inside == "inside|" + " ".join(expected[name] for name in logs.FIELDS)


# ---- records as events


@pytest.fixture
def on_spans(log: logging.Logger) -> logging.Handler:
    handler = logs.SpanHandler()
    log.addHandler(handler)
    return handler


def events(spans: Spans, name: str = "Prompt") -> list[dict[str, Any]]:
    return [
        dict(event.attributes) for event in spans.named(name).events if event.name == semconv.LOG
    ]


def test_a_record_below_a_component_is_an_event_on_its_span(
    spans: Spans, log: logging.Logger, on_spans: logging.Handler
):
    """As `add_log` writes it; outside a component there is none to write on."""
    with support_bot():
        log.info("in the run")
        with prompt():
            log.info("template %s loaded", "a")
            log.debug("not at INFO")

    assert events(spans) == [
        {
            semconv.LOG_NAME: "shop.answers",
            semconv.LOG_TYPE: "info",
            semconv.LOG_MESSAGE: "template a loaded",
        }
    ]
    assert spans.named("Support bot").events == ()


def test_only_when_asked_for(spans: Spans, log: logging.Logger, kept: Kept):
    with support_bot(), prompt():
        log.warning("line")

    assert events(spans) == []


def test_a_record_of_an_exception_tells_of_it(
    spans: Spans, log: logging.Logger, on_spans: logging.Handler
):
    """The component went on, so it is no error of its own."""
    with support_bot(), prompt():
        try:
            raise ValueError("password=hunter2")
        except ValueError:
            log.exception("no answer, token=%s", "sk-proj-abcdefghijklmnopqrstuvwx0123456789")

    (event,) = events(spans)
    assert event[semconv.LOG_TYPE] == "error"
    assert event[semconv.LOG_MESSAGE] == "no answer, token=[REDACTED]"
    assert event[semconv.EXCEPTION_TYPE] == "ValueError"
    assert event[semconv.EXCEPTION_MESSAGE] == "password=[REDACTED]"
    assert "test_logs.py" in event[semconv.EXCEPTION_STACKTRACE]
    assert "hunter2" not in event[semconv.EXCEPTION_STACKTRACE]
    assert spans.named("Prompt").status.status_code is trace.StatusCode.UNSET


def test_content_that_is_not_captured_is_in_no_event(
    configured: Callable[..., Spans], log: logging.Logger, on_spans: logging.Handler
):
    spans = configured(capture_content=False)
    with support_bot(), prompt():
        log.warning("a customer's name")
        log.warning("another", exc_info=ValueError("a customer's name"))

    assert events(spans) == [
        {semconv.LOG_NAME: "shop.answers", semconv.LOG_TYPE: "warning"},
        {
            semconv.LOG_NAME: "shop.answers",
            semconv.LOG_TYPE: "warning",
            semconv.EXCEPTION_TYPE: "ValueError",
        },
    ]


def test_no_more_than_the_span_has_room_for(
    configured: Callable[..., Spans], log: logging.Logger, on_spans: logging.Handler
):
    """They share the limit with `add_log`, and are counted with it."""
    spans = configured(limits=LimitsConfig(max_events=4))
    with support_bot(), prompt() as component:
        component.add_log("first")
        for number in range(5):
            log.info("line %s", number)

    assert [event[semconv.LOG_MESSAGE] for event in events(spans)] == ["first", "line 0"]
    assert spans.named("Prompt").attributes[semconv.LOGS_DROPPED] == 4


def test_our_own_lines_and_those_of_an_exporter_are_no_events(spans: Spans):
    """Else one would cause the next."""
    handler = logs.SpanHandler(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with support_bot(), prompt():
            logging.getLogger("flowspan").warning("a failure of ours")
            logging.getLogger("opentelemetry.sdk.trace").warning("a failure of the SDK's")
            token = otel_context.attach(otel_context.set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))
            logging.getLogger("urllib3").warning("a connection of an exporter's")
            otel_context.detach(token)
            logging.getLogger("urllib3").warning("a connection of the component's")
    finally:
        root.removeHandler(handler)

    assert [event[semconv.LOG_MESSAGE] for event in events(spans)] == [
        "a connection of the component's"
    ]


def test_arguments_that_do_not_fit_are_reported_as_logging_does(
    spans: Spans, log: logging.Logger, on_spans: logging.Handler, monkeypatch: pytest.MonkeyPatch
):
    """The application goes on."""
    wrong: list[logging.LogRecord] = []
    monkeypatch.setattr(on_spans, "handleError", wrong.append)
    log.propagate = False
    with support_bot(), prompt():
        log.info("%d lines", "many")
    log.propagate = True

    assert [record.msg for record in wrong] == ["%d lines"]
    assert events(spans) == []


def test_filters_of_the_handler_count(spans: Spans, log: logging.Logger, on_spans: logging.Handler):
    on_spans.addFilter(lambda record: "secret" not in record.getMessage())
    with support_bot(), prompt():
        log.info("a secret")
        log.info("a line")

    assert [event[semconv.LOG_MESSAGE] for event in events(spans)] == ["a line"]


def test_a_thread_writes_on_the_span_it_was_given(
    spans: Spans, log: logging.Logger, on_spans: logging.Handler
):
    with support_bot(), prompt():
        thread = threading.Thread(target=carry(log.info), args=("from a thread",))
        thread.start()
        thread.join()

    assert [event[semconv.LOG_MESSAGE] for event in events(spans)] == ["from a thread"]
