"""
What was recorded, to read and to compare: spans with their values parsed, and trees of them.

Reads finished SDK spans; knows nothing of where they come from.
"""

from __future__ import annotations

import difflib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, TracerProvider

from flowspan import semconv


class Tree(dict[str, "Tree"]):
    """
    Names, and below each the tree of its children: `{"Support bot": {"Prompt": {}}}`.

    Equal to a plain dictionary of that shape. A second span of a name, below the same parent,
    reads `name#2`.
    """


def lines_of(tree: Mapping[str, Any]) -> list[str]:
    """A line for each name, by name: in which order they started is not compared either."""
    found: list[str] = []
    for name in sorted(tree):
        found.append(name)
        found += [f"  {line}" for line in lines_of(tree[name])]
    return found


def differences(left: Any, right: Any) -> list[str] | None:
    """What is shown when a tree is not the one expected; None for what are no two trees."""
    if not isinstance(left, Tree):
        left, right = right, left
    if not isinstance(left, Tree) or not isinstance(right, dict):
        return None
    expected: Any = right
    lines = difflib.ndiff(lines_of(expected), lines_of(left))
    shown = [line for line in lines if not line.startswith("?")]
    return ["recorded (+) is not what is expected (-)", *shown]


def ids_of(span: ReadableSpan) -> tuple[int, int]:
    context: Any = span.get_span_context()
    return context.trace_id, context.span_id


class RecordedSpan:
    """A span that has ended. *span* is the SDK's own, with everything else there is."""

    def __init__(self, span: ReadableSpan) -> None:
        self.span = span
        self.parent: RecordedSpan | None = None
        """None also where the parent has not ended, or was not recorded here."""
        self.children: list[RecordedSpan] = []
        """By start."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecordedSpan) and self.span is other.span

    def __hash__(self) -> int:
        return id(self.span)

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def attributes(self) -> dict[str, Any]:
        return dict(self.span.attributes or {})

    @property
    def kind(self) -> str:
        """`run`, `component`, `call` (of a model, a tool, …) or, of any other scope, `span`."""
        scope = self.span.instrumentation_scope
        if scope is None or scope.name != semconv.SCOPE_NAME:
            return "span"
        if semconv.RUN_NAME in self.attributes:
            return "run"
        return "component" if semconv.COMPONENT_ID in self.attributes else "call"

    @property
    def type(self) -> str:
        """Of a component as it was given, such as `prompt`; else the kind."""
        return str(self.attributes.get(semconv.COMPONENT_TYPE) or self.kind)

    @property
    def status(self) -> str:
        """`ok`, `error`, `cancelled`, `paused` or `abandoned`."""
        for name in (semconv.RUN_STATUS, semconv.COMPONENT_STATUS, semconv.CALL_STATUS):
            if name in self.attributes:
                return str(self.attributes[name])
        failed = self.span.status.status_code is StatusCode.ERROR
        return semconv.STATUS_ERROR if failed else semconv.STATUS_OK

    @property
    def error(self) -> str | None:
        """The kind of what went wrong, such as `ValueError`."""
        found = self.attributes.get(semconv.ERROR_TYPE)
        return None if found is None else str(found)

    @property
    def inputs(self) -> Any:
        """As they were recorded: redacted, bounded, in JSON's types; None if there are none."""
        return self._value(semconv.INPUT_VALUE, semconv.INPUT_MIME_TYPE)

    @property
    def outputs(self) -> Any:
        return self._value(semconv.OUTPUT_VALUE, semconv.OUTPUT_MIME_TYPE)

    def _value(self, name: str, mime_type: str) -> Any:
        text = self.attributes.get(name)
        is_json = self.attributes.get(mime_type) == semconv.MIME_JSON
        return json.loads(text) if isinstance(text, str) and is_json else text

    @property
    def logs(self) -> list[str]:
        """The messages of `add_log`, as text or JSON."""
        logs = (event for event in self.span.events if event.name == semconv.LOG)
        return [str((event.attributes or {}).get(semconv.LOG_MESSAGE)) for event in logs]

    @property
    def trace_id(self) -> str:
        return f"{ids_of(self.span)[0]:032x}"

    @property
    def span_id(self) -> str:
        return f"{ids_of(self.span)[1]:016x}"

    @property
    def run_id(self) -> str | None:
        found = self.attributes.get(semconv.RUN_ID)
        return None if found is None else str(found)

    @property
    def duration(self) -> float:
        """Seconds, by the fixed clock."""
        return ((self.span.end_time or 0) - (self.span.start_time or 0)) / 1e9

    def tree(self) -> Tree:
        """Of this span, with its name at the top."""
        return _tree([self])

    def outline(self) -> str:
        """A line for each span below, with its type and status, its values and its logs."""
        return "\n".join(self._lines())

    def _lines(self) -> list[str]:
        ended = self.status if self.error is None else f"{self.status} {self.error}"
        lines = [f"{self.name} ({self.type}) {ended}"]
        for label, value in (("inputs", self.inputs), ("outputs", self.outputs)):
            if value is not None:
                lines.append(f"  {label} {json.dumps(value, ensure_ascii=False)}")
        lines += [f"  log {message}" for message in self.logs]
        return lines + [f"  {line}" for child in self.children for line in child._lines()]

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name!r} {self.status}>"


