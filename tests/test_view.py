"""`flowspan view`: lists, trees, one span, what is written, and what is said when it is off."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from rich.cells import cell_len

from backends._process import wait_for
from flowspan.cli.view._model import Span, Trace
from flowspan.cli.view._protobuf import spans_of
from flowspan.cli.view._stored import Store
from flowspan.cli.view._write import write
from flowspan.delivery import DurableSpanProcessor
from flowspan.delivery._wire import framed, tag
from view_traces import (
    MILLI,
    TRACE,
    pairs,
    request,
    span,
    spans_in,
    support_bot,
    view,
    written,
)

OTHER = "ffff7651916cd43dd8448eb211c80319"


@pytest.fixture
def one(tmp_path: Path) -> str:
    return written(tmp_path / "one.json", support_bot())


@pytest.fixture
def two(tmp_path: Path) -> str:
    """Two runs: the second is well."""
    fine = request(
        span(
            1,
            "Trip planner",
            5000,
            6500,
            trace_id=OTHER,
            attributes={"flowspan.run.id": "run-2", "flowspan.run.status": "ok"},
        )
    )
    return written(tmp_path / "two.json", fine, support_bot())


# ---- trees


def test_one_trace_is_a_tree(one: str):
    """Durations, self times, the critical path as the solid bar, outcomes, errors, tokens."""
    done = view(one)

    assert (done.exit_code, done.stderr) == (0, "")
    tree, below = done.stdout.split(", 3 spans, ")
    tree, _ = tree.rsplit("\n", 1)
    assert tree == "\n".join(
        (
            "                                   took     self  █ critical path      status",
            "Support bot                      100 ms    10 ms  ██▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ error",
            "├─ Search                         30 ms           ··██████············ ok",
            "│     log 2 rows",
            "└─ Model                          60 ms           ········████████████ error",
            "      error ConnectionError: refused",
            "      tokens 12 in, 3 out",
        )
    )
    assert below == f"12 tokens in, 3 out, 1 error\ntrace {TRACE}, run run-1\n"


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (120, "├─ Search" + " " * 60 + "retriever     30 ms           ··██████············ ok"),
        (80, "├─ Search                         30 ms           ··██████············ ok"),
        (60, "├─ Search                            *  30 ms          ok"),
        (40, "├─ Search            *  30 ms ok"),
    ],
)
def test_narrow_terminals(one: str, columns: int, row: str):
    """First the type goes, then the bar, then the self times; a star is the path then."""
    lines = view(one, columns=columns).stdout.splitlines()

    assert re.sub(" +", " ", row) in [re.sub(" +", " ", line) for line in lines]
    assert max(map(len, lines)) <= columns


def test_ascii_terminals(tmp_path: Path):
    """Nothing is printed that such a terminal has not; letters are escapes."""
    path = written(tmp_path / "t.json", request(span(1, "Prüfung"), span(2, "a", parent=1)))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "flowspan"), "view", path],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert b"Pr\\xfcfung" in done.stdout
    assert b"`- a" in done.stdout


def test_wide_letters_take_two_columns(tmp_path: Path):
    """The columns behind them stay where they are."""
    path = written(tmp_path / "t.json", request(span(1, "検索" * 30), span(2, "ok")))

    rows = view(path).stdout.splitlines()[1:3]

    assert [cell_len(row[: row.index("10 ms")]) for row in rows] == [34, 34]
    assert "…" in rows[0]


def test_an_open_span_has_no_duration(tmp_path: Path):
    """It goes on to the edge of the picture."""
    path = written(
        tmp_path / "t.json", request(span(1, "run", 0, -1), span(2, "a", 0, 50, parent=1))
    )

    _, run, below, *_ = view(path).stdout.splitlines()

    assert re.fullmatch(r"run +\u2013 +▒{20} open", run)
    assert below.endswith("████████████████████ ok")


def test_deep_traces_leave_room_for_names(tmp_path: Path):
    """Of a hundred levels the ones in the middle are a number."""
    spans = [span(n, f"level {n}", n, 400 - n, parent=n - 1) for n in range(1, 101)]

    lines = view(written(tmp_path / "t.json", request(*spans))).stdout.splitlines()

    assert re.match(r"98 .*└─ level 99  ", lines[99])
    assert max(map(cell_len, lines)) <= 80


def test_a_long_tree_ends_with_a_number(tmp_path: Path):
    """`--all` shows what is left."""
    path = written(tmp_path / "t.json", request(*(span(n, f"s{n}", n) for n in range(1, 2101))))

    assert "… 100 more spans: --all shows them" in view(path).stdout
    assert view(path, "--all").stdout.count(" ms ") == 2100


# ---- odd traces


def names_of(done: Any) -> list[tuple[int, str]]:
    (trace,) = json.loads(done.stdout)["traces"]
    return [(each["depth"], each["name"]) for each in trace["tree"]]


def test_a_trace_without_its_root(tmp_path: Path):
    """What has no parent here is a root."""
    spans = span(2, "a", 0, 10, parent=9), span(3, "b", 5, 9, parent=9), span(4, "c", parent=2)

    done = view(written(tmp_path / "t.json", request(*spans)), "--json")

    assert names_of(done) == [(0, "a"), (1, "c"), (0, "b")]
    assert "2 spans without the parent" in view(str(tmp_path / "t.json")).stdout


def test_cycles_of_parents(tmp_path: Path):
    """The earliest of them becomes a root; one that is its own parent is one."""
    spans = (
        span(1, "late", 5, 9, parent=2),
        span(2, "early", 1, 9, parent=1),
        span(3, "own", 7, 9, parent=3),
    )
    path = written(tmp_path / "t.json", request(*spans))

    assert names_of(view(path, "--json")) == [(0, "early"), (1, "late"), (0, "own")]
    done = view(path)
    assert done.exit_code == 0
    assert "2 cycles of parents" in done.stdout


def test_clocks_that_disagree(tmp_path: Path):
    """Ends before starts, children before their parents: no bar leaves its place."""
    spans = (
        span(1, "run", 1000, 2000),
        span(2, "before", 0, 500, parent=1),
        span(3, "after", 9000, 9500, parent=1),
        span(4, "backwards", 1500, 1400, parent=1),
        span(5, "no time", parent=1, startTimeUnixNano=0, endTimeUnixNano=2**70),
    )

    done = view(written(tmp_path / "t.json", request(*spans)))

    assert done.exit_code == 0
    bars = re.findall("[█▒·]{20,}", done.stdout)
    assert [len(bar) for bar in bars] == [20] * 5
    assert "2 spans before the parent began: clocks?" in done.stdout


def test_a_time_that_is_no_number(tmp_path: Path):
    """The sentence has what stands there, and no words of Python's."""
    path = written(tmp_path / "t.json", request(span(1, "run", startTimeUnixNano="noon")))

    done = view(path)

    assert done.exit_code == 1
    assert done.stderr == f"{path}: 1 span left out: 'noon' where a number was expected\n"


