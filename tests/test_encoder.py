"""Spans become OTLP bytes that mean what OpenTelemetry's own encoder says, and requests stay so."""

from __future__ import annotations

import enum
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    Event,
    IdGenerator,
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
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

from flowspan import semconv
from flowspan.delivery import _requests
from flowspan.delivery._encoder import BREATHE_EVERY, Batch, Encoder

# --- spans of every shape, made by the SDK


class Collected(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class Numbered(IdGenerator):
    """Ids that are the same in each run of a test."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def generate_span_id(self) -> int:
        return next(self._numbers)

    def generate_trace_id(self) -> int:
        return next(self._numbers)


texts = st.text(max_size=60) | st.sampled_from(["", "ok", "x" * 127, "y" * 128, "é" * 5000])
integers = st.integers(-(2**63), 2**63 - 1)
scalars = st.one_of(
    texts, st.booleans(), integers, st.floats(allow_nan=False), st.binary(max_size=40), st.none()
)
keys = st.sampled_from(["a", "b.c", "input.value", "é"]) | st.text(min_size=1, max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=5,
)
attributes = st.dictionaries(keys, values, max_size=3)
times = st.integers(0, 2**64 - 1)
states = st.sampled_from(
    [TraceState(), TraceState([("vendor", "1")]), TraceState([("a", "b"), ("c", "d")])]
)
contexts = st.builds(
    SpanContext,
    trace_id=st.integers(1, 2**128 - 1),
    span_id=st.integers(1, 2**64 - 1),
    is_remote=st.booleans(),
    trace_state=states,
)
statuses = st.sampled_from(
    [
        Status(),
        Status(StatusCode.OK),
        Status(StatusCode.ERROR),
        Status(StatusCode.ERROR, "it broke: é"),
    ]
)
resources = st.builds(Resource, attributes, st.sampled_from([None, "", "https://r/1"]))
owners = st.tuples(
    resources,
    st.sampled_from(["scope", "other"]),
    st.sampled_from([None, "", "1.0"]),
    st.sampled_from([None, "https://s/1"]),
    st.none() | attributes,
)


@st.composite
def ended(draw: st.DrawFn) -> list[ReadableSpan]:
    """Spans as the SDK hands them to a processor, over several resources and scopes."""
    found = Collected()
    numbers = Numbered()
    limits = SpanLimits(max_attributes=2, max_events=1, max_links=1)
    tracers = []
    for resource, name, version, url, more in draw(st.lists(owners, min_size=1, max_size=3)):
        provider = TracerProvider(
            resource=resource,
            sampler=ALWAYS_ON,
            id_generator=numbers,
            span_limits=draw(st.sampled_from([None, limits])),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(found)
        tracers.append(provider.get_tracer(name, version, url, more))
    links = st.lists(st.builds(Link, contexts, attributes), max_size=2)
    for _ in range(draw(st.integers(0, 4))):
        parent = draw(st.none() | contexts)
        span = draw(st.sampled_from(tracers)).start_span(
            draw(texts),
            context=None if parent is None else set_span_in_context(NonRecordingSpan(parent)),
            kind=draw(st.sampled_from(list(SpanKind))),
            attributes=draw(attributes),
            links=draw(links),
            start_time=draw(times),
        )
        for name, more, at in draw(st.lists(st.tuples(texts, attributes, times), max_size=2)):
            span.add_event(name, more, at)
        for link in draw(links):
            span.add_link(link.context, link.attributes)
        span.set_attributes(draw(attributes))
        span.set_status(draw(statuses))
        span.end(draw(times))
    return found.spans


def parsed(body: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(body)


def spans_in(body: bytes) -> list[ProtoSpan]:
    request = parsed(body)
    return [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]


def stock(spans: list[ReadableSpan]) -> ExportTraceServiceRequest:
    """What the stock encoder says, and the trace state of links, which it forgets."""
    request = encode_spans(spans)
    links = {
        (span.context.span_id.to_bytes(8, "big"), number): link.context.trace_state.to_header()
        for span in spans
        for number, link in enumerate(span.links)
    }
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                for number, link in enumerate(span.links):
                    link.trace_state = links[span.span_id, number]
    return request


def raising(error: Exception) -> None:
    raise error


def encoded(spans: list[ReadableSpan], **options: Any) -> list[Batch]:
    return Encoder(on_failure=raising, **options).encode(spans)


def attribute_of(value: object, key: str = "a") -> AnyValue:
    """What becomes of *value* as an attribute that was given to a span past the SDK."""
    (batch,) = encoded([plain_span(attributes={key: value})])
    (span,) = spans_in(batch.body)
    (attribute,) = span.attributes
    return attribute.value


CONTEXT = SpanContext(7, 9, is_remote=False)


def plain_span(**fields: Any) -> ReadableSpan:
    """A span with its fields as given: nothing of them was looked at by the SDK."""
    fields.setdefault("name", "n")
    fields.setdefault("context", CONTEXT)
    return ReadableSpan(resource=Resource({}), **fields)


# --- the same meaning


@settings(max_examples=100, deadline=None)
@given(ended())
def test_what_is_encoded_means_what_the_stock_encoder_says(spans):
    """Kinds, parents, flags, states, events, links, values, counts, scopes, resources."""
    batches = encoded(spans)

    assert len(batches) == bool(spans)
    for batch in batches:
        assert batch.spans == len(spans)
        assert parsed(batch.body) == stock(spans)


@settings(max_examples=25, deadline=None)
@given(st.lists(ended(), max_size=2))
def test_an_encoder_that_knows_names_already_says_the_same(rounds):
    """What it keeps from one call does not show in another."""
    encoder = Encoder(on_failure=raising)
    for spans in rounds:
        body = b"".join(batch.body for batch in encoder.encode(spans))

        assert parsed(body) == stock(spans)


@pytest.mark.parametrize(
    "value",
    [True, 1, 1.0, "1", b"1", "True", 0, False, 0.0, -0.0, "", b"", (), (True, 1, 1.0), {}, None],
    ids=repr,
)
def test_equal_values_of_different_types_stay_apart(value):
    """`True == 1 == 1.0` in a cache's eyes, but not in a reader's."""
    spans = [
        plain_span(attributes={"a": other}) for other in (True, 1, 1.0, "1", value, False, 0, 0.0)
    ]

    (batch,) = encoded(spans)

    assert parsed(batch.body) == stock(spans)


@given(st.floats())
def test_every_float_keeps_its_bits(number):
    """Not a number and the infinities, too."""
    found = attribute_of(number).double_value

    assert found == number or (found != found and number != number)


def test_a_resource_that_is_made_anew_for_each_span_is_one_in_the_request():
    """Equal resources and scopes are one group, as the stock encoder has it."""
    spans = [
        ReadableSpan(
            name="n",
            context=CONTEXT,
            resource=Resource({"service.name": "s"}),
            instrumentation_scope=InstrumentationScope("scope", "1"),
        )
        for _ in range(5)
    ]

    (batch,) = encoded(spans)

    assert parsed(batch.body) == stock(spans)


def test_more_names_than_are_kept():
    """A full cache starts anew; what it holds is bounded."""
    encoder = Encoder(on_failure=raising)
    spans = [
        ReadableSpan(
            name=f"n{i}",
            context=CONTEXT,
            resource=Resource({"i": i}),
            attributes={f"k{i}": f"v{i}", f"long{i}": "x" * (50 + i), "s": "same"},
            instrumentation_scope=InstrumentationScope(f"scope {i}"),
        )
        for i in range(5_000)
    ]
    batches = encoder.encode(spans)

    assert sum(batch.spans for batch in batches) == 5_000
    assert parsed(batches[0].body) == stock(spans[: batches[0].spans])
    kept = [
        held
        for holder in (encoder, encoder._span_attributes.__self__, encoder._names.__self__)
        for held in vars_of(holder).values()
        if type(held) is dict
    ]
    assert len(kept) == 6
    assert all(len(cache) <= 2_048 for cache in kept)


def vars_of(holder: object) -> dict[str, Any]:
    slots = getattr(type(holder), "__slots__", None)
    return {name: getattr(holder, name) for name in slots} if slots else vars(holder)


# --- what the stock encoder refuses


class Hostile:
    """Raises whatever is asked of it."""

    def _no(self, *args: object) -> Any:
        raise AssertionError("code of the application was run")

    __repr__ = __str__ = __iter__ = __len__ = __bool__ = __getitem__ = __format__ = _no  # type: ignore[assignment]
    __hash__ = __eq__ = __int__ = __float__ = __index__ = __bytes__ = keys = items = _no  # type: ignore[assignment]

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError("code of the application was run")


class HostileText(str):
    __str__ = __repr__ = __iter__ = __len__ = __eq__ = encode = Hostile._no  # type: ignore[assignment]
    __hash__ = str.__hash__


class HostileInt(int):
    __str__ = __repr__ = __int__ = __index__ = __eq__ = __lt__ = __and__ = Hostile._no  # type: ignore[assignment]
    __hash__ = int.__hash__


class HostileFloat(float):
    __str__ = __repr__ = __float__ = __eq__ = __lt__ = Hostile._no  # type: ignore[assignment]
    __hash__ = float.__hash__


class HostileBytes(bytes):
    __str__ = __repr__ = __iter__ = __len__ = __getitem__ = __bytes__ = Hostile._no  # type: ignore[assignment]


class HostileList(list):
    __repr__ = __iter__ = __len__ = __getitem__ = Hostile._no  # type: ignore[assignment]


class HostileTuple(tuple):
    __slots__ = ()
    __repr__ = __iter__ = __len__ = __getitem__ = Hostile._no  # type: ignore[assignment]


class HostileDict(dict):
    __repr__ = __iter__ = __len__ = __getitem__ = items = keys = Hostile._no  # type: ignore[assignment]


class Color(enum.IntEnum):
    RED = 3


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("a\ud800b", AnyValue(string_value="a?b")),
        ("\udfff" * 50, AnyValue(string_value="?" * 50)),
        (2**63, AnyValue(string_value=str(2**63))),
        (-(2**63) - 1, AnyValue(string_value=str(-(2**63) - 1))),
        (10**5000, AnyValue(string_value="<int of 16610 bits>")),
        (Hostile(), AnyValue(string_value="<test_encoder.Hostile>")),
        (object, AnyValue(string_value="<type>")),
        ({1, 2}, AnyValue(string_value="<set>")),
        (iter([1]), AnyValue(string_value="<list_iterator>")),
        (range(3), AnyValue(string_value="<range>")),
        (bytearray(b"x"), AnyValue(string_value="<bytearray>")),
        (1j, AnyValue(string_value="<complex>")),
        (HostileText("text"), AnyValue(string_value="text")),
        (HostileInt(5), AnyValue(int_value=5)),
        (Color.RED, AnyValue(int_value=3)),
        (HostileFloat(0.5), AnyValue(double_value=0.5)),
        (HostileBytes(b"raw"), AnyValue(bytes_value=b"raw")),
        (HostileList([1]), AnyValue(array_value={"values": [{"int_value": 1}]})),
        (HostileTuple((1,)), AnyValue(array_value={"values": [{"int_value": 1}]})),
        (
            HostileDict(a=1),
            AnyValue(kvlist_value={"values": [{"key": "a", "value": {"int_value": 1}}]}),
        ),
        (
            {1: 5, None: 2, "\ud800": 3, 1.5: 4},
            AnyValue(
                kvlist_value={
                    "values": [
                        {"key": "1", "value": {"int_value": 5}},
                        {"key": "<NoneType>", "value": {"int_value": 2}},
                        {"key": "?", "value": {"int_value": 3}},
                        {"key": "1.5", "value": {"int_value": 4}},
                    ]
                }
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_is_none_of_opentelemetrys(value, meant):
    """Replaced, told as text, or named by its type; nothing of it is run."""
    assert attribute_of(value) == meant


def test_a_numpy_number_is_a_number():
    """The SDK lets a float64 through, which is a float."""
    numpy = pytest.importorskip("numpy")

    assert attribute_of(numpy.float64(0.25)) == AnyValue(double_value=0.25)
    assert attribute_of(numpy.int64(3)) == AnyValue(string_value="<numpy.int64>")


@pytest.mark.parametrize("leaf", ["x", [], {}], ids=repr)
def test_a_value_is_never_nested_deeper_than_readers_take(leaf):
    """Cut with a mark: a reader that refuses it would refuse the whole request."""
    value: Any = leaf
    for level in range(200):
        value = [value] if level % 2 else {"k": value}

    found = attribute_of(value)

    assert "deeper than 30" in str(found)


def test_a_value_that_holds_itself_or_grows_without_end():
    """Bounded in time and size, then named."""
    itself: list[Any] = []
    itself += [itself, itself]
    doubled: Any = "x" * 1_000_000
    for _ in range(12):
        doubled = [doubled, doubled]

    assert attribute_of(itself).string_value.startswith("<list> (more than")
    assert attribute_of(doubled).string_value.startswith("<list> (more than")


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({"name": "a\udc00"}, {"name": "a?"}),
        ({"name": 12}, {"name": "12"}),
        ({"name": 1.5}, {"name": "1.5"}),
        ({"name": None}, {"name": ""}),
        ({"name": Hostile()}, {"name": "<test_encoder.Hostile>"}),
        ({"name": HostileText("text")}, {"name": "text"}),
        ({"kind": Hostile()}, {"kind": 1}),
        ({"kind": None}, {"kind": 1}),
        ({"start_time": 1.5e18}, {"start_time_unix_nano": 1_500_000_000_000_000_000}),
        ({"start_time": float("nan")}, {"start_time_unix_nano": 0}),
        ({"start_time": float("inf")}, {"start_time_unix_nano": 0}),
        ({"start_time": -1, "end_time": 2**70}, {"end_time_unix_nano": 2**64 - 1}),
        ({"start_time": Hostile(), "end_time": "now"}, {}),
        ({"start_time": HostileInt(5)}, {"start_time_unix_nano": 5}),
        ({"start_time": True}, {"start_time_unix_nano": 1}),
        ({"attributes": {3: "x", "k": "v"}}, {"attributes": [("3", "x"), ("k", "v")]}),
        ({"attributes": {True: "x", None: 1}}, {"attributes": [("True", "x"), ("<NoneType>", "")]}),
        ({"attributes": {"\ud800": "v"}}, {"attributes": [("?", "v")]}),
        ({"attributes": {HostileText("k"): HostileText("v")}}, {"attributes": [("k", "v")]}),
    ],
    ids=lambda fields: ",".join(fields) or "nothing",
)
def test_a_field_that_is_none_of_opentelemetrys(fields, meant):
    """What can be said is said; a number of no meaning is 0."""
    (batch,) = encoded([plain_span(**fields)])
    (span,) = spans_in(batch.body)

    expected = {"name": "n", "kind": 1, **meant}
    pairs = expected.pop("attributes", [])
    span.ClearField("status")
    assert [(a.key, a.value.string_value) for a in span.attributes] == pairs
    span.ClearField("attributes")
    assert span == ProtoSpan(
        trace_id=bytes(15) + b"\x07", span_id=bytes(7) + b"\x09", flags=0x100, **expected
    )


def test_links_and_events_that_are_none_are_counted():
    """The span keeps its others, and nothing is read of what is no link."""
    links: list[Any] = [
        *(Link(CONTEXT), Link(SpanContext(2**128, 1, False)), Link(None)),  # type: ignore[arg-type]
        *(Hostile(), Link(Hostile()), 3, Link(CONTEXT)),  # type: ignore[arg-type]
    ]
    events: list[Any] = [Event("e"), Hostile(), None, "text", Event("f")]

    (batch,) = encoded([plain_span(links=links, events=events)])
    (span,) = spans_in(batch.body)

    assert (len(span.links), span.dropped_links_count) == (2, 5)
    assert ([e.name for e in span.events], span.dropped_events_count) == (["e", "f"], 3)


@pytest.mark.parametrize("field", ["parent", "status"])
def test_a_parent_or_status_that_is_none_is_left_out(field):
    """Without a look at it."""
    (batch,) = encoded([plain_span(**{field: Hostile()})])
    (span,) = spans_in(batch.body)

    assert (span.parent_span_id, span.flags, span.status.code) == (b"", 0x100, 0)


# --- each span apart


@pytest.mark.parametrize("at", [0, 3, 9])
def test_a_span_that_cannot_be_encoded_costs_only_itself(at):
    """Told once, with its error; its neighbours are in the request."""
    told: list[Exception] = []
    spans = [plain_span(name=f"n{i}") for i in range(10)]
    spans[at] = plain_span(name="bad", context=SpanContext(-1, 5, False))

    (batch,) = Encoder(on_failure=told.append).encode(spans)

    assert [type(error) for error in told] == [OverflowError]
    assert batch.spans == 9
    assert [s.name for s in spans_in(batch.body)] == [f"n{i}" for i in range(10) if i != at]


@pytest.mark.parametrize(
    "fields",
    [
        {"context": None},
        {"context": Hostile()},
        {"context": SpanContext(1, 2**64, False)},
        {"parent": SpanContext(1, -1, False)},
        {"links": 3},
        {"attributes": 3},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_span_of_wrong_parts_is_a_failure_and_nothing_else(fields):
    """No exception, no empty request."""
    told: list[Exception] = []

    assert Encoder(on_failure=told.append).encode([plain_span(**fields)]) == []
    assert Encoder().encode([plain_span(**fields)]) == []
    assert len(told) == 1
    with pytest.raises(ValueError, match="cannot be encoded"):
        Encoder().encode_open(plain_span(**fields))


def test_an_open_span_is_encoded_as_it_stands():
    """Its end is 0; it goes on unharmed."""
    found = Collected()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(found)
    span = provider.get_tracer("t").start_span("open", attributes={"a": 1})
    span.add_event("e")

    body = Encoder().encode_open(span)  # type: ignore[arg-type]

    (open_span,) = spans_in(body)
    assert open_span.end_time_unix_nano == 0
    assert [a.key for a in open_span.attributes] == ["a"]
    assert len(open_span.events) == 1
    span.set_attribute("b", 2)
    span.end()
    ((later,),) = [spans_in(batch.body) for batch in encoded(found.spans)]
    assert [a.key for a in later.attributes] == ["a", "b"]


def test_an_open_span_may_change_meanwhile():
    """Threads that write into it do not disturb."""
    provider = TracerProvider(shutdown_on_exit=False)
    span = provider.get_tracer("t").start_span("open")
    encoder = Encoder()
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            span.set_attribute(f"k{number % 200}", number)
            span.add_event("e", {"n": number})

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert len(spans_in(encoder.encode_open(span))) == 1  # type: ignore[arg-type]
    finally:
        stop.set()
        thread.join()


def test_it_breathes_every_eight_spans():
    """Where the exporter thread gives up the GIL."""
    breaths: list[int] = []
    for number in (0, 7, 8, 17):
        before = len(breaths)
        Encoder().encode([plain_span() for _ in range(number)], lambda: breaths.append(1))
        assert len(breaths) - before == number // BREATHE_EVERY


# --- requests are bounded


@settings(max_examples=60, deadline=None)
@given(ended(), st.integers(1, 5_000))
def test_no_request_is_larger_than_asked_for_but_one_of_a_single_span(spans, max_bytes):
    """And together they hold every span, once, in its order within resource and scope."""
    batches = encoded(spans, max_bytes=max_bytes)

    for batch in batches:
        assert len(batch.body) <= max_bytes or batch.spans == 1
        assert len(spans_in(batch.body)) == batch.spans
    assert sorted(s.span_id for b in batches for s in spans_in(b.body)) == sorted(
        s.context.span_id.to_bytes(8, "big") for s in spans
    )


def test_a_request_is_filled():
    """A bound is no reason for many small ones."""
    spans = [plain_span(attributes={"v": "x" * 1000}) for _ in range(100)]

    batches = encoded(spans, max_bytes=20_000)

    assert [batch.spans for batch in batches[:-1]] == [18] * (len(batches) - 1)


def test_a_span_of_ten_megabytes_and_one_of_a_hundred_thousand_events():
    """Each in a request of its own; both can be shrunk to what a receiver takes."""
    large = plain_span(attributes={"input.value": json.dumps(["word " * 100] * 20_000)})
    many = plain_span(events=[Event("e", {"n": n, "t": "x" * 90}) for n in range(100_000)])

    batches = encoded([plain_span(), large, many, plain_span()])

    assert [batch.spans for batch in batches] == [1, 1, 1, 1]
    for batch in batches[1:3]:
        assert len(batch.body) > 10_000_000
        small = _requests.shrink(batch.body, 3_000_000)
        assert len(small) <= 3_000_000
        assert len(spans_in(small)) == 1


# --- requests as bytes


index = st.integers(0, 2)
OWNERS = [(Resource({"r": n}, f"https://r/{n}"), InstrumentationScope(f"s{n}")) for n in range(3)]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Requests of few small spans of several owners."""
    spans = [
        ReadableSpan(
            name=f"n{number}",
            context=SpanContext(5, number, is_remote=False),
            resource=OWNERS[r][0],
            instrumentation_scope=OWNERS[s][1],
            attributes={"a": "x" * number, "b": (1, "2")},
            events=[Event("e", {"c": None}, 3)] * (number % 3),
        )
        for number, (r, s) in enumerate(draw(st.lists(st.tuples(index, index), max_size=8)))
    ]
    return b"".join(batch.body for batch in encoded(spans))


@settings(max_examples=50, deadline=None)
@given(st.lists(bodies(), max_size=3))
def test_joined_requests_are_one(parts):
    """With the spans of all of them, counted without decoding."""
    body = b"".join(parts)

    ids = [(s.trace_id, s.span_id) for s in spans_in(body)]
    assert ids == [(s.trace_id, s.span_id) for part in parts for s in spans_in(part)]
    assert list(_requests.span_ids(body)) == ids
    assert _requests.count(body) == len(ids)


def owned(body: bytes) -> list[tuple[bytes, ...]]:
    """Each span with its resource, its scope and their schema URLs."""
    return [
        (
            resource.resource.SerializeToString(deterministic=True),
            resource.schema_url.encode(),
            scope.scope.SerializeToString(deterministic=True),
            scope.schema_url.encode(),
            span.SerializeToString(deterministic=True),
        )
        for resource in parsed(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(bodies(), max_size=2))
def test_a_request_is_split_into_halves(parts):
    """No span is lost or changed, and each keeps its resource and scope."""
    body = b"".join(parts)
    spans = owned(body)
    if len(spans) < 2:
        with pytest.raises(ValueError, match="less than two"):
            _requests.split(body)
        return

    first, second = _requests.split(body)

    assert owned(first.body) + owned(second.body) == spans
    assert (first.spans, second.spans) == (len(spans) // 2, len(spans) - len(spans) // 2)


@settings(max_examples=40, deadline=None)
@given(ended(), times)
def test_an_open_span_is_marked_as_abandoned(spans, now):
    """Ends now, never before its start; nothing else of it changes, its status least of all."""
    assume(spans)
    span = spans[0]
    body = Encoder().encode_open(
        ReadableSpan(
            **{
                name: getattr(span, name)
                for name in (
                    *("name", "context", "parent", "resource", "attributes", "events", "links"),
                    *("kind", "status", "start_time", "instrumentation_scope"),
                )
            }
        )
    )

    marked = _requests.mark_abandoned(body, now)

    (before,), (after,) = spans_in(body), spans_in(marked)
    assert after.end_time_unix_nano == max(now, before.start_time_unix_nano)
    assert after.attributes[-1].key == semconv.SPAN_STATUS
    assert after.attributes[-1].value.string_value == semconv.STATUS_ABANDONED
    after.end_time_unix_nano = 0
    del after.attributes[-1]
    assert after == before
    again = _requests.mark_abandoned(marked, now)
    assert parsed(again) == parsed(marked)


@pytest.mark.parametrize("now", [-5, 2**64, 2**80])
def test_a_clock_that_is_out_of_its_mind(now):
    """The end stays a number that OTLP can hold."""
    body = Encoder().encode_open(plain_span(start_time=3))

    (span,) = spans_in(_requests.mark_abandoned(body, now))

    assert span.end_time_unix_nano in (3, 2**64 - 1)


# --- shrinking


def names_cut(span: ProtoSpan) -> list[str]:
    for attribute in span.attributes:
        if attribute.key == semconv.TRUNCATED:
            return [value.string_value for value in attribute.value.array_value.values]
    return []


def request(**fields: Any) -> bytes:
    (batch,) = encoded([plain_span(**fields)])
    return batch.body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=20), inner),
    max_leaves=60,
)
large_texts = st.one_of(
    json_values.map(json.dumps),
    st.text(max_size=50).map(lambda text: text * 200),
    st.text(max_size=200),
)
large_values = large_texts | st.binary(max_size=3_000) | st.lists(large_texts, max_size=5) | values
large_attributes = st.dictionaries(st.text(max_size=30), large_values, max_size=8)


