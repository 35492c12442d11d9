"""What `flowspan view` reads: OTLP's JSON as anybody writes it, of any length, packed or not."""

from __future__ import annotations

import base64
import gzip
import json
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from flowspan.cli.view import _documents, _walk
from flowspan.cli.view._model import Span
from flowspan.cli.view._protobuf import spans_of
from flowspan.cli.view._source import Source, Unreadable
from flowspan.cli.view._stored import Store
from flowspan.cli.view._values import origin_of, span_of
from view_traces import MILLI, START, TRACE, request, span, spans_in, support_bot, view, written

BOT = support_bot()


def plain(found: Span) -> dict[str, Any]:
    """All of a span, to compare."""
    return {
        "ids": (found.trace_id, found.span_id, found.parent_id),
        "name": found.name,
        "kind": found.kind,
        "times": (found.start, found.end),
        "status": (found.status, found.status_message),
        "attributes": dict(found.attributes),
        "events": [(e.name, e.time, dict(e.attributes)) for e in found.events],
        "links": [(each.trace_id, each.span_id, dict(each.attributes)) for each in found.links],
        "origin": (found.service, found.scope, dict(found.resource)),
    }


SPANS = BOT["resourceSpans"][0]["scopeSpans"][0]["spans"]
EXPECTED = [plain(each) for each in spans_in(json.dumps(BOT).encode())]


def test_a_span_is_read_whole():
    """Ids, times, status, attributes, events, links, and where it comes from."""
    assert EXPECTED[2] == {
        "ids": (TRACE, "0" * 15 + "3", "0" * 15 + "1"),
        "name": "Model",
        "kind": 1,
        "times": (START + 40 * MILLI, START + 100 * MILLI),
        "status": (2, "refused"),
        "attributes": {
            "flowspan.run.id": "run-1",
            "flowspan.component.type": "llm",
            "gen_ai.usage.input_tokens": 12,
            "gen_ai.usage.output_tokens": 3,
        },
        "events": [
            (
                "exception",
                START + 99 * MILLI,
                {"exception.type": "ConnectionError", "exception.message": "refused"},
            )
        ],
        "links": [(TRACE, "0" * 15 + "2", {"edge": "a"})] * 2,
        "origin": ("bot", "flowspan", {"service.name": "bot"}),
    }


# ---- as anybody writes it


def based(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"traceId": TRACE.upper()}, {}),
        ({"traceId": based(TRACE), "spanId": based("0" * 15 + "9")}, {}),
        ({"startTimeUnixNano": START, "endTimeUnixNano": START + 10 * MILLI}, {}),
        ({"kind": "SPAN_KIND_INTERNAL", "status": {"code": "STATUS_CODE_UNSET"}}, {}),
        ({"kind": "SPAN_KIND_CLIENT"}, {"kind": 3}),
        ({"status": {"code": "STATUS_CODE_ERROR", "message": "no"}}, {"status": (2, "no")}),
        ({"parentSpanId": "0" * 16}, {}),
        ({"parentSpanId": None, "attributes": None, "events": None, "status": None}, {}),
        ({"flags": 257, "traceState": "a=b", "droppedLinksCount": 3, "fromTheFuture": [1]}, {}),
    ],
)
def test_the_forms_of_a_field(change: dict[str, Any], expected: dict[str, Any]):
    """Ids in hex or base64, numbers as text or numbers, enumerations by name or number."""
    (found,) = spans_in(orjson.dumps(request(span(9, "a") | change)))
    (normal,) = spans_in(orjson.dumps(request(span(9, "a"))))

    assert plain(found) == plain(normal) | expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"intValue": "9223372036854775807"}, 9223372036854775807),
        ({"intValue": -3}, -3),
        ({"doubleValue": 1}, 1.0),
        ({"doubleValue": "Infinity"}, float("inf")),
        ({"boolValue": True}, True),
        ({"bytesValue": "AAE="}, b"\0\1"),
        ({"arrayValue": {"values": [{"stringValue": "a"}, {}]}}, ["a", None]),
        ({"arrayValue": {}}, []),
        ({"kvlistValue": {"values": [{"key": "a", "value": {"intValue": "1"}}]}}, {"a": 1}),
        ({}, None),
        (None, None),
        ({"fromTheFuture": 1}, None),
    ],
)
def test_the_forms_of_a_value(given: Any, expected: Any):
    """All seven, and nothing."""
    made = span(9, "a") | {"attributes": [{"key": "k", "value": given}]}

    (found,) = spans_in(orjson.dumps(request(made)))

    assert found.attributes["k"] == expected
    assert type(found.attributes["k"]) is type(expected)