def test_a_span_that_comes_twice_is_one(tmp_path: Path):
    """The one that has ended counts."""
    path = written(
        tmp_path / "t.json", request(span(1, "run", 0, 20)), request(span(1, "run", 0, -1))
    )

    (trace,) = json.loads(view(path, "--json").stdout)["traces"]

    assert (trace["spans"], trace["duration_nanos"], trace["status"]) == (1, 20 * MILLI, "ok")


# ---- nothing a trace says reaches the terminal raw

EVIL = "\x1b]0;owned\x07\x1b[2J\r\x9b1m\u202egnp.exe\x00"


def test_escapes_never_reach_the_terminal(tmp_path: Path):
    """In names, types, errors, logs, ids, attributes: everywhere."""
    keys = ("flowspan.component.type", "flowspan.run.id", "input.value", "gen_ai.request.model")
    attributes: dict[str, Any] = dict.fromkeys((*keys, "flowspan.redacted", EVIL), EVIL)
    attributes["gen_ai.usage.input_tokens"] = 1
    event = {
        "name": "exception" + EVIL,
        "timeUnixNano": "1",
        "attributes": [{"key": "a", "value": {"stringValue": EVIL}}],
    }
    log = {
        "name": "flowspan.log",
        "timeUnixNano": "1",
        "attributes": [{"key": "log.message", "value": {"stringValue": EVIL}}],
    }
    made = span(1, EVIL, attributes=attributes, events=[event, log])
    made["status"] = {"code": 2, "message": EVIL}
    path = written(tmp_path / "t.json", request(made, service=EVIL))

    for options in ([], ["--span", "0"], ["--json"], ["--span", "0", "--json"], ["--trace", EVIL]):
        done = view(path, *options, columns=140)
        shown = done.stdout + done.stderr
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown), options
        assert "\u202e" not in shown, options


