"""A light span does what the SDK's span does: the same calls are made on both and compared."""

from __future__ import annotations

import copy
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ReadableSpan,
    Span,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    Tracer,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceState,
    set_span_in_context,
)

from flowspan import Config, _guard, pipeline
from flowspan._light_span import LightSpan
from flowspan._light_tracer import LightTracer, LightTracerProvider
from flowspan.delivery import DurableSpanProcessor
from flowspan.delivery._encoder import Encoder
from test_encoder import Numbered, attributes, contexts, parsed, stock, texts, values

# --- both


class Watching(SpanProcessor):
    """What a processor sees of a span, when it starts and when it ends."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        assert isinstance(span, Span)
        span.set_attribute("from a processor", True)
        self.started.append((told(span), parent_context))

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


class Deciding(Sampler):
    """Decides as told, and adds an attribute and a state."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Any = None,
    ) -> SamplingResult:
        more = {**(attributes or {}), "links": len(links)}
        return SamplingResult(self._decision, more, TraceState([("sampled", "yes")]))

    def get_description(self) -> str:
        return "as told"


RESOURCE = Resource({"service.name": "test"})


def both(
    sampler: Sampler = ALWAYS_ON, limits: dict[str, int] | None = None
) -> list[tuple[TracerProvider, Watching]]:
    """A provider of the SDK's and a light one, all else being the same."""
    found: list[tuple[TracerProvider, Watching]] = []
    for make in (TracerProvider, LightTracerProvider):
        given: dict[str, Any] = {"shutdown_on_exit": False} if make is TracerProvider else {}
        provider = make(
            sampler=sampler,
            resource=RESOURCE,
            id_generator=Numbered(),
            span_limits=SpanLimits(**(limits or {})),
            **given,
        )
        watching = Watching()
        provider.add_span_processor(watching)
        found.append((provider, watching))
    return found


def told(span: Any) -> dict[str, Any]:
    """All that the SDK's public names say of a span."""
    return {
        "name": span.name,
        "context": tuple(span.context),
        "same context": span.get_span_context() is span.context,
        "parent": span.parent,
        "kind": span.kind,
        "start": span.start_time,
        "end": span.end_time,
        "status": (span.status.status_code, span.status.description),
        "attributes": list(span.attributes.items()),
        "events": [
            (e.name, e.timestamp, list(e.attributes.items()), e.dropped_attributes)
            for e in span.events
        ],
        "links": [
            (tuple(link.context), list(link.attributes.items()), link.dropped_attributes)
            for link in span.links
        ],
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "resource": span.resource,
        "scope": span.instrumentation_scope,
        "json": _json(span),
    }


def _json(span: Any) -> Any:
    try:
        return span.to_json()
    except TypeError as error:  # bytes
        return str(error)


@contextmanager
def heard() -> Iterator[list[str]]:
    """What is logged."""
    said: list[str] = []

    class Hearing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(f"{record.name}: {record.getMessage()}")

    handler = Hearing()
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


# --- what is done to a span


class Text(str):
    __slots__ = ()


odd_values = values | st.sampled_from(
    [Text("text"), object, {1: "a", "": "b"}, [1, "a", None], {"a": {"b": [Text("c")]}}, 2**70]
)
odd_keys = st.sampled_from(["a", "b", "c", "input.value", "", None, 7, Text("a")])
odd_attributes = st.none() | attributes | st.dictionaries(odd_keys, odd_values, max_size=4)
times = st.integers(1, 2**63)
any_contexts = contexts | st.sampled_from(
    [
        trace.INVALID_SPAN_CONTEXT,
        SpanContext(0, 0, is_remote=True, trace_state=TraceState([("a", "b")])),
    ]
)
errors = st.sampled_from([ValueError("no"), KeyError(), RuntimeError("é"), KeyboardInterrupt()])

