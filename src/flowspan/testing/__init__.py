"""
For tests of code that uses flowspan: what was recorded, as trees to compare; nothing is exported.

With pytest it is the fixture `flowspan_spans`, of the module `pytest_flowspan`, which imports
this only when a test asks for it. With anything else it is `recording()`.
"""

from flowspan.testing._recorded import RecordedSpan, RecordedSpans, Tree, differences
from flowspan.testing._recording import LeakError, recording

__all__ = ["LeakError", "RecordedSpan", "RecordedSpans", "Tree", "differences", "recording"]
