"""
What is odd about a trace, in a few words each: said below its tree, which is drawn all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowspan.cli.view._model import Trace
from flowspan.cli.view._text import count


def oddities(trace: Trace) -> Iterator[str]:
    without = sum(1 for root in trace.roots if root.parent_id and root.parent_id not in trace.by_id)
    if without:
        yield f"{count(without, 'span')} without the parent"
    cycles = sum(1 for root in trace.roots if root.parent_id in trace.by_id)
    if cycles:
        yield f"{count(cycles, 'cycle')} of parents"
    early = 0
    for span in trace.spans:
        above = trace.parent(span)
        early += above is not None and span.start < above.start
    if early:
        yield f"{count(early, 'span')} before the parent began: clocks?"