steps = st.one_of(
    st.tuples(st.just("set_attribute"), odd_keys, odd_values),
    st.tuples(
        st.just("set_attributes"), attributes | st.dictionaries(odd_keys, odd_values, max_size=4)
    ),
    st.tuples(st.just("add_event"), texts, odd_attributes, times),
    st.tuples(st.just("add_link"), any_contexts, odd_attributes),
    st.tuples(
        st.just("set_status"),
        st.sampled_from([*StatusCode, Status(StatusCode.ERROR, "bad"), Status(StatusCode.OK), 7]),
        st.none() | texts,
    ),
    st.tuples(st.just("update_name"), texts),
    st.tuples(st.just("record_exception"), errors, odd_attributes, times, st.booleans()),
    st.tuples(st.just("start"), times),
    st.tuples(st.just("is_recording")),
    st.tuples(st.just("end"), times),
)
some_limits = st.sampled_from(
    [
        {},
        {"max_attributes": 2, "max_events": 1, "max_links": 1},
        {"max_attributes": 0, "max_events": 0, "max_links": 0},
        {"max_attribute_length": 3},
        {"max_span_attribute_length": 2, "max_span_attributes": 3},
        dict.fromkeys(("max_attributes", "max_events", "max_links"), SpanLimits.UNSET),
    ]
)
samplers = st.sampled_from(
    [
        ALWAYS_ON,
        ALWAYS_OFF,
        DEFAULT_ON,
        ParentBased(ALWAYS_OFF),
        TraceIdRatioBased(0.5),
        *map(Deciding, Decision),
    ]
)
beginnings = st.fixed_dictionaries(
    {
        "name": texts,
        "kind": st.sampled_from(list(SpanKind)),
        "attributes": odd_attributes,
        "start_time": times,
        "record_exception": st.booleans(),
        "set_status_on_exception": st.booleans(),
    }
)


def started(
    provider: TracerProvider, beginning: dict[str, Any], context: Context | None, links: list[Any]
) -> trace.Span:
    tracer = provider.get_tracer("scope", "1.0", "https://schema/1", {"of": "scope"})
    return tracer.start_span(context=context, links=[Link(*link) for link in links], **beginning)


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whatever the SDK's raises
        return type(error)


@settings(max_examples=150, deadline=None)
@given(
    samplers,
    some_limits,
    beginnings,
    st.none() | any_contexts,
    st.lists(st.tuples(any_contexts, odd_attributes), max_size=3),
    st.lists(steps, max_size=8),
)
def test_whatever_is_done_to_it_it_is_as_the_sdks(sampler, limits, beginning, parent, links, calls):
    """What it answers, logs and raises; what processors, exporters and the encoders see of it."""
    seen = []
    context = None if parent is None else set_span_in_context(NonRecordingSpan(parent), Context())
    for provider, watching in both(sampler, limits):
        with heard() as said:
            outcomes: list[object] = []
            span = started(provider, beginning, context, links)
            for name, *given_to in calls:
                outcomes.append(outcome(lambda: getattr(span, name)(*given_to)))  # noqa: B023
            span.end(7)
        last = watching.ended
        bodies = [batch.body for batch in Encoder(on_failure=_raise).encode(last)]
        seen.append(
            {
                "context": tuple(span.get_span_context()),
                "recording": span.is_recording(),
                "outcomes": outcomes,
                "said": said,
                "started": watching.started,
                "ended": [told(each) for each in last],
                "encoded": [parsed(body) for body in bodies],
            }
        )
        if not _is_beyond_the_stock_encoder(last):
            assert bodies == [] or parsed(b"".join(bodies)) == stock(last)

    sdks, light = seen
    for part, expected in sdks.items():
        assert light[part] == expected, part


def _raise(error: Exception) -> None:
    raise error


def _is_beyond_the_stock_encoder(spans: list[ReadableSpan]) -> bool:
    return "1180591620717411303424" in repr([told(span) for span in spans])


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), None], ids=repr)
@pytest.mark.parametrize("records", [True, False])
@pytest.mark.parametrize("sets_status", [True, False])
def test_in_a_with_it_records_what_is_raised(error, records, sets_status):
    """Entered itself, and as the current span."""
    seen = []
    for provider, watching in both():
        tracer = provider.get_tracer("scope")
        how = {"record_exception": records, "set_status_on_exception": sets_status}
        for enter in (tracer.start_span, tracer.start_as_current_span):
            kind = type(error)
            try:
                with enter("it", **how) as span:
                    if enter == tracer.start_as_current_span:
                        assert trace.get_current_span() is span
                    if error is not None:
                        raise kind(*error.args)
            except kind:
                pass
        for span in watching.ended:
            events = [(event.name, dict(event.attributes or {})) for event in span.events]
            seen.append((span.status.status_code, span.status.description, events))

    assert seen[:2] == seen[2:]


