"""Any order of appends, sends, deaths and adoptions: the spool against what it must hold."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flowspan.delivery import _spool
from flowspan.delivery._inspect import inspect
from flowspan.delivery._spool import Spool
from flowspan.delivery._stored import Taken

PROCESSES = st.sampled_from([0, 1, 2])


class Processes(RuleBasedStateMachine):
    """Three processes on one directory, with segments of a few records."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = mock.patch.multiple(_spool, SEGMENT_BYTES=(400, 400), REWIND_ABOVE=250)
        self.patch.start()
        self.directory = Path(tempfile.mkdtemp()) / "spool"
        self.spools = [self.start() for _ in range(3)]
        self.taken: list[list[Taken]] = [[], [], []]
        self.held: list[set[str]] = [set(), set(), set()]  # what each must have
        self.dead: set[str] = set()  # waits in files of nobody
        self.delivered: set[str] = set()
        self.again: set[str] = set()  # may be delivered twice, after a crash
        self.own: list[set[str]] = [set(), set(), set()]  # what each appended itself
        self.marks: list[tuple[int, set[str], Callable[[], bool]]] = []
        self.number = 0

    def start(self) -> Spool:
        return Spool(self.directory, max_bytes=1 << 20, on_dropped=self.dropped)

    def dropped(self, spans: int, reason: str) -> None:
        raise AssertionError((spans, reason))

    @rule(who=PROCESSES, size=st.integers(0, 200))
    def append(self, who: int, size: int) -> None:
        self.number += 1
        name = f"{self.number}."
        self.spools[who].append((name + "x" * size + ";").encode(), 1)
        self.held[who].add(name)
        self.own[who].add(name)

    @rule(who=PROCESSES)
    def mark(self, who: int) -> None:
        self.marks.append((who, self.own[who] & self.held[who], self.spools[who].mark()))

    @rule(who=PROCESSES, max_bytes=st.integers(1, 600))
    def take(self, who: int, max_bytes: int) -> None:
        taken = self.spools[who].take(max_bytes, 100)
        out = {name for held in self.taken[who] for name in names(held)}
        if taken is None:
            assert self.held[who] == out
            return
        assert names(taken) <= (self.held[who] | self.again) - out
        assert len(names(taken)) == taken.records == taken.spans
        self.taken[who].append(taken)

    @precondition(lambda self: any(self.taken))
    @rule(data=st.data(), is_done=st.booleans())
    def answer(self, data: st.DataObject, is_done: bool) -> None:
        who = data.draw(st.sampled_from([n for n in range(3) if self.taken[n]]))
        taken = self.taken[who].pop(data.draw(st.integers(0, len(self.taken[who]) - 1)))
        if not is_done:
            self.spools[who].put_back(taken)
            return
        self.spools[who].done(taken)
        assert not (names(taken) & self.delivered) - self.again
        self.delivered |= names(taken)
        self.held[who] -= names(taken)

    @rule(who=PROCESSES, is_killed=st.booleans())
    def end(self, who: int, is_killed: bool) -> None:
        """And another takes its place, which adopts what it finds."""
        before = self.on_disk(who)
        if is_killed:
            self.spools[who].after_fork()
        else:
            self.spools[who].close()
        assert self.held[who] <= before
        self.again |= before & self.delivered
        self.dead |= before
        self.held[who], self.own[who], self.taken[who] = set(), set(), []
        self.marks = [mark for mark in self.marks if mark[0] != who]
        self.spools[who] = self.start()
        self.adopted(who)

    @rule(who=PROCESSES)
    def adopt(self, who: int) -> None:
        self.spools[who].adopt()
        self.adopted(who)

    def adopted(self, who: int) -> None:
        self.held[who] |= self.dead
        self.dead = set()

    def on_disk(self, who: int) -> set[str]:
        """What is in its segments and not yet acknowledged."""
        found: set[str] = set()
        for segment in self.spools[who]._segments:
            for record in segment.load().records:
                if record.number >= segment.acknowledged:
                    body = segment.read(record)
                    assert body is not None
                    found.add(body.decode().split(".")[0] + ".")
        return found

    @invariant()
    def nothing_is_lost(self) -> None:
        for spool, held in zip(self.spools, self.held, strict=True):
            assert spool.unsent()[0] == len(held)
            assert spool.damaged == 0

    @invariant()
    def marks_tell_the_truth(self) -> None:
        for who, names, is_settled in self.marks:
            assert is_settled() is not bool(names & self.held[who])

    def teardown(self) -> None:
        for who in range(3):
            self.spools[who].close()
        last = self.start()
        while taken := last.take(1 << 20, 1 << 20):
            self.delivered |= names(taken)
            last.done(taken)
        last.close()
        assert {f"{number}." for number in range(1, self.number + 1)} == self.delivered
        assert inspect(self.directory) == []
        shutil.rmtree(self.directory.parent)
        self.patch.stop()


def names(taken: Taken) -> set[str]:
    return {text.split(".")[0] + "." for text in taken.body.decode().split(";")[:-1]}


TestProcesses = Processes.TestCase
TestProcesses.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
