"""
The spans that were read, by trace and bounded: of more than fit the newest traces stay.

Thread-safe: a receiver adds while somebody looks.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from flowspan.cli.view._model import Span, Trace
from flowspan.cli.view._stored import Stored

MAX_SPANS: Final = 200_000
MAX_BYTES: Final = 2 << 30  # of details; they lie in temporary files
_TEXT: Final = 1024  # letters of a name or message that weigh as much as a span


@dataclass(slots=True)
class _Group:
    spans: list[Span]
    newest: int = 0
    weight: int = 0
    bytes: int = 0


class Collection:
    """
    *taken*: all that were ever added; *left_out* of them did not fit, of *left_traces* traces.

    What does not fit is left out by whole traces, those first whose last span started earliest;
    of a trace that is too large alone the spans that come first are kept.
    """

    def __init__(self, max_spans: int = MAX_SPANS, max_bytes: int = MAX_BYTES) -> None:
        self._max_weight, self._max_bytes = max_spans, max_bytes
        self._groups: dict[str, _Group] = {}
        self._lock = threading.Lock()
        self._weight = self._bytes = 0
        self._gone: set[str] = set()
        self.spans = self.taken = self.left_out = self.left_traces = 0

    def add(self, span: Span) -> None:
        weight = 1 + (len(span.name) + len(span.status_message)) // _TEXT
        size = span.attributes.size if isinstance(span.attributes, Stored) else 0
        with self._lock:
            self.taken += 1
            if not self._has_room(weight, size):
                self._make_room(span.trace_id)
                if not self._has_room(weight, size):
                    self._leave_out(span.trace_id, 1)
                    return
            group = self._groups.get(span.trace_id)
            if group is None:
                group = self._groups[span.trace_id] = _Group([])
            group.spans.append(span)
            group.newest = max(group.newest, span.start)
            group.weight += weight
            group.bytes += size
            self.spans += 1
            self._weight += weight
            self._bytes += size

    def traces(self) -> list[Trace]:
        """By start."""
        with self._lock:
            groups = [(trace_id, list(group.spans)) for trace_id, group in self._groups.items()]
        traces = [Trace(trace_id, spans) for trace_id, spans in groups]
        return sorted(traces, key=lambda trace: trace.start)

    def trace(self, trace_id: str) -> Trace | None:
        with self._lock:
            group = self._groups.get(trace_id)
            spans = list(group.spans) if group else []
        return Trace(trace_id, spans) if spans else None

    def _has_room(self, weight: int, size: int) -> bool:
        return self._weight + weight <= self._max_weight and self._bytes + size <= self._max_bytes

    def _make_room(self, for_trace: str) -> None:
        """A tenth at once: sorting for each span would take long."""
        oldest = sorted(self._groups, key=lambda trace_id: self._groups[trace_id].newest)
        oldest = [trace_id for trace_id in oldest if trace_id != for_trace]
        for trace_id in oldest:
            if self._weight <= self._max_weight * 0.9 and self._bytes <= self._max_bytes * 0.9:
                break
            group = self._groups.pop(trace_id)
            self._weight -= group.weight
            self._bytes -= group.bytes
            self.spans -= len(group.spans)
            self._leave_out(trace_id, len(group.spans))

    def _leave_out(self, trace_id: str, spans: int) -> None:
        self.left_out += spans
        if trace_id not in self._gone:
            self.left_traces += 1
            if len(self._gone) < self._max_weight:
                self._gone.add(trace_id)