def test_a_with_that_ends_an_ended_span_says_so(caplog):
    """As the SDK's."""
    for provider, _ in both():
        with provider.get_tracer("scope").start_span("it") as span:
            span.end()

    assert caplog.messages == ["Calling end() on an ended span."] * 2


def test_what_was_given_can_change_afterwards():
    """Attributes are as they were when they were given."""
    seen = []
    for provider, watching in both():
        given_attributes: dict[str, Any] = {"a": 1, "list": [1, 2]}
        link = Link(SpanContext(1, 2, is_remote=False), {"a": 1})
        span = provider.get_tracer("s").start_span("it", attributes=given_attributes, links=[link])
        span.add_event("e", given_attributes, 5)
        span.set_attributes({"more": given_attributes["list"]})
        given_attributes["list"].append(3)
        given_attributes["a"] = 2
        span.end()
        (ended,) = watching.ended
        seen.append(
            (dict(ended.attributes or {}), [dict(e.attributes or {}) for e in ended.events])
        )

    assert seen[0] == seen[1]
    assert seen[1][0]["list"] == (1, 2)


def test_nobody_changes_it_through_what_it_shows():
    """Attributes of the span, its events and links are read only."""
    (_, _), (provider, watching) = both()
    span: Any = provider.get_tracer("s").start_span("it", attributes={"a": 1})
    span.add_event("e", {"a": 1})
    span.add_link(SpanContext(1, 2, is_remote=False), {"a": 1})
    shown = span.attributes
    span.set_attribute("b", 2)
    span.end()

    assert dict(shown) == {"a": 1, "from a processor": True}  # it can be gone through meanwhile
    (ended,) = watching.ended
    for mapping in (ended.attributes, ended.events[0].attributes, ended.links[0].attributes):
        with pytest.raises(TypeError):
            mapping["a"] = 2  # type: ignore[index]


def test_threads_lose_nothing_without_a_word(caplog):
    """Whatever comes before the end is in the span, whatever comes after it is warned of."""
    (_, _), (provider, watching) = both(limits={"max_events": 10_000, "max_attributes": 10_000})
    span = provider.get_tracer("s").start_span("it")
    at_once = threading.Barrier(5)

    def work(number: int) -> None:
        at_once.wait()
        for i in range(300):
            span.set_attribute(f"{number}.{i}", i)
            span.add_event("e", {"i": i})
        if number == 0:
            span.end()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (ended,) = watching.ended
    late = sum("ended span" in message for message in caplog.messages)
    assert len(ended.attributes or {}) - 1 + len(ended.events) + late == 5 * 600


# --- the SDK's processors and exporters


def test_the_sdks_exporters_take_it():
    """Batched, in memory, on the console."""
    out = io.StringIO()
    kept = InMemorySpanExporter()
    (_, _), (provider, _) = both()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out)))
    provider.add_span_processor(BatchSpanProcessor(kept))
    with provider.get_tracer("s").start_as_current_span("it", attributes={"a": 1}) as span:
        span.add_event("e", {"b": 2})
    provider.force_flush()
    provider.shutdown()

    assert [span.name for span in kept.get_finished_spans()] == ["it"]
    assert json.loads(out.getvalue())["events"][0]["attributes"] == {"b": 2}


def test_processors_come_in_their_order_and_may_come_later():
    """As with the SDK's provider; a tracer that is there already sees the new one."""
    order: list[str] = []

    class Named(SpanProcessor):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            order.append(f"{self.name} start")

        def on_end(self, span: ReadableSpan) -> None:
            order.append(f"{self.name} end")

    (_, _), (provider, _) = both()
    tracer = provider.get_tracer("s")
    provider.add_span_processor(Named("first"))
    provider.add_span_processor(Named("second"))
    tracer.start_span("it").end()

    assert order == ["first start", "second start", "first end", "second end"]