# ---- lists


def test_several_traces_are_a_list(two: str):
    """By start, with what each was and cost."""
    header, first, second, last = view(two, columns=120).stdout.splitlines()

    assert header.split() == [
        "started",
        "name",
        "duration",
        "status",
        "spans",
        "tokens",
        "errors",
        "trace",
    ]
    assert first.split()[1:] == [
        "Support",
        "bot",
        "100",
        "ms",
        "error",
        "3",
        "12/3",
        "1",
        "0af76519",
    ]
    assert second.split()[1:] == ["Trip", "planner", "1.50", "s", "ok", "1", "ffff7651"]
    assert re.fullmatch(r"2 traces, \d{4}-\d\d-\d\d; --trace ID shows one", last)


def test_a_list_on_forty_columns(two: str):
    """What, how long and how it ended are what is left."""
    header, first, *_ = view(two, columns=40).stdout.splitlines()

    assert header.split() == ["name", "duration", "status"]
    assert first.split() == ["Support", "bot", "100", "ms", "error"]


def test_trees_of_all(two: str):
    """`--tree` draws them one below the other."""
    done = view(two, "--tree")

    assert done.stdout.count("critical path") == 2
    assert "└─ Model" in done.stdout
    assert "Trip planner" in done.stdout


def test_a_long_list_shows_the_newest(tmp_path: Path):
    """`--all` lists the others."""
    requests = [request(span(1, f"r{n}", n, trace_id=f"{n:032x}")) for n in range(1, 61)]
    path = written(tmp_path / "t.json", *requests)

    shown = view(path).stdout

    assert "10 earlier traces: --all lists them" in shown
    assert " r60 " in shown
    assert " r1 " not in shown
    assert " r1 " in view(path, "--all").stdout


# ---- choose


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--trace", "0AF7"], "Support bot"),
        (["--trace", OTHER], "Trip planner"),
        (["--run", "run-2"], "Trip planner"),
        (["--errors"], "Support bot"),
        (["--name", "TRIP"], "Trip planner"),
        (["--name", "bot", "--errors"], "Support bot"),
    ],
)
def test_a_trace_is_chosen(two: str, options: list[str], name: str):
    """By the first digits of its id, its run, its name, or that something failed in it."""
    done = view(two, *options, "--json")

    assert [trace["name"] for trace in json.loads(done.stdout)["traces"]] == [name]
    assert "tree" in json.loads(done.stdout)["traces"][0]


def test_nothing_fits(two: str):
    """It says what was asked for, and exits with 1."""
    done = view(two, "--run", "run-3", "--errors")

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "No trace fits --run run-3 --errors: 2 traces were read\n"


# ---- one span