def related(spans: Iterable[ReadableSpan]) -> list[RecordedSpan]:
    """*spans* by start, with their parents and children."""
    known: dict[tuple[int, int], RecordedSpan] = {}
    for span in sorted(spans, key=lambda one: one.start_time or 0):
        known[ids_of(span)] = RecordedSpan(span)
    for recorded in known.values():
        above = recorded.span.parent
        if above is not None:
            recorded.parent = known.get((above.trace_id, above.span_id))
        if recorded.parent is not None:
            recorded.parent.children.append(recorded)
    return list(known.values())


def _tree(spans: Iterable[RecordedSpan]) -> Tree:
    tree = Tree()
    for span in spans:
        name, number = span.name, 1
        while name in tree:
            number += 1
            name = f"{span.name}#{number}"
        tree[name] = _tree(span.children)
    return tree


class RecordedSpans:
    """
    The spans that have ended since the test began, of every run in the process. Thread-safe.

    *tracer_provider*: for spans of your own, or of an instrumentation, that shall be among them.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider,
        advance: Callable[[float], None],
        end_open: Callable[[], list[str]],
    ) -> None:
        self.tracer_provider = tracer_provider
        self.reports: list[str] = []
        """Misuse and failures of flowspan's own that were reported, each time, by kind."""
        self._ended: list[ReadableSpan] = []
        self._lock = threading.Lock()
        self._advance = advance
        self._end_open = end_open

    def all(self) -> list[RecordedSpan]:
        """By start, with parents and children."""
        with self._lock:
            ended = list(self._ended)
        return related(ended)

    def runs(self, name: str | None = None) -> list[RecordedSpan]:
        """The runs, nested ones as well, of that name."""
        return [s for s in self.all() if s.kind == "run" and name in (None, s.name)]

    def named(self, name: str) -> RecordedSpan:
        """The only span of that name. AssertionError, with what there is, if it is not one."""
        found = [span for span in self.all() if span.name == name]
        if len(found) != 1:
            there = "\n".join(lines_of(self.tree())) or "nothing has ended"
            raise AssertionError(f"{len(found)} spans are called {name!r}; there is:\n{there}")
        return found[0]

    def tree(self) -> Tree:
        """
        The spans that have ended as nested dictionaries of names, the roots at the top.

        Compared with `==` to the one that is expected; pytest shows where they differ.
        """
        return _tree(span for span in self.all() if span.parent is None)

    def outline(self) -> str:
        """`RecordedSpan.outline` of each root: all that is fixed, as one text to compare."""
        return "\n".join(span.outline() for span in self.all() if span.parent is None)

    def clear(self) -> None:
        """Forget what has ended so far."""
        with self._lock:
            self._ended.clear()

    def advance(self, seconds: float) -> None:
        """Move the clock; by itself it moves a millisecond each time it is read."""
        self._advance(seconds)

    def end_open(self) -> list[str]:
        """
        End what is open, as a shutdown does (`abandoned`), and return what that was.

        For a test of code that leaves a run open on purpose: then it is no leak.
        """
        return self._end_open()

    def _add(self, span: ReadableSpan) -> None:
        with self._lock:
            self._ended.append(span)

    def __repr__(self) -> str:
        return f"<{len(self._ended)} spans>\n{self.outline()}"