SHAPES = {
    "lines": [BOT, BOT],
    "Jaeger's answer": [{"result": BOT}],
    "Tempo's answer": [{"batches": BOT["resourceSpans"]}],
    "Tempo's new answer": [{"trace": BOT}],
    "a list of requests": [[BOT]],
    "beside other signals": [{"resourceMetrics": []}, BOT, {"resourceLogs": [{}]}],
    "keys in another order": [json.loads(json.dumps(BOT, sort_keys=True))],
    "a request without spans": [{}, BOT, {"resourceSpans": []}],
}


@pytest.mark.parametrize("documents", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("indent", [None, 2])
def test_the_shapes_of_a_file(documents: list[Any], indent: int | None):
    """One request a line, one after another, in lists, in answers; compact or for people."""
    content = "\n".join(json.dumps(document, indent=indent) for document in documents)

    assert [plain(each) for each in spans_in(content.encode())] == EXPECTED


@pytest.mark.parametrize("documents", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("indent", [None, 2])
def test_the_shapes_of_a_file_too_long_for_memory(
    documents: list[Any], indent: int | None, monkeypatch: pytest.MonkeyPatch
):
    """The same, walked through."""
    monkeypatch.setattr(_documents, "_AT_ONCE", 50)
    monkeypatch.setattr(_walk, "_READ", 50)
    content = "\n".join(json.dumps(document, indent=indent) for document in documents)

    assert [plain(each) for each in spans_in(content.encode())] == EXPECTED


def test_what_jaeger_downloaded_before_otlp():
    """Its own JSON: microseconds, references, tags, processes, ids without leading zeros."""
    tags = [
        {"key": "span.kind", "type": "string", "value": "client"},
        {"key": "otel.scope.name", "type": "string", "value": "flowspan"},
        {"key": "otel.status_code", "type": "string", "value": "ERROR"},
        {"key": "otel.status_description", "type": "string", "value": "refused"},
        {"key": "error", "type": "bool", "value": True},
        {"key": "rows", "type": "int64", "value": 3},
    ]
    fields = [
        {"key": "event", "type": "string", "value": "exception"},
        {"key": "exception.type", "type": "string", "value": "E"},
    ]
    reference = {"refType": "CHILD_OF", "traceID": TRACE[1:], "spanID": "1"}
    other = {"refType": "FOLLOWS_FROM", "traceID": TRACE[1:], "spanID": "7"}
    made = {
        "traceID": TRACE[1:],
        "spanID": "2",
        "operationName": "call",
        "references": [reference, other],
        "startTime": START // 1000,
        "duration": 5000,
        "tags": tags,
        "logs": [{"timestamp": START // 1000 + 1, "fields": fields}],
        "processID": "p1",
    }
    process = {"serviceName": "bot", "tags": [{"key": "host", "type": "string", "value": "h"}]}
    document = {"data": [{"traceID": TRACE[1:], "spans": [made], "processes": {"p1": process}}]}

    (found,) = spans_in(json.dumps(document).encode())

    assert plain(found) == {
        "ids": (TRACE, "0" * 15 + "2", "0" * 15 + "1"),
        "name": "call",
        "kind": 3,
        "times": (START, START + 5 * MILLI),
        "status": (2, "refused"),
        "attributes": {"rows": 3},
        "events": [("exception", START + 1000, {"exception.type": "E"})],
        "links": [(TRACE, "0" * 15 + "7", {})],
        "origin": ("bot", "flowspan", {"service.name": "bot", "host": "h"}),
    }


# ---- protobuf


def test_protobuf_says_the_same():
    """The encoding does not matter: attributes of every type, events, links, resource."""
    document = support_bot()
    (first, *_) = document["resourceSpans"][0]["scopeSpans"][0]["spans"]
    first["attributes"] += [
        {"key": key, "value": value}
        for key, value in {
            "int": {"intValue": "-5"},
            "double": {"doubleValue": 0.5},
            "bool": {"boolValue": True},
            "bytes": {"bytesValue": "AAE="},
            "none": {},
            "list": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "é"}]}},
            "map": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": False}}]}},
        }.items()
    ]
    body = ExportTraceServiceRequest()
    for resource in document["resourceSpans"]:
        into = body.resource_spans.add()
        fill(into.resource.attributes, resource["resource"]["attributes"])
        for scope in resource["scopeSpans"]:
            of_scope = into.scope_spans.add()
            of_scope.scope.name = scope["scope"]["name"]
            for each in scope["spans"]:
                fill_span(of_scope.spans.add(), each)

    found = list(spans_of(body.SerializeToString(), Store()))

    assert [plain(each) for each in found] == [
        plain(each) for each in spans_in(orjson.dumps(document))
    ]