@settings(max_examples=80, deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "name": large_texts,
            "attributes": large_attributes,
            "events": st.lists(st.builds(Event, texts, large_attributes, times), max_size=8),
            "links": st.lists(st.builds(Link, contexts, attributes), max_size=8),
            "status": large_texts.map(lambda text: Status(StatusCode.ERROR, text)),
            "start_time": times,
        },
    ),
    st.integers(1_500, 20_000),
    large_attributes,
)
def test_a_shrunk_span_fits_and_says_what_it_lost(fields, max_bytes, of_resource):
    """JSON stays JSON, what was cut is named, what was left out is counted."""
    span = ReadableSpan(
        **{"name": "n", "context": CONTEXT, **fields}, resource=Resource(of_resource)
    )
    (batch,) = encoded([span])

    body = _requests.shrink(batch.body, max_bytes)

    assert len(body) <= max_bytes
    (before,), (after,) = spans_in(batch.body), spans_in(body)
    if len(batch.body) <= max_bytes:
        assert body == batch.body
        return
    assert (after.trace_id, after.span_id, after.kind) == (
        before.trace_id,
        before.span_id,
        before.kind,
    )
    assert after.start_time_unix_nano == before.start_time_unix_nano
    assert after.flags == before.flags
    assert after.status.code == before.status.code
    assert after.dropped_events_count + len(after.events) == len(before.events)
    assert after.dropped_links_count + len(after.links) == len(before.links)
    kept = {a.key: a.value for a in after.attributes}
    marks = {semconv.TRUNCATED} - {a.key for a in before.attributes}
    lost = len(before.attributes) - len(kept.keys() - marks)
    assert after.dropped_attributes_count - lost in (0, 1)  # the mark itself may not fit
    for attribute in before.attributes:
        value = kept.get(attribute.key)
        if value is None or attribute.key == semconv.TRUNCATED:
            continue
        if value != attribute.value and not after.dropped_attributes_count:
            assert attribute.key in names_cut(after)
        if is_json(attribute.value.string_value):
            assert is_json(value.string_value)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_what_is_cut_is_cut_evenly_and_the_small_is_left():
    """Ids, names and short values stay; a payload keeps as much as there is room for."""
    payload = json.dumps({"messages": ["word " * 50] * 400})
    body = request(
        attributes={
            "input.value": payload,
            "output.value": "é" * 60_000,
            "session.id": "s" * 36,
            "n": 5,
            semconv.TRUNCATED: ("metadata",),
        },
        events=[Event("flowspan.log", {"log.message": "m" * 30_000}, 3)] * 3,
    )

    (span,) = spans_in(_requests.shrink(body, 100_000))

    found = {a.key: a.value for a in span.attributes}
    assert found["session.id"].string_value == "s" * 36
    assert found["n"].int_value == 5
    assert json.loads(found["input.value"].string_value)["messages"]
    assert found["output.value"].string_value.endswith("…[cut, 60000 characters]")
    assert len(span.events) == 3
    assert span.events[0].attributes[0].value.string_value.endswith("…[cut, 30000 characters]")
    assert names_cut(span) == ["metadata", "input.value", "output.value", "log.message"]