def test_all_of_one_span(one: str):
    """Inputs and outputs as JSON for people, events, links, attributes, and where it stands."""
    shown = view(one, "--span", "0000000000000002").stdout

    assert shown.startswith(
        "Search\nretriever, 30 ms (30 ms its own, 30 ms on the critical path)\nok\n"
    )
    assert '\ninputs\n{\n  "q": [\n    1,\n    2\n  ]\n}\n' in shown
    assert "\noutputs\ntext\n" in shown
    assert "\nevent flowspan.log, after 5 ms\n  log.message  2 rows\n" in shown
    assert "\nresource\n  service.name  bot\n" in shown
    assert f"\ntrace    {TRACE}\nspan     0000000000000002, below 0000000000000001\n" in shown
    model = view(one, "--span", "0000000000000003").stdout
    assert f"\nlink to 0000000000000002 (Search) of trace {TRACE}\n  edge  a\n" in model
    assert "\nerror    ConnectionError: refused\ntokens   12 in, 3 out\n" in model


def test_one_span_as_json(one: str):
    """With everything that it carries."""
    shown = json.loads(view(one, "--span", "0000000000000003", "--json").stdout)

    assert shown["name"] == "Model"
    assert shown["error"] == "ConnectionError: refused"
    assert shown["otel_status"] == "error"
    assert shown["attributes"]["flowspan.component.type"] == "llm"
    assert [link["span_id"] for link in shown["links"]] == ["0000000000000002"] * 2
    assert shown["events"][0]["name"] == "exception"


def test_which_span_is_to_be_clear(two: str):
    """Several are named, none is said."""
    done = view(two, "--span", "00", "--errors")

    assert done.exit_code == 2
    assert done.stderr.startswith(
        "--span 00 fits 3 spans: 0000000000000001 (Support bot), 0000000000000002 (Search)"
    )
    done = view(two, "--span", "abc")
    assert (done.exit_code, done.stderr) == (1, "No span fits --span abc\n")


# ---- JSON


def test_json_has_the_same_figures(one: str):
    """In nanoseconds, with the tree of the only trace."""
    (trace,) = json.loads(view(one, "--json").stdout)["traces"]
    tree = trace.pop("tree")

    assert trace == {
        "trace_id": TRACE,
        "run_id": "run-1",
        "name": "Support bot",
        "service": "bot",
        "start_nanos": 1_764_000_000_000_000_000,
        "duration_nanos": 100 * MILLI,
        "status": "error",
        "spans": 3,
        "tokens": {"input": 12, "output": 3},
        "errors": [{"span_id": "0000000000000003", "text": "ConnectionError: refused"}],
    }
    assert [(each["name"], each["self_nanos"], each["critical_nanos"]) for each in tree] == [
        ("Support bot", 10 * MILLI, 10 * MILLI),
        ("Search", 30 * MILLI, 30 * MILLI),
        ("Model", 60 * MILLI, 60 * MILLI),
    ]


# ---- files that are written


def test_otlp_json_is_read_back(one: str, tmp_path: Path):
    """All of it, by ourselves: written again it is the same."""
    first, second = str(tmp_path / "first.json"), str(tmp_path / "second.json")

    done = view(one, "--otlp-json", first)

    assert done.stdout == f"Wrote 1 trace, 3 spans to {first}\n"
    assert view(first).stdout == view(one).stdout
    view(first, "--otlp-json", second)
    assert Path(first).read_text() == Path(second).read_text()
    assert view(one, "--otlp-json", "-").stdout == Path(first).read_text()