def test_what_is_deprecated_there_is_deprecated_here():
    """`instrumentation_info`."""
    seen = []
    for provider, _ in both():
        span: Any = provider.get_tracer("s", "1").start_span("it")
        with pytest.warns(DeprecationWarning, match="instrumentation_scope"):
            seen.append(span.instrumentation_info)

    assert seen[0] == seen[1]


def test_a_processor_may_ask_for_the_readable_span():
    """As some do when a span starts."""
    seen = []
    for provider, _ in both():
        span: Any = provider.get_tracer("s").start_span("it", attributes={"a": 1}, start_time=3)
        seen.append(told(span._readable_span()))
        span.end()

    assert seen[0] == seen[1]


def test_it_has_the_private_names_that_others_reach_for():
    """To read, as OpenInference does, and to write, where nothing public would do."""
    seen = []
    for provider, watching in both():
        parent = set_span_in_context(NonRecordingSpan(SpanContext(1, 2, is_remote=True)), Context())
        span: Any = provider.get_tracer("s").start_span("it", parent, start_time=3)
        span._attributes["a"] = 1
        span._name = "renamed"
        span.add_event("e", {"b": 2}, 4)
        span.add_link(SpanContext(5, 6, is_remote=False))
        span.end(7)
        ended: Any = watching.ended[0]
        ended._name += " again"
        ended._status = Status(StatusCode.ERROR, "bad")
        encode = Encoder(on_failure=_raise).encode
        kept, ended._attributes = ended._attributes, None
        assert told(ended)["attributes"] == []
        assert parsed(encode([ended])[0].body) == stock([ended])
        ended._attributes = {**kept, "a": "masked"}
        shown = told(ended)
        assert shown["attributes"] == [("from a processor", True), ("a", "masked")]
        seen.append(
            (
                shown,
                dict(ended._attributes),
                ended._name,
                ended._status.description,
                tuple(ended._context),
                ended._parent,
                ended._kind,
                ended._resource,
                ended._instrumentation_scope,
                ended._start_time,
                ended._end_time,
                [event.name for event in ended._events],
                [link.context.span_id for link in ended._links],
            )
        )

    assert seen[0] == seen[1]


def test_processors_are_told_that_it_is_ending():
    """By the SDK's name for it, which LangSmith's processor passes on."""
    seen = []
    for provider, _ in both():
        told_of: list[Any] = []

        class Passing(SpanProcessor):
            def _on_ending(self, span: Span) -> None:
                told_of.append(("ending", span.name, span.end_time))  # noqa: B023

            def on_end(self, span: ReadableSpan) -> None:
                told_of.append(("end", span.name, span.end_time))  # noqa: B023

        tracer = provider.get_tracer("s")
        provider.add_span_processor(Passing())
        tracer.start_span("it").end(7)
        seen.append(told_of)

    assert seen[0] == seen[1] == [("ending", "it", 7), ("end", "it", 7)]


def test_it_can_be_copied_once_it_has_ended():
    """Also in depth; while it is open it cannot, as the SDK's."""
    for provider, watching in both():
        span = provider.get_tracer("s").start_span("it", attributes={"a": (1, 2)})
        span.add_event("e", {"b": 2})
        with pytest.raises(TypeError):
            copy.deepcopy(span)
        span.end()
        for copied in (copy.copy(watching.ended[0]), copy.deepcopy(watching.ended[0])):
            assert told(copied) == told(watching.ended[0])


# --- its provider


def test_a_scope_has_one_tracer():
    """And spans of one scope share it, so that they are one group in a request."""
    (_, _), (provider, _) = both()
    first = provider.get_tracer("s", "1", "https://schema/1", {"a": 1})

    assert isinstance(first, LightTracer)
    assert provider.get_tracer("s", "1", "https://schema/1", {"a": 1}) is first
    assert provider.get_tracer("s", "2") is not first


def test_where_the_sdk_counts_its_spans_it_makes_them(monkeypatch):
    """`otel.sdk.span.*` are its own."""
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "True")
    (_, _), (provider, watching) = both()
    tracer = provider.get_tracer("s")
    tracer.start_span("it").end()

    assert type(tracer) is Tracer
    assert not isinstance(watching.ended[0], LightSpan)


