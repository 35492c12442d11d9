"""
What can be done to an encoded request without decoding it: count, split, shrink, correct.

A request is `ExportTraceServiceRequest` in protobuf bytes, whoever encoded it. Each function gives
back bytes as valid as those it got; bytes that are no request are a ValueError. Leans on `_wire`
and `_otlp` for reading; never on protobuf objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flowspan import semconv
from flowspan.delivery._encoder import Batch
from flowspan.delivery._otlp import (
    ATTRIBUTES,
    END,
    FIXED,
    SPAN_ID,
    START,
    TRACE_ID,
    content,
    fixed,
    holds,
    mapped,
    pair,
    read_pair,
    rebuilt,
    spans_of,
    text,
)
from flowspan.delivery._shrink import shrink as shrink
from flowspan.delivery._wire import FIXED64, Field, fields, framed, tag

_END_TAG: Final = tag(END, FIXED64)


def count(body: bytes) -> int:
    """How many spans *body* holds."""
    return sum(1 for _ in spans_of(body))


def span_ids(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The trace id and span id of each span, in their order."""
    for span in spans_of(body):
        trace_id = span_id = b""
        for field in fields(body, span.value, span.end):
            if field.number == TRACE_ID:
                trace_id = content(body, field)
            elif field.number == SPAN_ID:
                span_id = content(body, field)
        yield trace_id, span_id


def split(body: bytes) -> tuple[Batch, Batch]:
    """Two requests with half of the spans each, in their order. Needs at least two spans."""
    total = count(body)
    if total < 2:
        raise ValueError("a request of less than two spans cannot be split")
    half = total // 2
    return Batch(_part(body, 0, half), half), Batch(_part(body, half, total), total - half)


def mark_abandoned(body: bytes, now_nanos: int) -> bytes:
    """
    *body* with its open spans ended: now, or at their start if the clock went back since then.

    `flowspan.status` says `abandoned`; the span's own status stays as it was.
    """
    mark = pair(semconv.SPAN_STATUS, text(semconv.STATUS_ABANDONED))

    def ended(span: bytes) -> bytes:
        start = 0
        out = []
        for field in fields(span):
            if field.number == START:
                start = fixed(span, field)
            elif field.number == END or _is_status(span, field):
                continue
            out.append(span[field.start : field.end])
        end = max(start, min(max(now_nanos, 0), 2**64 - 1))
        out += (_END_TAG, FIXED.pack(end), framed(ATTRIBUTES.number, mark))
        return b"".join(out)

    return mapped(body, ended)


def _part(body: bytes, first: int, last: int) -> bytes:
    """The spans from *first* below *last*, with their resources and scopes."""
    at = -1

    def kept(field: Field) -> list[bytes]:
        nonlocal at
        at += 1
        return [body[field.start : field.end]] if first <= at < last else []

    return rebuilt(body, kept)


def _is_status(span: bytes, field: Field) -> bool:
    if not holds(field, ATTRIBUTES.number):
        return False
    return read_pair(content(span, field))[0] == semconv.SPAN_STATUS
