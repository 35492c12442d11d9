"""Traces for the tests of `flowspan view`: in OTLP's JSON, and the command itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from flowspan.cli import main
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._inputs import Intake
from flowspan.cli.view._model import Span

START = 1_764_000_000_000_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
MILLI = 1_000_000


def value(content: Any) -> dict[str, Any]:
    """An `AnyValue`."""
    if isinstance(content, bool):
        return {"boolValue": content}
    if isinstance(content, int):
        return {"intValue": str(content)}
    if isinstance(content, float):
        return {"doubleValue": content}
    if isinstance(content, list):
        return {"arrayValue": {"values": [value(item) for item in content]}}
    return {"stringValue": content}


def pairs(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value(content)} for key, content in attributes.items()]


def span(
    number: int,
    name: str,
    start: int = 0,
    end: int = 10,
    *,
    parent: int = 0,
    trace_id: str = TRACE,
    attributes: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The span *number* in JSON; *start* and *end* in milliseconds from `START`."""
    made = {
        "traceId": trace_id,
        "spanId": f"{number:016x}",
        "parentSpanId": f"{parent:016x}" if parent else "",
        "name": name,
        "kind": 1,
        "startTimeUnixNano": str(START + start * MILLI),
        "endTimeUnixNano": str(START + end * MILLI) if end >= 0 else "0",
        "attributes": pairs(attributes or {}),
        "status": {},
    }
    return made | more


def request(*spans: dict[str, Any], service: str = "bot") -> dict[str, Any]:
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": pairs({"service.name": service})},
                "scopeSpans": [{"scope": {"name": "flowspan"}, "spans": list(spans)}],
            }
        ]
    }


def support_bot(trace_id: str = TRACE, run_id: str = "run-1", after: int = 0) -> dict[str, Any]:
    """A run of three components, of which the last fails."""
    said = {"exception.type": "ConnectionError", "exception.message": "refused"}
    failed = {"code": 2, "message": "refused"}
    event = {
        "name": "exception",
        "timeUnixNano": str(START + (after + 99) * MILLI),
        "attributes": pairs(said),
    }
    log = {
        "name": "flowspan.log",
        "timeUnixNano": str(START + (after + 15) * MILLI),
        "attributes": pairs({"log.message": "2 rows"}),
    }
    link = {"traceId": trace_id, "spanId": f"{2:016x}", "attributes": pairs({"edge": "a"})}
    of_run = {"flowspan.run.id": run_id}

    def kind(name: str) -> dict[str, Any]:
        return {**of_run, "flowspan.component.type": name}

    usage = {"gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 3}
    return request(
        span(
            1,
            "Support bot",
            after,
            after + 100,
            trace_id=trace_id,
            attributes={
                **of_run,
                "flowspan.run.status": "error",
                "input.value": '{"question": "Where?"}',
            },
            status={"code": 2},
        ),
        span(
            2,
            "Search",
            after + 10,
            after + 40,
            parent=1,
            trace_id=trace_id,
            attributes={**kind("retriever"), "input.value": '{"q":[1,2]}', "output.value": "text"},
            events=[log],
        ),
        span(
            3,
            "Model",
            after + 40,
            after + 100,
            parent=1,
            trace_id=trace_id,
            attributes={**kind("llm"), **usage},
            events=[event],
            links=[link, link],
            status=failed,
        ),
    )


def written(path: Path, *documents: Any) -> str:
    """A file with one document a line."""
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return str(path)


def spans_in(content: bytes, *, problems: Sequence[str] = ()) -> list[Span]:
    """What is read of a file, in the order in which it stands there."""
    collection = Collection()
    intake = Intake(collection)
    intake._documents("x", BytesIO(content))
    assert intake.problems == list(problems)
    return [each for trace in collection.traces() for each in trace.spans]


def view(
    *arguments: str, stdin: bytes | None = None, columns: int = 80, **variables: str
) -> Result:
    """`flowspan view`, in this process; its output as a pipe gets it."""
    environment = {"COLUMNS": str(columns), "TZ": "UTC", **variables}
    done = CliRunner().invoke(main, ["view", *arguments], input=stdin, env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done