def test_disabled_is_disabled(monkeypatch):
    """`OTEL_SDK_DISABLED`, which the SDK reads itself."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    (_, _), (provider, _) = both()

    assert isinstance(provider.get_tracer("s"), trace.NoOpTracer)


def test_ours_is_light_and_theirs_is_not():
    """`make_provider` is what builds ours."""
    provider = pipeline.make_provider(Config(), [SpanProcessor()])

    assert isinstance(provider, LightTracerProvider)
    assert isinstance(provider.get_tracer("s").start_span("it"), LightSpan)
    assert isinstance(SynchronousMultiSpanProcessor(), SpanProcessor)


# --- on its way out


def test_it_is_encoded_when_it_ends(faulty, tmp_path):
    """So its end costs a little more and the thread behind next to nothing; what arrives is all."""
    (_, _), (provider, _) = both()
    processor = DurableSpanProcessor(endpoint=f"{faulty.url}/v1/traces", spool_dir=str(tmp_path))
    provider.add_span_processor(processor)
    with provider.get_tracer("s").start_as_current_span("it", attributes={"a": 1}) as span:
        span.add_event("e", {"b": 2})

    assert processor.force_flush()
    (arrived,) = faulty.spans
    assert (arrived.name, [event.name for event in arrived.events]) == ("it", ["e"])
    assert [attribute.key for attribute in arrived.attributes] == ["a", "from a processor"]
    processor.shutdown()


def test_what_a_processor_behind_does_at_its_end_is_exported(faulty, tmp_path):
    """As it is by the SDK's batch, which looks at the span later. One that does nothing then is no
    reason to wait."""
    (_, _), (provider, _) = both()
    processor = DurableSpanProcessor(endpoint=f"{faulty.url}/v1/traces", spool_dir=str(tmp_path))
    provider.add_span_processor(processor)

    class AtStart(SpanProcessor):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            span.set_attribute("tenant", "t-1")

    class Masking(SpanProcessor):
        def on_end(self, span: Any) -> None:
            span._attributes = {**span._attributes, "input.value": "masked"}

    provider.add_span_processor(AtStart())
    assert processor.encodes_at_end
    provider.add_span_processor(Masking())
    provider.get_tracer("s").start_span("it", attributes={"input.value": "secret"}).end()

    assert processor.force_flush()
    (arrived,) = faulty.spans
    values = {each.key: each.value.string_value for each in arrived.attributes}
    assert (values["input.value"], values["tenant"]) == ("masked", "t-1")
    processor.shutdown()


def test_large_ones_do_not_pile_up_behind_small_ones(faulty, tmp_path, monkeypatch):
    """Between two looks at the queue: it holds 8 MiB, whatever the spans before were like."""
    monkeypatch.setattr("flowspan.delivery._processor.TICK", 0.5)
    (_, _), (provider, _) = both()
    processor = DurableSpanProcessor(endpoint=f"{faulty.url}/v1/traces", spool_dir=str(tmp_path))
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("s")
    for _ in range(100):
        tracer.start_span("small").end()
    processor.force_flush()
    largest = 0
    for _ in range(40):
        tracer.start_span("large", attributes={"input.value": "x" * (1 << 20)}).end()
        largest = max(largest, sum(len(each.data) for each in processor._queue))

    assert largest <= 9 << 20
    processor.shutdown()


def test_one_that_cannot_be_encoded_is_counted_and_costs_only_itself(faulty, tmp_path, failures):
    """Ids that are too long, of an id generator of somebody's."""
    numbers = iter([1, 2**64, 3])
    (_, _), (provider, _) = both()
    provider.id_generator.generate_span_id = lambda: next(numbers)  # type: ignore[method-assign]
    processor = DurableSpanProcessor(endpoint=f"{faulty.url}/v1/traces", spool_dir=str(tmp_path))
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("s")
    previous = _guard.set_handler(lambda kind, error, advice: failures.append(kind))
    for name in ("first", "too long", "last"):
        tracer.start_span(name).end()
    processor.force_flush()
    _guard.set_handler(previous)

    assert {span.name for span in faulty.spans} == {"first", "last"}
    assert processor.stats().dropped == {"not encoded": 1}
    assert failures == ["could not encode a span"]
    processor.shutdown()