def fill(into: Any, pairs: list[dict[str, Any]]) -> None:
    for pair in pairs:
        made = into.add()
        made.key = pair["key"]
        fill_value(made.value, pair["value"])


def fill_value(into: Any, value: dict[str, Any]) -> None:
    for kind, content in value.items():
        if kind == "stringValue":
            into.string_value = content
        elif kind == "intValue":
            into.int_value = int(content)
        elif kind == "doubleValue":
            into.double_value = content
        elif kind == "boolValue":
            into.bool_value = content
        elif kind == "bytesValue":
            into.bytes_value = base64.b64decode(content)
        elif kind == "arrayValue":
            for item in content["values"]:
                fill_value(into.array_value.values.add(), item)
        elif kind == "kvlistValue":
            fill(into.kvlist_value.values, content["values"])


def fill_span(into: Any, each: dict[str, Any]) -> None:
    into.trace_id = bytes.fromhex(each["traceId"])
    into.span_id = bytes.fromhex(each["spanId"])
    into.parent_span_id = bytes.fromhex(each["parentSpanId"])
    into.name, into.kind = each["name"], each["kind"]
    into.start_time_unix_nano = int(each["startTimeUnixNano"])
    into.end_time_unix_nano = int(each["endTimeUnixNano"])
    into.status.code = each["status"].get("code", 0)
    into.status.message = each["status"].get("message", "")
    fill(into.attributes, each["attributes"])
    for event in each.get("events", ()):
        made = into.events.add()
        made.name, made.time_unix_nano = event["name"], int(event["timeUnixNano"])
        fill(made.attributes, event["attributes"])
    for link in each.get("links", ()):
        made = into.links.add()
        made.trace_id, made.span_id = bytes.fromhex(link["traceId"]), bytes.fromhex(link["spanId"])
        fill(made.attributes, link["attributes"])


@given(st.binary(max_size=200))
def test_bytes_that_are_no_request_are_a_value_error(body: bytes):
    """Whatever they are."""
    with suppress(ValueError):
        list(spans_of(body, Store()))


@given(st.data())
def test_a_request_with_damage_is_a_value_error(data: st.DataObject):
    """Also of a spool, whose records are not read to their last byte."""
    request = ExportTraceServiceRequest()
    fill_span(request.resource_spans.add().scope_spans.add().spans.add(), SPANS[2])
    body = bytearray(request.SerializeToString())
    for at in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=3)):
        body[at] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    for trusted in (True, False):
        with suppress(ValueError):
            for found in spans_of(cut, Store(), trusted=trusted):
                plain(found)


