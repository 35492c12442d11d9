"""Traces to look at, and the page of them in a real Chromium."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flowspan import semconv
from flowspan.cli.view._model import ERROR, Event, Link, Span, Trace
from flowspan.cli.view._page import write

START = 1_790_000_000_000_000_000
MS = 1_000_000
RESOURCE = {"service.name": "flows", "host.name": "node-7"}
HOW_TO_GET_CHROMIUM = "needs Chromium and playwright: apt-get install -y chromium"


class Flow:
    """A trace that is made span by span; times in milliseconds since its start."""

    def __init__(
        self, name: str, *, until: int = 1000, number: int = 1, after: int = 0, **attributes: Any
    ) -> None:
        self.trace_id = f"{number:032x}"
        self.run_id = f"run-{number}"
        self.after = after
        self.spans: list[Span] = []
        run = {
            semconv.RUN_ID: self.run_id,
            semconv.RUN_STATUS: "ok",
            semconv.GEN_AI_OPERATION_NAME: "invoke_workflow",
        }
        self.root = self.span(name, 0, until, {**run, **attributes})

    def span(
        self,
        name: str,
        start: int,
        end: int | None,
        attributes: Mapping[str, Any] | None = None,
        *,
        parent: Span | None = None,
        **fields: Any,
    ) -> Span:
        begin = START + (self.after + start) * MS
        span = Span(
            trace_id=self.trace_id,
            span_id=f"{len(self.spans) + 1:016x}",
            parent_id=parent.span_id if parent is not None else "",
            name=name,
            start=begin,
            end=begin + (end - start) * MS if end is not None else 0,
            attributes=attributes or {},
            service="flows",
            scope="flowspan",
            resource=RESOURCE,
            **fields,
        )
        self.spans.append(span)
        return span

    def component(
        self,
        name: str,
        start: int,
        end: int | None,
        *,
        type: str = "data",
        after: Sequence[Span] = (),
        parent: Span | None = None,
        id: str | None = None,
        events: Sequence[Event] = (),
        error: str = "",
        **attributes: Any,
    ) -> Span:
        own = id or name
        links = [
            Link(
                trace_id=self.trace_id,
                span_id=before.span_id,
                attributes={
                    semconv.LINK_TYPE: "edge",
                    semconv.EDGE_SOURCE: f"{before.attributes[semconv.GRAPH_NODE_ID]}.text",
                    semconv.EDGE_TARGET: f"{own}.input",
                },
            )
            for before in after
        ]
        given = {
            semconv.RUN_ID: self.run_id,
            semconv.COMPONENT_TYPE: type,
            semconv.GRAPH_NODE_ID: own,
            semconv.GRAPH_NODE_NAME: name,
            **{key.replace("__", "."): value for key, value in attributes.items()},
        }
        failed = {"status": ERROR, "status_message": error} if error else {}
        return self.span(
            name,
            start,
            end,
            given,
            parent=parent or self.root,
            events=events,
            links=links,
            **failed,
        )

    def log(self, at: int, message: str) -> Event:
        time = START + (self.after + at) * MS
        return Event(name=semconv.LOG, time=time, attributes={semconv.LOG_MESSAGE: message})

    def trace(self) -> Trace:
        return Trace(self.trace_id, self.spans)


def research() -> Flow:
    """A run with everything: a loop, a branch, a call, an error, messages, logs."""
    question = {"role": "user", "parts": [{"type": "text", "content": "Three hotels in Lisbon?"}]}
    answer = {"role": "assistant", "parts": [{"type": "text", "content": "Alfama Rooms, 174 €."}]}
    flow = Flow(
        "Research",
        until=1000,
        **{
            semconv.RUN_STATUS: "error",
            semconv.SESSION_ID: "chat-42",
            semconv.GEN_AI_INPUT_MESSAGES: json.dumps([question]),
            semconv.GEN_AI_OUTPUT_MESSAGES: json.dumps([answer]),
        },
    )
    chat = flow.component("Chat Input", 0, 20, type="chat_input")
    usage = {"gen_ai__usage__input_tokens": 412, "gen_ai__usage__output_tokens": 58}
    step = chat
    for turn in range(2):
        begin = 20 + turn * 300
        loop = flow.component("Loop", begin, begin + 20, after=[step])
        search = flow.component(
            "Web Search",
            begin + 20,
            begin + 200,
            type="tool",
            after=[loop],
            input__value=json.dumps(
                {"query": {"city": "Lisbon", "nights": [1, 2, {"deep": True}]}}
            ),
            output__value=f"page {turn}",
        )
        cache = flow.component("Cache", begin + 20, begin + 60, after=[loop])
        step = flow.component(
            "Model", begin + 200, begin + 300, type="llm", after=[search, cache], **usage
        )
    report = flow.component(
        "Report", 620, 900, after=[step, chat], events=[flow.log(700, "half of it is written")]
    )
    flow.component("get_rates", 650, 850, type="tool", parent=report)
    failure = Event(
        name=semconv.EXCEPTION,
        time=START + 990 * MS,
        attributes={
            semconv.EXCEPTION_TYPE: "ConnectionError",
            semconv.EXCEPTION_MESSAGE: "mail.example.com: 421",
            semconv.EXCEPTION_STACKTRACE: 'Traceback:\n  File "mail.py", line 7, in send',
        },
    )
    flow.component("Mail", 900, 990, after=[report], events=[failure], error="421")
    return flow


def many(spans: int) -> Flow:
    """One run with that many spans, in groups of ten."""
    flow = Flow("Evaluation", until=spans * 10)
    group = flow.root
    for at in range(1, spans):
        begin = at * 10
        if at % 10 == 1:
            group = flow.component(f"Case {at}", begin, begin + 95, type="agent", id="Case")
        else:
            flow.component(
                f"Step {at}",
                begin,
                begin + 9,
                parent=group,
                id=f"Step-{at % 10}",
                input__value=json.dumps({"number": at, "text": "a parcel for Lisbon " * 20}),
                output__value=f"answer {at}",
                events=[flow.log(begin + 5, "well")],
            )
    return flow


def save(path: Path, *flows: Flow | Trace) -> Path:
    traces = [flow.trace() if isinstance(flow, Flow) else flow for flow in flows]
    with path.open("w", encoding="utf-8") as file:
        write(traces, file)
    return path


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def can_open_pages() -> bool:
    return chromium() is not None and find_spec("playwright") is not None


@contextmanager
def running_browser() -> Iterator[Any]:
    """It can reach nothing: no name resolves."""
    from playwright.sync_api import sync_playwright

    flags = ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-component-update"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
        yield browser
        browser.close()
