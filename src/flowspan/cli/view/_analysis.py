"""
What a trace says once it is added up: self times, the critical path, tokens, where errors began.

Leans on `_model` alone, draws nothing. Whatever the clocks of a trace say, no figure is negative
and each moment of a span counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from flowspan import semconv
from flowspan.cli.view._model import Span, Trace

OPEN: Final = "open"

_USAGE: Final = (
    (semconv.GEN_AI_USAGE_INPUT_TOKENS, semconv.GEN_AI_USAGE_OUTPUT_TOKENS),
    (semconv.USAGE_INPUT_TOKENS, semconv.USAGE_OUTPUT_TOKENS),
    ("llm.token_count.prompt", "llm.token_count.completion"),  # OpenInference
    ("gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens"),  # before semconv 1.27
)
USAGE_KEYS: Final = tuple(key for pair in _USAGE for key in pair)


class Tokens(NamedTuple):
    """Tokens that went into models and came out of them."""

    input: int = 0
    output: int = 0


class Section(NamedTuple):
    """A stretch of the critical path: from *start* to *end* the trace waited for *span* itself."""

    span: Span
    start: int
    end: int


@dataclass(slots=True)
class Analysis:
    """
    The figures of one trace; nanoseconds, by span id.

    *self_times*: a span's duration without the time in which a child of it ran.
    *critical*: the spans on the critical path, and how much of the path is their own.
    *path*: its sections by time. *tokens*: of the whole trace, each counted once.
    *errors*: the spans where an error began; those it passed through on its way up are left out.
    """

    trace: Trace
    duration: int
    status: str
    tokens: Tokens
    errors: list[Span]
    self_times: dict[str, int] = field(default_factory=dict)
    critical: dict[str, int] = field(default_factory=dict)
    path: list[Section] = field(default_factory=list)


def analyse(trace: Trace) -> Analysis:
    found = summarise(trace)
    below = _running_below(trace)
    for span in trace.spans:
        window = span.start, _end(span, trace)
        inside = below.get(span.span_id, ())
        found.self_times[span.span_id] = window[1] - window[0] - _covered(inside, window, trace)
    for root in trace.roots:
        path = list(_critical(root, below, trace, found.critical))
        found.path += reversed(path)
    for section in found.path:
        found.critical[section.span.span_id] += section.end - section.start
    return found


def summarise(trace: Trace) -> Analysis:
    """What a list of runs shows; without self times and path, which cost more."""
    root = trace.root
    if root.end == 0:
        duration, status = trace.end - root.start, OPEN
    else:
        duration, status = root.duration, root.outcome
    return Analysis(trace, max(0, duration), status, _tokens(trace), _origins(trace))


def tokens_of(span: Span) -> Tokens:
    """What the span itself says, by any of the names that are in use."""
    for given, made in _USAGE:
        tokens = Tokens(_count(span.attributes.get(given)), _count(span.attributes.get(made)))
        if any(tokens):
            return tokens
    return Tokens()


def error_text(span: Span) -> str:
    """Type and message of what went wrong there, as much of it as the span says; else empty."""
    for event in reversed(span.events):
        if event.name == semconv.EXCEPTION:
            said = [
                str(event.attributes.get(name) or "")
                for name in (semconv.EXCEPTION_TYPE, semconv.EXCEPTION_MESSAGE)
            ]
            if any(said):
                return ": ".join(part for part in said if part)
    kind = str(span.attributes.get(semconv.ERROR_TYPE) or "")
    if not span.status_message or span.status_message.startswith(kind):
        return span.status_message or kind
    return f"{kind}: {span.status_message}" if kind else span.status_message


def _count(value: object) -> int:
    """A number of tokens; anything else counts nothing."""
    if isinstance(value, (int, float)) and value == value and 0 <= value < 2**63:
        return int(value)
    return 0


def _end(span: Span, trace: Trace) -> int:
    """An open span goes on as long as its trace."""
    return max(span.start, span.end or trace.end)


# ---- tokens and errors: sums from the leaves up


def _tokens(trace: Trace) -> Tokens:
    """
    A span that carries tokens speaks for those below it, whether it adds them up (a run, an
    agent) or they say the same again (a model call below its component): the larger counts.
    """
    sums: dict[str, Tokens] = {}
    given = output = 0
    for span, depth in reversed(list(trace.walk())):
        own = tokens_of(span)
        below = sums.pop(span.span_id, Tokens())
        found = Tokens(max(own.input, below.input), max(own.output, below.output))
        if not any(found):
            continue
        if depth:
            above = sums.get(span.parent_id, Tokens())
            sums[span.parent_id] = Tokens(above.input + found.input, above.output + found.output)
        else:
            given += found.input
            output += found.output
    return Tokens(given, output)


def _origins(trace: Trace) -> list[Span]:
    failed = [span for span in trace.spans if span.is_error]
    passed = set()
    for span in failed:
        above = trace.parent(span)
        while above is not None and above.span_id not in passed:
            passed.add(above.span_id)
            above = trace.parent(above)
    return [span for span in failed if span.span_id not in passed]


# ---- times


def _running_below(trace: Trace) -> Mapping[str, Sequence[Span]]:
    """
    The children that a span had to wait for, by its id.

    One that starts after its parent has ended belongs to whoever above was still running: so it is
    where the parent is the component before it (`FLOWSPAN_PARENTING=edge`).
    """
    holder: dict[str, Span | None] = {}
    below: dict[str, list[Span]] = {}
    for span, depth in trace.walk():
        above = trace.parent(span) if depth else None
        while above is not None and span.start >= _end(above, trace):
            above = holder[above.span_id]
        holder[span.span_id] = above
        if above is not None:
            below.setdefault(above.span_id, []).append(span)
    return below


def _covered(spans: Sequence[Span], window: tuple[int, int], trace: Trace) -> int:
    """How much of the window is within at least one of *spans*."""
    covered, at = 0, window[0]
    for span in sorted(spans, key=lambda span: span.start):
        start, end = max(at, span.start), min(window[1], _end(span, trace))
        if end > start:
            covered += end - start
            at = end
    return covered


@dataclass(slots=True)
class _Visit:
    span: Span
    start: int
    cursor: int  # the path is known from here on
    below: Iterator[Span]


def _critical(
    root: Span, below: Mapping[str, Sequence[Span]], trace: Trace, visited: dict[str, int]
) -> Iterator[Section]:
    """
    From the end back, as Jaeger does it: a span waited for the child that ended last, before that
    for the last one that had ended when this one started, and for itself in between.
    """

    def visit(span: Span, start: int, end: int) -> _Visit:
        visited[span.span_id] = 0
        inside = below.get(span.span_id, ())
        return _Visit(
            span, start, end, iter(sorted(inside, key=lambda s: _end(s, trace), reverse=True))
        )

    stack = [visit(root, root.start, _end(root, trace))]
    limits = [stack[0].cursor]
    while stack:
        now = stack[-1]
        for child in now.below:
            start, end = max(now.start, child.start), min(limits[-1], _end(child, trace))
            if start < end <= now.cursor:
                if end < now.cursor:
                    yield Section(now.span, end, now.cursor)
                now.cursor = start
                stack.append(visit(child, start, end))
                limits.append(end)
                break
        else:
            if now.start < now.cursor:
                yield Section(now.span, now.start, now.cursor)
            stack.pop()
            limits.pop()