# ---- packed


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_packed_files_are_unpacked(pack: Any):
    """Whatever their name; members that follow each other are one."""
    lines = json.dumps(support_bot()).encode() + b"\n"

    assert [plain(each) for each in spans_in(pack(lines))] == EXPECTED
    assert len(spans_in(pack(lines) + pack(b"{}\n"))) == 3


def test_a_cut_gzip_file_shows_what_is_in_it():
    """And says that it is cut."""
    lines = [json.dumps(request(span(n, f"n{n}"))).encode() + b"\n" for n in range(1, 2000)]
    packed = gzip.compress(b"".join(lines))
    collected: list[Any] = []

    with pytest.raises(Unreadable, match="the gzip data end in the middle"):
        collected.extend(_documents.batches(Source(BytesIO(packed[: len(packed) // 2]))))

    assert len(collected) > 50


def test_damaged_gzip_is_said():
    """Not a traceback of zlib's."""
    packed = bytearray(gzip.compress(json.dumps(BOT).encode()))
    packed[20:40] = b"\xff" * 20

    done = view("-", stdin=bytes(packed))

    assert done.exit_code == 1
    assert done.stderr == "the standard input: the gzip data are damaged\n"


# ---- wrong


GOOD = json.dumps(BOT)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "empty: expected traces as OTLP JSON"),
        ("   \n", "no spans in it"),
        ("<html>", "not JSON: expected traces as OTLP JSON"),
        ("1,2,3\n4,5,6\n", "not JSON: expected traces as OTLP JSON"),
        ("12", f"{_documents._NOT_OTLP}"),
        ('{"a": 1}', f"{_documents._NOT_OTLP}"),
        ('{"resourceSpans": 1}', f"{_documents._NOT_OTLP}"),
        ('{"data": [1]}', f"{_documents._NOT_OTLP}"),
        ('{"data": null, "errors": [{"code": 404}]}', f"{_documents._NOT_OTLP}"),
        ('{"resourceSpans": []}', "no spans in it"),
        (GOOD[:200], "it ends in the middle"),
        (GOOD[:900], "it ends in the middle: 1 span could be read"),
        (GOOD + "\n" + GOOD[:50], "line 2: it ends in the middle: 3 spans could be read"),
        ("[" * 100_000, "not JSON: expected traces as OTLP JSON"),
        ('{"a":' * 100_000, "not JSON: expected traces as OTLP JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_a_sentence_for_what_is_wrong(content: str, sentence: str, tmp_path: Path):
    """It names the file; exit code 1; never a traceback."""
    path = tmp_path / "traces.json"
    path.write_text(content)

    done = view(str(path))

    assert done.stderr == f"{path}: {sentence}\n"
    assert done.exit_code == 1


def test_a_bad_line_costs_only_itself(tmp_path: Path):
    """A collector was killed while it wrote."""
    path = tmp_path / "traces.json"
    path.write_text(f"{GOOD}\n{GOOD[:300]}\n{json.dumps(request(span(7, 'after')))}\nno\n")

    done = view(str(path), "--json")

    (trace,) = json.loads(done.stdout)["traces"]
    assert trace["spans"] == 4
    assert done.exit_code == 1
    assert done.stderr == (
        f"{path}: line 2: it ends in the middle, and 1 more line: 4 spans could be read\n"
    )


def test_a_span_that_is_none_is_left_out(tmp_path: Path):
    """Its neighbours are not."""
    path = written(
        tmp_path / "t.json",
        request(span(1, "good"), span(2, "bad", traceId="zz"), span(3, "worse", spanId=7)),
    )

    done = view(path)

    assert done.exit_code == 1
    assert done.stderr == f"{path}: 2 spans left out: an id that is neither hex nor base64\n"
    assert "good" in done.stdout


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(("resourceSpans", "scopeSpans", "spans", "result", "data", "key")),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_whatever_json_is_given(document: Any):
    """Spans or a sentence."""
    done = view("-", stdin=json.dumps(document).encode())

    assert done.exit_code in (0, 1)


@given(st.dictionaries(st.sampled_from(tuple(span(1, "a"))), st.integers() | st.text() | st.none()))
def test_whatever_is_in_a_span(change: dict[str, Any]):
    """A span, or a ValueError."""
    try:
        found = span_of(span(1, "a") | change, origin_of(None, None), Store())
    except ValueError:
        return
    plain(found)


# ---- of any length


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Requests with many spans, links that look like spans, quotes, escapes and letters."""
    texts = st.text(st.sampled_from('ab"\\{}[],:é😀 \n'), max_size=12)
    count = draw(st.integers(0, 30))
    spans = []
    for number in range(1, count + 1):
        made = span(number, draw(texts), attributes={"input.value": draw(texts)})
        made["links"] = [
            {"traceId": TRACE, "spanId": f"{number:016x}"} for _ in range(draw(st.integers(0, 3)))
        ]
        spans.append(made)
    cut = draw(st.integers(0, count))
    halves = request(*spans[:cut]), request(*spans[cut:])
    whole = {"resourceSpans": [each["resourceSpans"][0] for each in halves]}
    indent = draw(st.sampled_from((None, 1)))
    return json.dumps(whole, indent=indent, ensure_ascii=draw(st.booleans()))


@settings(deadline=None)
@given(documents(), st.integers(1, 300), st.integers(10, 2000))
def test_walking_reads_what_parsing_reads(content: str, read: int, run: int):
    """Wherever the pieces end."""
    data = content.encode()
    expected = [
        each for batch in _documents.batches_of(json.loads(content)) for each in batch.spans
    ]
    walk = _walk.Walk(b"", BytesIO(data).read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_walk, "_READ", read)
        patch.setattr(_walk, "_MAX_RUN", run)
        found = [each for batch in _documents._walked(walk) for each in batch.spans]

    assert found == expected
    assert walk.rest().strip() == b""


@settings(deadline=None)
@given(documents(), st.data())
def test_a_cut_document_gives_its_first_spans(content: str, data: st.DataObject):
    """However it is cut: what is given was whole, and in its place."""
    expected = [
        each for batch in _documents.batches_of(json.loads(content)) for each in batch.spans
    ]
    encoded = content.encode()
    cut = data.draw(st.integers(1, len(encoded) - 1))
    found: list[Any] = []

    with pytest.raises(Unreadable):
        for batch in _documents._walked(_walk.Walk(b"", BytesIO(encoded[:cut]).read)):
            found += batch.spans

    assert found == expected[: len(found)]
    assert len(found) >= encoded[:cut].count(b'"startTimeUnixNano"') - 1


class Repeated:
    """A file of *times* requests, made while it is read, that counts what it gave."""

    def __init__(self, times: int, start: bytes, middle: bytes, end: bytes) -> None:
        self._left = [end, *([middle] * times), start]
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        data = b""
        while self._left and len(data) < max(size, 1):
            data += self._left.pop()
        self.given += len(data)
        return data


def test_a_document_longer_than_memory_is_never_held():
    """Of 39 MB in one document what is held at a time stays below a few."""
    made = json.dumps(span(1, "a", attributes={"input.value": "x" * 1000})).encode()
    start, end = json.dumps(request()).encode().split(b"[]")[0], b"]}]}]}"
    file = Repeated(30_000, start + b"[" + made, b"," + made, end)
    most = count = 0

    for batch in _documents.batches(Source(file)):  # type: ignore[arg-type]
        count += len(batch.spans)
        most = max(most, file.given - count * len(made))

    assert count == 30_001
    assert file.given > 38_000_000
    assert most < 10_000_000


def test_of_too_many_spans_the_newest_traces_are_kept(tmp_path: Path):
    """The others are counted, and the option that keeps more is named."""
    requests = [
        request(*(span(n, f"r{r}", r * 100, trace_id=f"{r:032x}") for n in (1, 2)))
        for r in range(1, 31)
    ]
    path = written(tmp_path / "t.json", *requests)

    done = view(path, "--max-spans", "20", "--json")

    kept = json.loads(done.stdout)
    assert [trace["name"] for trace in kept["traces"]] == [f"r{r}" for r in range(21, 31)]
    assert kept["left_out"] == {"spans": 40, "traces": 20}
    assert done.exit_code == 0
    assert done.stderr == (
        "40 spans of 20 traces left out, the oldest: --max-spans keeps more than 20\n"
    )


def test_of_a_trace_too_large_the_first_spans_are_kept(tmp_path: Path):
    """There is nothing older to leave out."""
    path = written(tmp_path / "t.json", request(*(span(n, f"s{n}", n) for n in range(1, 31))))

    done = view(path, "--max-spans", "10", "--json")

    assert [s["name"] for s in json.loads(done.stdout)["traces"][0]["tree"]] == [
        f"s{n}" for n in range(1, 11)
    ]


# ---- values that are meant badly


def nested(kind: str, times: int) -> str:
    opening, closing = ('{"key":"k","value":', "}") if kind == "kvlistValue" else ("", "")
    opening = f'{{"{kind}":{{"values":[{opening}'
    return opening * times + '{"stringValue":"deep"}' + f"{closing}]}}}}" * times


WAYS = [[], ["--json", "--tree"], ["--span", "1"], ["--span", "1", "--json"]]
HOSTILE = {
    "a list that is none": '{"arrayValue": [1]}',
    "a mapping that is none": '{"kvlistValue": "x"}',
    "members that are none": '{"arrayValue": {"values": 5}}',
    "lists as deep as is read": nested("arrayValue", 48),
    "mappings as deep as is read": nested("kvlistValue", 48),
    "deep lists": nested("arrayValue", 330),
    "deep mappings": nested("kvlistValue", 247),
    "text of deep JSON": json.dumps({"stringValue": "[" * 1000 + "]" * 1000}),
    "text that opens for ever": json.dumps({"stringValue": '{"a":' * 50_000}),
    "a number without an end": json.dumps({"intValue": "9" * 6_000}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("key", ["input.value", "flowspan.component.type", "flowspan.run.id"])
def test_a_hostile_value_costs_at_most_its_span(content: str, key: str, tmp_path: Path):
    """Every view comes to its end, and none is a mistake of ours."""
    bad = span(1, "Bad") | {"attributes": [{"key": key, "value": "@"}]}
    path = written(tmp_path / "traces.json", request(bad, span(2, "Good", trace_id="b" * 32)))
    Path(path).write_text(Path(path).read_text().replace('"@"', content))

    for way in WAYS:
        result = view(path, *way)
        assert "mistake" not in result.stderr, (way, result.stderr)
        assert result.exit_code == 0 or "left out" in result.stderr or "No span" in result.stderr
    for option in ("--html", "--otlp-json"):
        result = view(path, option, str(tmp_path / "out"))
        assert "mistake" not in result.stderr, (option, result.stderr)
        assert result.stdout.startswith("Wrote ")
    assert "Good" in (tmp_path / "out").read_text()


def test_infinity_is_no_number_of_anything(tmp_path: Path):
    """JSON has numbers that become infinite, in OTLP as in Jaeger's download."""
    bad = json.dumps(request(span(1, "Bad", kind=10**30, events=[{"timeUnixNano": "@"}])))
    path = tmp_path / "traces.json"
    path.write_text(bad.replace('"@"', "1e999"))
    assert view(str(path), "--otlp-json", str(tmp_path / "out")).exit_code == 0

    path.write_text('{"data":[{"spans":[{"traceID":"1","spanID":"2","startTime":1e999}]}]}')
    assert "JSON, but no traces" in view(str(path)).stderr


def test_the_id_of_a_run_takes_no_page(tmp_path: Path):
    """It stands below the tree."""
    long = span(1, "Run", attributes={"flowspan.run.id": "r" * 1_000_000})
    result = view(written(tmp_path / "traces.json", request(long)))
    assert max(map(len, result.stdout.splitlines())) < 1_100