def test_the_oldest_events_are_left_out():
    """The exception that ended the span is at the end."""
    body = request(events=[Event(f"e{n}", {"n": n}, n) for n in range(1_000)])

    (span,) = spans_in(_requests.shrink(body, 10_000))

    assert 50 < len(span.events) < 1_000
    assert span.events[-1].name == "e999"
    assert span.dropped_events_count == 1_000 - len(span.events)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000 + "]" * 100_000, "[" * 900 + "]" * 900, json.dumps("x" * 50_000)],
    ids=["very deep", "deep", "a string"],
)
def test_json_of_any_kind_stays_json(text):
    """However deep, and if it is no more than one string."""
    body = request(attributes={"a": text, "b": "x" * 9_000})

    (span,) = spans_in(_requests.shrink(body, 1_500))

    found = {a.key: a.value.string_value for a in span.attributes}
    assert is_json(found["a"])


LARGE = "x" * 1_000_000


@pytest.mark.parametrize(
    "fields",
    [
        {"name": LARGE},
        {"status": Status(StatusCode.ERROR, LARGE)},
        {"resource": Resource({"a": LARGE, "service.name": "s"})},
        {"resource": Resource({}, LARGE)},
        {"instrumentation_scope": InstrumentationScope(LARGE, LARGE, LARGE, {"a": LARGE})},
        {"attributes": {LARGE: 1, "b": LARGE}},
        {"attributes": {f"k{i}": i for i in range(20_000)}},
        {"attributes": {"a": tuple(range(100_000)), "b": LARGE.encode(), "c": {"d": LARGE}}},
        {"links": [Link(CONTEXT, {"a": "b"})] * 20_000},
        {"events": [Event(LARGE)] * 3},
    ],
    ids=lambda fields: next(iter(fields)),
)
@pytest.mark.parametrize("max_bytes", [1_000, 100_000])
def test_whatever_is_large_is_made_to_fit(fields, max_bytes):
    """Not only payloads: names, keys, what others wrote into resources and scopes."""
    (batch,) = encoded([ReadableSpan(**{"name": "n", "context": CONTEXT, **fields})])

    body = _requests.shrink(batch.body, max_bytes)

    assert len(body) <= max_bytes
    (span,) = spans_in(body)
    assert span.span_id == bytes(7) + b"\x09"