def test_otlp_json_keeps_every_kind_of_value(tmp_path: Path):
    """Numbers beyond what JSON's readers hold are text, as OTLP wants it."""
    attributes = [
        {"key": key, "value": value}
        for key, value in {
            "a": {"intValue": "9223372036854775807"},
            "b": {"doubleValue": 1.0},
            "c": {"doubleValue": "NaN"},
            "d": {"bytesValue": "AAE="},
            "e": {"arrayValue": {"values": [{"boolValue": True}, {}]}},
            "f": {"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "é"}}]}},
            "g": {},
        }.items()
    ]
    path = written(tmp_path / "t.json", request(span(1, "a") | {"attributes": attributes}))

    (resource,) = json.loads(view(path, "--otlp-json", "-").stdout)["resourceSpans"]

    (back,) = resource["scopeSpans"][0]["spans"]
    assert back["attributes"] == attributes
    assert resource["scopeSpans"][0]["scope"] == {"name": "flowspan"}


WHOLE = {
    "resource": {"attributes": pairs({"service.name": "bot"})},
    "scopeSpans": [
        {
            "scope": {"name": "a", "version": "1.2", "attributes": pairs({"build": 7})},
            "spans": [
                span(
                    1,
                    "a",
                    attributes={"a": True},
                    parentSpanId="00000000000000ff",
                    traceState="rojo=1,congo=t61",
                    flags=0x101,
                    droppedAttributesCount=1,
                    droppedEventsCount=2,
                    droppedLinksCount=3,
                    status={"code": 2, "message": "refused"},
                    events=[
                        {
                            "name": "e",
                            "timeUnixNano": "9",
                            "attributes": pairs({"b": "c"}),
                            "droppedAttributesCount": 4,
                        }
                    ],
                    links=[
                        {
                            "traceId": OTHER,
                            "spanId": f"{2:016x}",
                            "traceState": "rojo=2",
                            "attributes": pairs({"d": 1.5}),
                            "droppedAttributesCount": 5,
                            "flags": 0x301,
                        }
                    ],
                )
            ],
        },
        {"scope": {"name": "a"}, "spans": [span(2, "b", 1, status={"code": 0, "message": ""})]},
    ],
}


@pytest.mark.parametrize("form", ["JSON", "protobuf"])
def test_otlp_json_keeps_what_no_view_shows(form: str):
    """Trace state, flags, what was dropped, the scope's version and attributes."""
    document = {"resourceSpans": [WHOLE]}
    if form == "JSON":
        spans = spans_in(orjson.dumps(document))
    else:
        spans = list(spans_of(protobuf_of(document), Store()))
    file = BytesIO()

    write([Trace(TRACE, spans)], file)

    found = json.loads(file.getvalue())["resourceSpans"]
    for each in found:
        assert each["resource"] == WHOLE["resource"]
    nothing: dict[str, Any] = {"attributes": [], "events": [], "links": []}
    scopes = [each["scopeSpans"] for each in found]
    for (scope,), expected in zip(scopes, WHOLE["scopeSpans"], strict=True):
        assert scope["scope"] == expected["scope"]
        (one,), (sent,) = scope["spans"], expected["spans"]
        assert {"parentSpanId": "", **one} == nothing | sent


@pytest.mark.parametrize(
    "wrong",
    [
        {"traceState": ["a"], "flags": "abc"},
        {"flags": -3, "droppedLinksCount": [1], "droppedEventsCount": "NaN"},
        {"droppedAttributesCount": {"a": 1}, "traceState": json.loads("[" * 600 + "]" * 600)},
    ],
)
def test_what_no_view_shows_costs_only_itself(wrong: dict[str, Any]):
    """Of a wrong type it is left out; the span is not."""
    file = BytesIO()

    given = json.dumps(request(span(1, "a", attributes={"a": 1}, **wrong)))
    (found,) = spans_in(given.encode())
    write([Trace(TRACE, [found])], file)

    (resource,) = json.loads(file.getvalue())["resourceSpans"]
    (back,) = resource["scopeSpans"][0]["spans"]
    assert back["name"] == "a"
    assert not set(back) & set(wrong)


@pytest.mark.parametrize("field", [3, 10, 12, 14, 16])
def test_a_field_of_another_type_is_no_span(field: int):
    """As for each field that the views show."""
    message = framed(1, bytes(range(16))) + framed(2, bytes(range(8))) + tag(field, 1) + bytes(8)
    body = framed(1, framed(2, framed(2, message)))

    with pytest.raises(ValueError, match="not of OTLP's type"):
        list(spans_of(body, Store()))


def protobuf_of(document: Any) -> bytes:
    """The request, whose ids are base64 in protobuf's own JSON."""

    def with_ids(part: Any) -> Any:
        if isinstance(part, list):
            return [with_ids(each) for each in part]
        if not isinstance(part, dict):
            return part
        return {
            key: b64encode(bytes.fromhex(each)).decode() if key.endswith("Id") else with_ids(each)
            for key, each in part.items()
        }

    return ParseDict(with_ids(document), ExportTraceServiceRequest()).SerializeToString()


def test_a_page_is_written(two: str, tmp_path: Path):
    """Of the traces that were chosen."""
    page = tmp_path / "page.html"

    done = view(two, "--errors", "--html", str(page))

    assert done.stdout == f"Wrote 1 trace, 3 spans to {page}\n"
    assert page.read_text().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("option", ["--html", "--otlp-json"])
def test_a_file_that_cannot_be_written(one: str, option: str, tmp_path: Path):
    """One sentence, exit code 1."""
    path = tmp_path / "no" / "file"

    done = view(one, option, str(path))

    assert done.exit_code == 1
    assert done.stderr == f"{path}: cannot be written (No such file or directory)\n"
    assert done.stdout == ""


# ---- how it is asked


def test_nothing_to_look_at():
    """A file that is not there, or none, is a wrong argument."""
    done = view("/no/such.json")
    assert done.exit_code == 2
    assert done.stderr == "/no/such.json: cannot be read (No such file or directory)\n"
    done = view("/")
    assert done.exit_code == 2
    assert done.stderr == "/: cannot be read (Is a directory)\n"


def test_one_of_several_files_is_not_there(one: str):
    """The others are shown, and the exit code is 1."""
    done = view("/no/such.json", one)

    assert done.exit_code == 1
    assert "Support bot" in done.stdout


def test_the_standard_input(one: str):
    """By `-`, or by itself where it is no terminal."""
    content = Path(one).read_bytes()

    assert view("-", stdin=content).stdout == view(stdin=content).stdout == view(one).stdout


def test_without_arguments_at_a_terminal():
    """It does not wait for what nobody types."""
    import pty

    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [str(Path(sys.executable).parent / "flowspan"), "view"],
            stdin=theirs,
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert done.returncode == 2
    assert done.stderr.startswith(b"Nothing to look at: name a file with traces")


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """What a person sees."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "flowspan"), "view", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", "PYTHONUTF8": "1", **variables},
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 1 << 16):
            seen += part
    except OSError:  # the other side has closed
        pass
    finally:
        os.close(ours)
    assert process.wait(60) == 0
    return seen.decode()


def test_colour_is_for_terminals(one: str):
    """There it is, unless NO_COLOR says no."""
    assert "\x1b[1;31m" in on_a_terminal(one, COLUMNS="80")
    assert not re.search(r"\x1b\[[\d;]*3\dm", on_a_terminal(one, COLUMNS="80", NO_COLOR="1"))
    assert "\x1b" not in view(one).stdout


def test_a_reader_that_goes_away(one: str):
    """`flowspan view … | head` ends without a word."""
    command = f"{Path(sys.executable).parent / 'flowspan'} view {one} --all | true"

    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stderr == ""


def test_output_that_finds_no_room(one: str):
    """One sentence, exit code 1."""
    command = f"{Path(sys.executable).parent / 'flowspan'} view {one} > /dev/full"

    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stderr == "the standard output cannot be written (No space left on device)\n"


# ---- the spool


def left_in(directory: Path, *names: str) -> tuple[TracerProvider, DurableSpanProcessor]:
    """Spans that no collector takes."""
    provider = TracerProvider(shutdown_on_exit=False)
    processor = DurableSpanProcessor(
        endpoint="http://127.0.0.1:9/v1/traces", spool_dir=str(directory)
    )
    provider.add_span_processor(processor)
    for name in names:
        provider.get_tracer("app").start_span(name).end()
    return provider, processor


def test_what_waits_in_a_spool(tmp_path: Path):
    """Nothing in it changes by looking."""
    directory = tmp_path / "spool"
    _, processor = left_in(directory, "one", "two")
    processor.shutdown()
    before = {path.name: path.read_bytes() for path in directory.iterdir()}

    done = view("--spool", str(directory), "--json")

    assert [trace["name"] for trace in json.loads(done.stdout)["traces"]] == ["one", "two"]
    assert (done.exit_code, done.stderr) == (0, "")
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_the_configured_spool(tmp_path: Path):
    """Without a directory it is that of FLOWSPAN_SPOOL_DIR; none is said."""
    directory = tmp_path / "spool"
    _, processor = left_in(directory, "one")
    processor.shutdown()

    assert "one" in view("--spool", FLOWSPAN_SPOOL_DIR=str(directory)).stdout
    done = view("--spool", FLOWSPAN_SPOOL_DIR="none")
    assert done.exit_code == 2
    assert done.stderr == "FLOWSPAN_SPOOL_DIR is none: nothing waits on the disk\n"


def test_an_empty_spool(tmp_path: Path):
    """Well: nothing waits. A directory that is not there, named, is a wrong argument."""
    done = view("--spool", str(tmp_path))
    assert (done.exit_code, done.stderr) == (0, f"Nothing waits in {tmp_path}\n")
    done = view("--spool", str(tmp_path / "no"))
    assert done.exit_code == 2
    assert done.stderr == (
        f"--spool='{tmp_path}/no': expected the directory of a spool (No such file or directory)\n"
    )


def test_open_spans_of_a_process_that_lives(tmp_path: Path):
    """They are shown as open, and their process keeps them."""
    directory = tmp_path / "spool"
    provider, processor = left_in(directory)
    open_span = provider.get_tracer("app").start_span("goes on")
    try:
        wait_for(lambda: list(directory.glob("*.open")), timeout=20)
        done = wait_for(
            lambda: view("--spool", str(directory), "--json"),
            until=lambda done: json.loads(done.stdout)["traces"],
            timeout=20,
        )
    finally:
        open_span.end()
        processor.shutdown()

    (trace,) = json.loads(done.stdout)["traces"]
    assert (trace["name"], trace["status"]) == ("goes on", "open")


def test_a_spool_in_use_or_damaged(tmp_path: Path):
    """What is damaged is counted, the rest is shown."""
    directory = tmp_path / "spool"
    _, processor = left_in(directory, "one")
    processor.shutdown()
    _, processor = left_in(directory, "two")
    processor.shutdown()
    first = min(directory.glob("*.spans"))
    content = bytearray(first.read_bytes())
    content[content.index(b"one")] ^= 1
    first.write_bytes(content)

    done = view("--spool", str(directory))

    assert done.exit_code == 1
    assert done.stderr == f"{directory}: {first.name} has 1 damaged record\n"
    assert "two" in done.stdout


# ---- the model


def test_a_trace_is_a_tree_whatever_its_parents():
    """Children by start; `parent` agrees with `children`, also where a cycle was opened."""

    def made(name: str, start: int, parent: str) -> Span:
        return Span(trace_id="t", span_id=name, parent_id=parent, name=name, start=start, end=9)

    trace = Trace("t", [made("a", 2, "b"), made("b", 1, "a"), made("c", 0, "b")])

    assert [root.name for root in trace.roots] == ["b"]
    assert trace.parent(trace.roots[0]) is None
    assert [each.name for each in trace.children(trace.roots[0])] == ["c", "a"]


def test_help_does_not_load_what_it_does_not_need():
    """`flowspan --help` is for people who wait."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom flowspan.cli import main\n"
        "assert CliRunner().invoke(main, ['view', '--help']).exit_code == 0\n"
        "heavy = [m for m in sys.modules if m.startswith(('rich', 'h2', "
        "'flowspan.cli.view._'))]\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
