"""However a process ends, what it was promised arrives: at once, or from the next process."""

from __future__ import annotations

import pytest

from faults import HANG, Collector, Reply
from programs import SIGNALS, Programs, arrived, deliver_the_rest

CLEAN = {
    "return": 0,
    "sys.exit": 3,
    "exception": 1,
    "SIGINT": -SIGNALS["SIGINT"],
    "SIGTERM handled": 5,
}
WAITED_FOR = {how: CLEAN[how] for how in ("return", "SIGTERM handled")}
KILLED = {
    "os._exit": 4,
    "SIGTERM": -SIGNALS["SIGTERM"],
    "SIGTERM raised again": -SIGNALS["SIGTERM"],
    "SIGKILL": -SIGNALS["SIGKILL"],
}
STRICT = {
    "os._exit at once": 4,
    "SIGTERM raised again": -SIGNALS["SIGTERM"],
    "SIGKILL while it works": -SIGNALS["SIGKILL"],
}


def end_all(programs: Programs, kind: str, ends: dict[str, int], **env: str) -> dict[str, set[str]]:
    """
    A process for each of the ways to end, all at once; what each had ended, by id.

    Checks that it ends by itself and as it was to end, and that nothing of ours stands in the way.
    """
    started = {how: programs.start(how, ["ends.py", how, kind], **env) for how in ends}
    for how, program in started.items():
        if how == "SIGKILL while it works":
            program.wait_for_ids(200)
        elif how.startswith("SIG"):
            program.wait_for("ready")
        if how.startswith("SIG"):
            program.kill(SIGNALS[how.split()[0]])
    for how, program in started.items():
        assert program.ended() == ends[how], (how, program.stderr)
        theirs = how in ("exception", "SIGINT")
        assert ("Traceback" in program.stderr) == theirs, program.stderr
        assert "ignored" not in program.stderr
        assert len(program.stderr.splitlines()) <= (12 if theirs else 2), program.stderr
    return {how: set(program.ids) for how, program in started.items()}


def missing(promised: dict[str, set[str]], there: list[str]) -> dict[str, int]:
    """How many of the spans that were promised are not *there*, by how their process ended."""
    left = {how: len(ids - set(there)) for how, ids in promised.items()}
    return {how: count for how, count in left.items() if count}


@pytest.mark.parametrize("kind", ["flowspan", "bare"])
def test_a_process_that_ends_in_good_order_has_delivered(
    faulty: Collector, programs: Programs, kind: str
):
    """By return, `sys.exit`, an exception, ctrl-C, or a handler of SIGTERM: each span, once."""
    promised = end_all(programs, kind, CLEAN)

    assert missing(promised, arrived(faulty)) == {}
    assert len(arrived(faulty)) == len(set(arrived(faulty)))
    assert all(len(ids) >= 30 for ids in promised.values())


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_a_process_that_is_ended_has_its_spans_delivered_by_the_next(
    faulty: Collector, programs: Programs, down: bool
):
    """Nothing of ours runs at the end; what was in the spool, 20 ms after its end, is safe."""
    if down:
        faulty.refuse()
    promised = end_all(programs, "both", KILLED)
    if down:
        faulty.listen()

    deliver_the_rest(faulty, *map(programs.spool, promised))

    assert missing(promised, arrived(faulty)) == {}
    assert len(set(arrived(faulty))) == sum(map(len, promised.values()))
    if down:  # else one that was just being sent may come twice, as the very same bytes
        assert len(arrived(faulty)) == len(set(arrived(faulty)))


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_strict_means_that_nothing_is_missing(faulty: Collector, programs: Programs, down: bool):
    """`FLOWSPAN_DURABILITY=strict`: a span is safe when its end returns, whatever comes then."""
    if down:
        faulty.refuse()
    promised = end_all(programs, "both", STRICT, FLOWSPAN_DURABILITY="strict")
    if down:
        faulty.listen()

    deliver_the_rest(faulty, *map(programs.spool, promised))

    assert missing(promised, arrived(faulty)) == {}


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
@pytest.mark.parametrize("kind", ["flowspan", "bare"])
def test_no_end_waits_for_a_collector(faulty: Collector, programs: Programs, kind: str, fault: str):
    """It tries for a moment, then leaves the spans to the next process: each arrives once."""
    if fault == "hangs":
        faulty.behave(HANG)
    else:
        faulty.refuse()
    promised = end_all(programs, kind, CLEAN if fault == "refuses" else WAITED_FOR)
    if fault == "hangs":
        faulty.behave(Reply(kept=True))
    else:
        faulty.listen()

    deliver_the_rest(faulty, *map(programs.spool, promised))

    assert missing(promised, arrived(faulty)) == {}
    assert len(arrived(faulty)) == len(set(arrived(faulty)))