def test_what_cannot_be_shrunk():
    """Several spans, or a bound below what a span needs: a ValueError, not half a request."""
    body = request(attributes={"a": "x" * 1_000})
    with pytest.raises(ValueError, match="2 spans"):
        _requests.shrink(body + body, 100)
    with pytest.raises(ValueError, match="too few"):
        _requests.shrink(body, 20)


# --- bytes that are no request

FUNCTIONS: dict[str, Callable[[bytes], object]] = {
    "count": _requests.count,
    "span_ids": lambda body: list(_requests.span_ids(body)),
    "split": _requests.split,
    "shrink": lambda body: _requests.shrink(body, len(body) * 3 // 4),
    "mark_abandoned": lambda body: _requests.mark_abandoned(body, 5),
}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(bodies()))
    for _ in range(draw(st.integers(1, 4))):
        if body:
            at = draw(st.integers(0, len(body) - 1))
            how = draw(st.sampled_from(["flip", "cut", "zero", "insert"]))
            if how == "flip":
                body[at] ^= 1 << draw(st.integers(0, 7))
            elif how == "cut":
                del body[at:]
            elif how == "zero":
                body[at : at + 8] = bytes(8)
            else:
                body[at:at] = draw(st.binary(max_size=8))
    return bytes(body)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | damaged())
@example(b"\x0a" * 5_000)
@example(b"\xff" * 20)
@example(b"\x0b")
@example(b"\x00\x00")
@example(b"\x08\x01")
def test_malformed_bytes_are_a_value_error(body):
    """Whatever is done with them."""
    for name, function in FUNCTIONS.items():
        try:
            function(body)
        except ValueError:  # noqa: PERF203 - each of them is tried
            continue
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error
