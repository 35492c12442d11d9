"""Where spans wait: on the disk, shared by processes, or in memory."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Span, Tracer

from flowspan.delivery import _format, _parked, _platform, _spool, _storage
from flowspan.delivery._encoder import Encoder
from flowspan.delivery._inspect import inspect
from flowspan.delivery._memory import Memory
from flowspan.delivery._parked import parked
from flowspan.delivery._platform import Refused
from flowspan.delivery._segment import Name, Segment
from flowspan.delivery._spool import Spool
from flowspan.delivery._storage import Storage, default_directory
from flowspan.delivery._stored import Store, Taken
from flowspan.semconv import SPAN_STATUS, STATUS_ABANDONED

ALL = 1 << 30
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs fork, links or modes")


class Drops(list[tuple[int, str]]):
    """What a store says it dropped."""

    def __call__(self, spans: int, reason: str) -> None:
        self.append((spans, reason))

    def total(self) -> int:
        return sum(spans for spans, _ in self)


class Clock(_platform.Clock):
    """Both clocks stand still until a test moves them."""

    def __init__(self) -> None:
        self.wall_nanos, self.up_nanos, self.boot_id = 1_800_000_000 * 10**9, 10**12, b"a" * 16

    def wall(self) -> int:
        return self.wall_nanos

    def uptime(self) -> int:
        return self.up_nanos

    def boot(self) -> bytes:
        return self.boot_id

    def sleep(self, seconds: float) -> None:
        self.wall_nanos += int(seconds * 1e9)
        self.up_nanos += int(seconds * 1e9)

    def jump(self, seconds: float) -> None:
        self.wall_nanos += int(seconds * 1e9)

    def reboot(self) -> None:
        self.up_nanos, self.boot_id = 10**9, os.urandom(16)


@pytest.fixture
def drops() -> Drops:
    return Drops()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spools(directory: Path, drops: Drops) -> Iterator[Callable[..., Spool]]:
    """`spools(max_bytes=...)`: another process's spool, as far as locks can tell."""
    made: list[Spool] = []

    def make(**settings: Any) -> Spool:
        made.append(Spool(directory, **{"on_dropped": drops} | settings))
        return made[-1]

    yield make
    for spool in made:
        spool.close()


def crash(spool: Spool) -> None:
    """End it as a killed process does: descriptors closed, nothing written."""
    spool.after_fork()


def all_of(store: Store) -> list[bytes]:
    """Every record that waits, delivered."""
    bodies = []
    while taken := store.take(1, 1):
        bodies.append(taken.body)
        store.done(taken)
    return bodies


def take(store: Store, max_bytes: int = ALL, max_spans: int = ALL) -> Taken:
    """What is taken, where something must be."""
    taken = store.take(max_bytes, max_spans)
    assert taken
    return taken


def files(directory: Path, suffix: str = ".spans") -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix == suffix)


def run(code: str, *args: object) -> subprocess.Popen[str]:
    """A process of its own that has `Spool`, its arguments in `args`, and `ready()`."""
    start = """
        import os, sys, time, threading
        from flowspan.delivery._spool import Spool
        args = sys.argv[1:]
        drops = lambda spans, reason: print("dropped", spans, reason)
        def ready(*said):
            print("ready", *said, flush=True)
            sys.stdin.readline()
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(start) + textwrap.dedent(code), *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    return process.stdout.readline().split()


def end(process: subprocess.Popen[str], kill: bool = False) -> str:
    """Let it go on, or kill it; what it said since."""
    if kill:
        process.kill()
    out, _ = process.communicate("\n", timeout=30)
    assert process.returncode == (-signal.SIGKILL if kill else 0), out
    return out


# -- what every store does


@pytest.fixture(params=["memory", "spool", "storage"])
def store(request: pytest.FixtureRequest, directory: Path, drops: Drops) -> Iterator[Store]:
    made: Store
    if request.param == "memory":
        made = Memory(on_dropped=drops)
    elif request.param == "spool":
        made = Spool(directory, on_dropped=drops)
    else:
        made = Storage(directory, on_dropped=drops)
    yield made
    made.close()


def test_the_oldest_records_are_taken_joined_up_to_the_limits(store: Store):
    for body in (b"one", b"two", b"three", b"four"):
        store.append(body, 10)

    by_bytes = take(store, 7, ALL)
    by_spans = take(store, ALL, 10)
    large = take(store, 1, 1)

    assert (by_bytes.body, by_bytes.spans, by_bytes.records) == (b"onetwo", 20, 2)
    assert (by_spans.body, by_spans.spans) == (b"three", 10)
    assert large.body == b"four"
    assert store.take(ALL, ALL) is None


def test_what_is_put_back_is_taken_again_before_younger_ones(store: Store):
    for body in (b"1", b"2", b"3", b"4"):
        store.append(body, 1)
    first, second = take(store, 2), take(store, 1)

    store.put_back(second)
    store.append(b"5", 1)
    store.put_back(first)
    store.put_back(first)

    assert take(store).body == b"12345"


def test_unsent_counts_what_waits_and_what_is_taken(store: Store):
    assert store.unsent() == (0, 0)
    store.append(b"four", 4)
    store.append(b"five5", 5)
    taken = take(store, 4)
    assert store.unsent() == (9, 9)

    store.done(taken)
    store.done(taken)
    assert store.unsent() == (5, 5)
    store.put_back(taken)
    assert store.unsent() == (5, 5)


def test_a_mark_is_true_once_what_was_before_it_is_done(store: Store):
    """Whatever comes later, and in whatever order it is done."""
    assert store.mark()()
    store.append(b"1", 1)
    store.append(b"2", 1)
    mark = store.mark()
    store.append(b"3", 1)
    first, second, _ = (take(store, 1, 1) for _ in range(3))

    store.done(second)
    assert not mark()
    store.put_back(first)
    assert not mark()
    store.done(take(store, 1, 1))
    assert mark()
    assert not store.mark()()


def test_several_threads_append_take_and_give_back(store: Store):
    """Each record is delivered once, whoever takes it."""
    delivered: list[bytes] = []
    writers = 3
    finished = threading.Barrier(writers + 1)

    def write(number: int) -> None:
        for i in range(300):
            store.append(b"%d:%03d;" % (number, i), 1)
        finished.wait()

    def send() -> None:
        count = 0
        while (
            not (is_over := finished.broken or finished.n_waiting == writers) or store.unsent()[0]
        ):
            taken = store.take(50, 7)
            if taken is None:
                if is_over and not store.unsent()[0]:
                    return
                continue
            count += 1
            if count % 3 == 0:
                store.put_back(taken)
                continue
            delivered.extend(taken.body.split(b";")[:-1])
            store.done(taken)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(writers)]
    threads += [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads[writers:]:
        thread.join()
    finished.abort() if finished.broken else finished.wait()
    for thread in threads[:writers]:
        thread.join()

    assert sorted(delivered) == [b"%d:%03d" % (n, i) for n in range(writers) for i in range(300)]
    assert store.mark()()


def test_memory_drops_the_oldest_and_counts_them(drops: Drops):
    memory = Memory(max_bytes=100, on_dropped=drops)
    for number in range(5):
        memory.append(b"%d" % number * 30, number + 1)

    assert take(memory).body == b"2" * 30 + b"3" * 30 + b"4" * 30
    assert drops == [(1, "memory full"), (2, "memory full")]


# -- files of several processes


def test_what_a_killed_process_appended_is_adopted(directory: Path, spools: Callable[..., Spool]):
    """All that `append` came back from, in the order in which it was appended."""
    process = run(
        """
        spool = Spool(args[0], on_dropped=drops)
        number = 0
        while True:
            spool.append(b"%06d" % number * 100, 1)
            print(number, flush=True)
            number += 1
        """,
        directory,
    )
    while int(line(process)[0]) < 200:
        pass
    process.kill()
    out, _ = process.communicate(timeout=30)
    said = [int(text) for text in out.split("\n")[:-1] if text] or [200]

    spool = spools()

    numbers = [int(body[:6]) for body in all_of(spool)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= said[-1] + 1
    assert files(directory) == []


def test_a_live_file_is_never_adopted(directory: Path, spools: Callable[..., Spool]):
    """Not even while its process does nothing; but as soon as it is gone."""
    process = run(
        'spool = Spool(args[0], on_dropped=drops); spool.append(b"alive", 1); ready()', directory
    )
    assert line(process) == ["ready"]
    spool = spools()

    assert (spool.adopt(), spool.unsent()) == (0, (0, 0))
    (info,) = inspect(directory)
    assert info.owner_pid_alive
    end(process, kill=True)

    assert not inspect(directory)[0].owner_pid_alive
    assert spool.adopt() == 1
    assert all_of(spool) == [b"alive"]


def test_many_processes_start_and_die_and_nothing_is_adopted_twice(
    directory: Path, spools: Callable[..., Spool]
):
    """Eight at once, each adopting what it can; some deliver nothing and are killed."""
    code = """
        spool = Spool(args[0], on_dropped=drops)
        for i in range(50):
            spool.append(f"{args[1]}:{i};".encode(), 1)
            spool.adopt()
            if i % 2 and (taken := spool.take(1, 1)):
                sys.stdout.write(taken.body.decode())
                sys.stdout.flush()
                spool.done(taken)
        os.kill(os.getpid(), 9)
    """
    processes = [run(code, directory, number) for number in range(8)]
    seen = "".join(process.communicate(timeout=60)[0] for process in processes)

    seen += b"".join(all_of(spools())).decode()

    expected = sorted(f"{number}:{i}" for number in range(8) for i in range(50))
    assert sorted(seen.split(";")[:-1]) == expected


def test_little_is_sent_again_after_a_crash(spools: Callable[..., Spool]):
    """What is delivered is remembered in the file up to the first record that is not."""
    spool = spools()
    for body in (b"1", b"2", b"3", b"4"):
        spool.append(body, 1)
    first, _, third = (take(spool, 1, 1) for _ in range(3))
    spool.done(third)
    spool.done(first)
    crash(spool)

    assert all_of(spools()) == [b"2", b"3", b"4"]


def test_what_is_not_delivered_at_close_waits_for_the_next(
    directory: Path, spools: Callable[..., Spool]
):
    spool = spools()
    spool.append(b"sent", 1)
    taken = take(spool)
    spool.append(b"not sent", 2)
    spool.done(taken)
    spool.close()
    spool.close()
    with pytest.raises(OSError, match="closed"):
        spool.append(b"late", 1)
    assert spool.take(1, 1) is None

    assert all_of(spools()) == [b"not sent"]
    assert files(directory) == []


def test_a_spool_with_nothing_in_it_leaves_no_file(directory: Path, spools: Callable[..., Spool]):
    """None is made before the first record, none stays when all is delivered."""
    spool = spools()
    assert list(directory.iterdir()) == []
    spool.append(b"sent", 1)
    all_of(spool)
    spool.close()

    assert list(directory.iterdir()) == []


def test_segments_are_rotated_so_that_space_is_freed(directory: Path, spools: Callable[..., Spool]):
    """The first files go while later ones still wait; the records of those are not in memory."""
    spool = spools(max_bytes=64 * (64 << 10))
    for number in range(40):
        spool.append(b"%02d" % number * 5_000, 1)
    assert len(files(directory)) == 7
    mark = spool.mark()

    for number in range(20):
        taken = take(spool, 1, 1)
        assert taken.body[:2] == b"%02d" % number
        spool.done(taken)

    assert len(files(directory)) == 4
    assert not mark()
    assert [body[:2] for body in all_of(spool)] == [b"%02d" % n for n in range(20, 40)]
    assert mark()


def test_more_dead_files_than_descriptors_are_adopted_in_turn(
    directory: Path, spools: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(_spool, "MAX_SEGMENTS", 10)
    for number in range(25):
        dead = spools()
        dead.append(b"%02d" % number, 1)
        dead.close()

    spool = spools()

    assert spool.unsent()[0] == 10
    assert sorted(all_of(spool)) == [b"%02d" % number for number in range(25)]
    assert list(directory.iterdir()) == []


def test_an_append_does_not_wait_for_a_reader(
    spools: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
):
    """Nor does what others do: nothing is locked while a file is read."""
    spool = spools()
    spool.append(b"first", 1)
    reads, goes_on = threading.Event(), threading.Event()
    read_at = _platform.read_at

    def slow(fd: int, size: int, offset: int) -> bytes:
        reads.set()
        assert goes_on.wait(30)
        return read_at(fd, size, offset)

    monkeypatch.setattr(_platform, "read_at", slow)
    taken: list[Taken] = []
    reader = threading.Thread(target=lambda: taken.append(take(spool)))
    reader.start()
    assert reads.wait(30)

    spool.append(b"second", 1)
    assert spool.unsent() == (2, 11)
    assert not spool.mark()()
    spool.close()

    goes_on.set()
    reader.join()
    assert taken[0].body == b"first"
    spool.done(taken[0])


def test_an_append_in_the_middle_of_an_append_comes_after_it(
    spools: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
):
    """As a finalizer or a signal handler makes it, in the same thread."""
    spool = spools()
    write_at = _platform.write_at

    def interrupted(fd: int, data: bytes, offset: int) -> int:
        monkeypatch.setattr(_platform, "write_at", write_at)
        spool.append(b"inner", 1)
        return write_at(fd, data, offset)

    spool.append(b"before", 1)
    monkeypatch.setattr(_platform, "write_at", interrupted)
    spool.append(b"outer", 1)

    assert all_of(spool) == [b"before", b"outer", b"inner"]


def test_drops_are_told_with_no_lock_held(spools: Callable[..., Spool]):
    """Whoever is told may ask another thread that uses the spool."""
    told: list[str] = []

    def on_dropped(spans: int, reason: str) -> None:
        thread = threading.Thread(target=spool.unsent)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        told.append(reason)

    clock = Clock()
    spool = spools(max_bytes=1 << 20, max_age=60, on_dropped=on_dropped, clock=clock)
    for _ in range(200):
        spool.append(b"x" * 6_000, 1)
    clock.sleep(100)
    assert all_of(spool) == []
    assert set(told) == {"spool full", "too old"}


def test_several_processes_keep_one_bound(directory: Path):
    """They write at once, none delivers; a process looks as often as it has written a while."""
    code = """
        spool = Spool(args[0], max_bytes=4 << 20, on_dropped=lambda *drop: None)
        for i in range(600):
            spool.append(os.urandom(5000), 1)
        ready(spool.sizes().bytes)
        os.kill(os.getpid(), 9)
    """
    processes = [run(code, directory) for _ in range(4)]
    sizes = [int(line(process)[1]) for process in processes]
    for process in processes:
        process.communicate("\n", timeout=30)

    assert max(sizes) <= 5 << 20
    spool = Spool(directory, on_dropped=Drops())
    assert (spool.damaged, len(all_of(spool)) > 500) == (0, True)
    spool.close()


def test_a_file_left_half_made_is_swept_away(directory: Path, spools: Callable[..., Spool]):
    """After a while: until then its process may be about to name it."""
    spools().close()
    name = f"{Name(1000, '0a0b0c0d', 1, '.spans')}.new"
    (directory / name).write_bytes(b"")
    spools()
    assert (directory / name).exists()

    os.utime(directory / name, (1000, 1000))
    spools()
    assert not (directory / name).exists()


# -- fork


@posix
def test_a_forked_child_starts_empty_and_leaves_the_parents_files(
    directory: Path, spools: Callable[..., Spool]
):
    """It has no descriptor of the parent's, sends none of its spans, and unlocks nothing."""
    process = run(
        """
        spool = Spool(args[0], on_dropped=drops)
        spool.append(b"parent", 1)
        spool.opened(b"k" * 24, b"open")
        spool.before_fork()
        pid = os.fork()
        if not pid:
            spool.after_fork()
            assert spool.take(9, 9) is None and spool.unsent() == (0, 0)
            held = [os.readlink(f"/proc/self/fd/{n}") for n in range(3, 20)
                    if os.path.exists(f"/proc/self/fd/{n}")]
            assert not [path for path in held if args[0] in path], held
            spool.append(b"child", 2)
            spool.closed(b"k" * 24)
            os._exit(0)
        spool.after_fork_in_parent()
        assert os.waitpid(pid, 0)[1] == 0
        ready()
        spool.append(b"later", 1)
        print(b"".join(iter(lambda: (t := spool.take(1, 1)) and t.body, None)).decode())
        spool.close()
        """,
        directory,
    )
    assert line(process) == ["ready"]

    spool = spools()

    assert all_of(spool) == [b"child"]
    assert end(process).strip() == "parentlater"
    assert spool.adopt() == 1
    assert all_of(spool) == [b"parent", b"later"]


@posix
@pytest.mark.parametrize("where", ["disk", "memory"])
def test_what_the_parent_had_taken_is_not_the_childs(directory: Path, where: str):
    """Whatever a child does with it changes no file and no count."""
    process = run(
        """
        from flowspan.delivery._storage import Storage
        store = Storage(args[0] if args[1] == "disk" else None, on_dropped=drops)
        store.append(b"1", 1)
        store.append(b"2", 1)
        first, second = store.take(1, 1), store.take(1, 1)
        store.before_fork()
        pid = os.fork()
        if not pid:
            store.after_fork()
            store.append(b"child", 1)
            own = store.take(9, 9)
            store.done(first)
            store.put_back(second)
            assert store.unsent() == (1, 5)
            store.done(own)
            assert store.unsent() == (0, 0)
            store.close()
            os._exit(0)
        store.after_fork_in_parent()
        assert os.waitpid(pid, 0)[1] == 0
        assert store.unsent() == (2, 2)
        store.put_back(second)
        store.put_back(first)
        print(store.take(9, 9).body.decode())
        store.close()
        """,
        directory,
        where,
    )
    assert end(process) == "12\n"


@posix
def test_a_fork_waits_for_an_append_that_is_half_done(directory: Path):
    """Threads append while the process forks: in the child no lock is held, no record is torn."""
    process = run(
        """
        spool = Spool(args[0], on_dropped=drops)
        os.register_at_fork(before=spool.before_fork, after_in_child=spool.after_fork,
                            after_in_parent=spool.after_fork_in_parent)
        stop = threading.Event()
        def write():
            while not stop.is_set():
                spool.append(b"x" * 1000, 1)
                if taken := spool.take(5000, 100):
                    spool.done(taken)
        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads: thread.start()
        pids = []
        for number in range(20):
            pid = os.fork()
            if not pid:
                spool.append(b"child", 1)
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        while taken := spool.take(1 << 30, 1 << 30):
            assert not taken.body.strip(b"x")
            spool.done(taken)
        spool.close()
        """,
        directory,
    )
    assert end(process) == ""

    spool = Spool(directory, on_dropped=Drops())
    assert all_of(spool) == [b"child"] * 20
    spool.close()


# -- bounds


def test_the_oldest_go_when_the_directory_is_full(spools: Callable[..., Spool], drops: Drops):
    spool = spools(max_bytes=1 << 20)
    for number in range(300):
        spool.append(b"%03d" % number * 2_000, 1)
        assert spool.sizes().bytes <= 1 << 20

    numbers = [int(body[:3]) for body in all_of(spool)]
    assert numbers == list(range(300 - len(numbers), 300))
    assert len(numbers) > 120
    assert {reason for _, reason in drops} == {"spool full"}
    assert drops.total() + len(numbers) == 300


def test_a_record_larger_than_the_bound_is_dropped(spools: Callable[..., Spool], drops: Drops):
    spool = spools(max_bytes=100_000)
    spool.append(b"small", 1)
    spool.append(b"x" * 100_000, 7)

    assert drops == [(7, "spool full")]
    assert all_of(spool) == [b"small"]


def test_what_dead_processes_left_goes_first_when_it_is_the_oldest(
    spools: Callable[..., Spool], drops: Drops
):
    """Whether somebody has adopted it or not."""
    spool = spools(max_bytes=1 << 20)
    dead = spools(max_bytes=1 << 20)
    for _ in range(100):
        dead.append(b"d" * 6_000, 3)
    crash(dead)

    for _ in range(100):
        spool.append(b"y" * 6_000, 1)

    assert drops.total() > 0
    assert drops.total() % 3 == 0
    assert all_of(spool) == [b"y" * 6_000] * 100


def test_a_live_process_gives_up_its_oldest_files_to_others(
    directory: Path, spools: Callable[..., Spool], drops: Drops
):
    """Not the one it writes to; and it delivers what is left, counting nothing twice."""
    theirs = Drops()
    other = spools(max_bytes=1 << 20, on_dropped=theirs)
    for number in range(100):
        other.append(b"%03d" % number * 2_000, 3)
    in_flight = take(other, 1, 1)
    mark = other.mark()

    spool = spools(max_bytes=1 << 20)
    for _ in range(100):
        spool.append(b"y" * 6_000, 1)

    other.done(in_flight)
    left = [int(body[:3]) for body in all_of(other)]
    assert left == list(range(100 - len(left), 100))
    assert 0 < len(left) < 90
    assert (theirs, drops.total()) == ([], (100 - len(left)) * 3)
    assert other.unsent() == (0, 0)
    assert mark()


def test_records_in_flight_of_a_dropped_file_are_still_the_senders(
    spools: Callable[..., Spool], drops: Drops
):
    """Delivered they count as delivered, put back they count as dropped."""
    spool = spools(max_bytes=1 << 20)
    spool.append(b"1" * 6_000, 1)
    spool.append(b"2" * 6_000, 1)
    first, second = take(spool, 1, 1), take(spool, 1, 1)
    for _ in range(250):
        spool.append(b"y" * 6_000, 1)
    before = drops.total()

    spool.done(first)
    assert drops.total() == before
    spool.put_back(second)
    assert drops.total() == before + 1
    assert before + 1 + len(all_of(spool)) + 1 == 252


# -- age and clocks


def test_records_too_old_are_dropped(spools: Callable[..., Spool], clock: Clock, drops: Drops):
    spool = spools(max_age=3600, clock=clock)
    spool.append(b"old", 1)
    clock.sleep(3000)
    spool.append(b"young", 2)
    clock.sleep(1000)

    assert all_of(spool) == [b"young"]
    assert drops == [(1, "too old")]
    assert spool.mark()()


def test_a_clock_that_jumps_throws_nothing_away(spools: Callable[..., Spool], clock: Clock):
    """Forwards or backwards, while the process runs or after it died, within one boot."""
    spool = spools(max_age=3600, clock=clock)
    spool.append(b"1", 1)
    clock.jump(10 * 365 * 86400)
    spool.append(b"2", 1)
    clock.jump(-20 * 365 * 86400)
    spool.append(b"3", 1)
    assert take(spool).body == b"123"
    crash(spool)

    clock.jump(20 * 365 * 86400)
    assert all_of(spools(max_age=3600, clock=clock)) == [b"1", b"2", b"3"]


def test_age_counts_on_after_a_process_died_whatever_the_clock_says(
    spools: Callable[..., Spool], clock: Clock, drops: Drops
):
    spool = spools(max_age=3600, clock=clock)
    spool.append(b"old", 1)
    crash(spool)
    clock.sleep(3700)
    clock.jump(-10 * 86400)

    assert all_of(spools(max_age=3600, clock=clock)) == []
    assert drops == [(1, "too old")]


@pytest.mark.parametrize("jump", [-40 * 365 * 86400, 40 * 365 * 86400], ids=["back", "forth"])
def test_after_a_reboot_what_seems_old_is_tried_for_a_while(
    spools: Callable[..., Spool], clock: Clock, drops: Drops, jump: int
):
    """The wall clock is all there is then, and machines start with clocks that are wrong."""
    spool = spools(max_age=10 * 3600, clock=clock)
    spool.append(b"record", 1)
    crash(spool)
    clock.jump(jump)
    clock.reboot()

    spool = spools(max_age=10 * 3600, clock=clock)
    taken = take(spool, 1, 1)
    spool.put_back(taken)

    clock.sleep(3700)
    assert (spool.take(1, 1) is None) is (jump > 0)
    assert drops == ([(1, "too old")] if jump > 0 else [])


# -- the directory


def test_what_lies_on_the_disk_is_private(tmp_path: Path, drops: Drops):
    """Files 0600, directory 0700, whatever the umask; missing parents are made."""
    before = os.umask(0)
    try:
        spool = Spool(tmp_path / "a" / "b" / "spool", on_dropped=drops)
        spool.append(b"x", 1)
        spool.opened(b"k" * 24, b"open")
        spool.park(b"poison", 1, "400")
    finally:
        os.umask(before)

    for path in (tmp_path / "a").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert len(list(Path(spool.directory).iterdir())) == 3
    spool.close()


def test_a_relative_directory_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drops: Drops
):
    """The application may change its working directory."""
    monkeypatch.chdir(tmp_path)
    spool = Spool("spans/here", on_dropped=drops)
    monkeypatch.chdir("/")
    spool.append(b"x", 1)

    assert len(files(tmp_path / "spans" / "here")) == 1
    spool.close()


def a_link(directory: Path) -> None:
    directory.with_name("target").mkdir(mode=0o700)
    directory.symlink_to(directory.with_name("target"))


def of_somebody_else(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    os.chown(directory, 12345, -1)


def open_to_others(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def a_file(directory: Path) -> None:
    directory.write_text("not a directory")


@posix
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (a_link, "is a symbolic link"),
        (of_somebody_else, "belongs to user 12345, not to user 0"),
        (open_to_others, "others may write to the spool directory {} (mode 0777)"),
        (a_file, "is not a directory"),
    ],
)
def test_a_directory_that_is_not_ours_alone_is_refused(
    directory: Path, drops: Drops, make: Callable[[Path], None], says: str
):
    """With a sentence that says why; spans wait in memory then, which is said once."""
    if make is of_somebody_else and os.geteuid():
        pytest.skip("only root can give a directory away")
    make(directory)
    with pytest.raises(Refused) as refused:
        Spool(directory, on_dropped=drops)
    said: list[str] = []

    storage = Storage(directory, on_dropped=drops, say=said.append)

    assert says.format(directory) in str(refused.value)
    assert str(directory) in str(refused.value)
    storage.append(b"x", 3)
    storage.append(b"y", 1)
    (sentence,) = said
    assert sentence.startswith(f"{refused.value}; spans wait in memory")
    assert (storage.describe(), storage.in_memory()) == ("memory", 4)
    assert all_of(storage) == [b"x", b"y"]
    storage.close()


@posix
@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_a_directory_deleted_while_running_costs_nothing(
    directory: Path, spools: Callable[..., Spool], clock: Clock, how: str
):
    """It is made anew, with what was in files that are still open."""
    spool = spools(max_bytes=64 * (64 << 10), clock=clock)
    for number in range(20):
        spool.append(b"%02d" % number * 5_000, 1)
    taken = take(spool, 1, 1)
    mark = spool.mark()
    if how == "removed":
        shutil.rmtree(directory)
    else:
        for path in files(directory):
            path.unlink()
    clock.sleep(1)

    spool.append(b"20", 1)
    spool.put_back(taken)

    assert len(files(directory)) >= 4
    assert not mark()
    crash(spool)
    assert [body[:2] for body in all_of(spools())] == [b"%02d" % n for n in range(21)]


@posix
def test_a_directory_deleted_before_the_end_is_made_again_at_close(
    directory: Path, spools: Callable[..., Spool]
):
    spool = spools()
    spool.append(b"waits", 1)
    shutil.rmtree(directory)
    assert spool.adopt() == 0
    assert spool.sizes().bytes == 0
    spool.close()

    assert all_of(spools()) == [b"waits"]


@posix
def test_a_directory_deleted_and_not_to_be_made_again_means_memory(
    directory: Path, drops: Drops, monkeypatch: pytest.MonkeyPatch, clock: Clock
):
    """What is in open files is delivered, what comes waits in memory."""
    said: list[str] = []
    storage = Storage(directory, on_dropped=drops, say=said.append, clock=clock)
    storage.append(b"1", 1)
    shutil.rmtree(directory)
    directory.write_text("in the way")
    clock.sleep(1)
    storage.append(b"2", 1)
    storage.append(b"3", 1)

    assert len(said) == 1
    assert storage.unsent() == (3, 3)
    assert sorted(all_of(storage)) == [b"1", b"2", b"3"]
    storage.close()


# -- a disk that fails


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", where], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs to mount a file system")
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def fill(path: Path) -> None:
    """Until there is no room at all."""
    with open(path, "wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(b"x" * 4096)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is tried again with each append."""
    monkeypatch.setattr(_storage, "RETRY", (0.0, 0.0))


def test_a_full_disk_means_memory_and_back(small_disk: Path, drops: Drops, at_once: None):
    """Said once; nothing is lost, and all comes back to the disk when there is room."""
    said: list[str] = []
    storage = Storage(small_disk / "spool", on_dropped=drops, say=said.append)
    (small_disk / "other").write_bytes(b"x" * 700_000)
    for number in range(100):
        storage.append(b"%02d" % number * 5_000, 1)
    mark = storage.mark()

    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert storage.describe() == "memory"
    assert storage.in_memory() > 50
    (small_disk / "other").unlink()
    for _ in range(3):
        storage.append(b"later", 1)
        storage.adopt()

    assert storage.describe() == str(small_disk / "spool")
    assert storage.in_memory() == 0
    assert not mark()
    bodies = b"".join(all_of(storage))
    assert all(b"%02d" % number * 5_000 in bodies for number in range(100))
    assert (len(said), drops, mark()) == (1, [], True)
    storage.close()


def test_a_write_that_was_only_partly_done_leaves_a_good_file(small_disk: Path, drops: Drops):
    """The disk gets full in the middle of a record."""
    spool = Spool(small_disk / "spool", on_dropped=drops)
    (small_disk / "other").write_bytes(b"x" * 900_000)
    kept = 0
    with pytest.raises(OSError) as error:  # noqa: PT011 - by its number
        while True:
            spool.append(b"%02d" % kept * 7_000, 1)
            kept += 1
    assert error.value.errno == errno.ENOSPC
    (small_disk / "other").unlink()
    spool.append(b"after", 1)
    crash(spool)

    again = Spool(small_disk / "spool", on_dropped=drops)
    assert [body[:2] for body in all_of(again)] == [b"%02d" % n for n in range(kept)] + [b"af"]
    assert (again.damaged, drops) == (0, [])
    again.close()


def test_a_full_disk_at_the_end_says_how_much_is_lost(small_disk: Path, drops: Drops):
    storage = Storage(small_disk / "spool", on_dropped=drops, say=lambda sentence: None)
    fill(small_disk / "other")
    storage.append(b"y" * 100_000, 9)
    storage.close()

    assert storage.in_memory() == 9


def test_a_read_only_disk_means_memory(small_disk: Path, drops: Drops, at_once: None):
    said: list[str] = []
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    storage = Storage(small_disk / "spool", on_dropped=drops, say=said.append)
    storage.append(b"x", 1)
    storage.append(b"y", 1)

    assert storage.in_memory() == 2
    assert len(said) == 1
    assert "Read-only file system" in said[0]
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    storage.append(b"z", 1)
    assert storage.in_memory() == 0
    assert sorted(b"".join(all_of(storage))) == sorted(b"xyz")
    storage.close()


def test_without_a_descriptor_for_a_new_file_the_old_one_is_gone_on_with(
    directory: Path, spools: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
):
    spool = spools(max_bytes=64 * (64 << 10))
    spool.append(b"first", 1)

    def fails(*args: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(Segment, "new", fails)
        for _ in range(20):
            spool.append(b"x" * 10_000, 1)
    spool.append(b"last", 1)

    assert len(files(directory)) == 2
    assert len(all_of(spool)) == 22


@pytest.mark.parametrize("written", [0, 10, 45])
def test_short_writes_are_gone_on_with(
    directory: Path,
    spools: Callable[..., Spool],
    monkeypatch: pytest.MonkeyPatch,
    written: int,
):
    """A write may write a part; one that writes nothing has failed."""
    spool = spools()
    spool.append(b"one", 1)
    with monkeypatch.context() as patched:
        real = _platform.write_at
        patched.setattr(_platform, "write_at", lambda fd, data, at: real(fd, data[:written], at))
        if written:
            spool.append(b"second", 1)
        else:
            with pytest.raises(OSError, match="nothing could be written"):
                spool.append(b"second", 1)
    spool.append(b"third", 1)
    crash(spool)

    second = [b"second"] if written else []
    assert all_of(spools()) == [b"one", *second, b"third"]


def test_no_directory_means_memory_without_a_word(drops: Drops):
    said: list[str] = []
    storage = Storage(None, on_dropped=drops, say=said.append)
    storage.append(b"x", 1)
    storage.park(b"poison", 1, "400")
    storage.opened(b"k" * 24, b"open")
    storage.closed(b"k" * 24)

    assert (storage.describe(), storage.adopt(), said) == ("memory", 0, [])
    assert all_of(storage) == [b"x"]
    storage.close()


# -- spans that are open


@pytest.fixture
def tracer() -> Tracer:
    return TracerProvider().get_tracer("scope")


def key_of(span: Span) -> bytes:
    context = span.get_span_context()
    return context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")


def open_in(store: Store, span: Span) -> bytes:
    assert isinstance(span, ReadableSpan)
    store.opened(key_of(span), Encoder().encode_open(span))
    return key_of(span)


def append_to(store: Store, *spans: Span) -> None:
    for span in spans:
        span.end()
    for batch in Encoder().encode([span for span in spans if isinstance(span, ReadableSpan)]):
        store.append(batch.body, batch.spans)


def spans_in(bodies: list[bytes]) -> dict[str, tuple[bool, dict[str, str]]]:
    """By name: whether it has ended, and its attributes."""
    return {
        span.name: (
            span.end_time_unix_nano > 0,
            {a.key: a.value.string_value for a in span.attributes},
        )
        for resource in ExportTraceServiceRequest.FromString(b"".join(bodies)).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


ENDED: tuple[bool, dict[str, str]] = (True, {})
ABANDONED = (True, {SPAN_STATUS: STATUS_ABANDONED})


def test_spans_that_a_killed_process_left_open_are_abandoned(
    directory: Path, spools: Callable[..., Spool], tracer: Tracer
):
    """Those that ended are not, whether that was noted in time or not."""
    spool = spools()
    for name in ("noted", "not noted", "open", "open, too"):
        open_in(spool, span := tracer.start_span(name))
        if "noted" in name:
            append_to(spool, span)
        if name == "noted":
            spool.closed(key_of(span))
    crash(spool)

    assert inspect(directory)[0].kind == "open"
    assert inspect(directory)[0].spans == 2
    assert spans_in(all_of(spools())) == {
        "noted": ENDED,
        "not noted": ENDED,
        "open": ABANDONED,
        "open, too": ABANDONED,
    }
    assert files(directory, ".open") == []


def test_open_spans_count_as_waiting_until_they_are_sent(
    directory: Path, spools: Callable[..., Spool], tracer: Tracer
):
    """They are records of the one that adopted them, and survive that one as well."""
    spool = spools()
    open_in(spool, tracer.start_span("open"))
    crash(spool)

    spool = spools()
    assert spool.unsent()[0] == 1
    assert not spool.mark()()
    crash(spool)

    assert spans_in(all_of(spools())) == {"open": ABANDONED}
    assert files(directory, ".open") == []


def test_open_spans_of_a_live_process_are_left_to_it(
    directory: Path, spools: Callable[..., Spool], tracer: Tracer
):
    spool = spools()
    open_in(spool, span := tracer.start_span("open"))

    assert all_of(spools()) == []
    append_to(spool, span)
    spool.closed(key_of(span))
    spool.closed(key_of(span))
    spool.closed(b"unknown".ljust(24))
    spool.close()
    assert files(directory, ".open") == []


def test_segments_wait_until_it_is_known_which_spans_have_ended(
    spools: Callable[..., Spool], tracer: Tracer
):
    """A dying process lets go of one file after the other, in no certain order."""
    dying = spools()
    open_in(dying, span := tracer.start_span("ended"))
    append_to(dying, span)
    spool = spools()
    for segment in dying._segments:
        segment.abandon()

    assert spool.adopt() == 0
    crash(dying)
    assert spool.adopt() == 1
    assert spans_in(all_of(spool)) == {"ended": ENDED}


def test_a_disk_too_full_for_open_spans_does_not_keep_the_others(
    small_disk: Path, drops: Drops, tracer: Tracer
):
    """They come when there is room again."""
    dead = Spool(small_disk / "spool", on_dropped=drops)
    open_in(dead, tracer.start_span("open"))
    append_to(dead, tracer.start_span("ended"))
    crash(dead)
    fill(small_disk / "other")

    spool = Spool(small_disk / "spool", on_dropped=drops)
    assert spans_in(all_of(spool)) == {"ended": ENDED}
    (small_disk / "other").unlink()
    spool.adopt()
    assert spans_in(all_of(spool)) == {"open": ABANDONED}
    assert drops == []
    spool.close()


def test_spans_still_open_at_close_are_abandoned_by_the_next(
    spools: Callable[..., Spool], tracer: Tracer
):
    """The process ends in order, and they with it."""
    spool = spools()
    open_in(spool, tracer.start_span("open"))
    spool.close()

    assert spans_in(all_of(spools())) == {"open": ABANDONED}


def test_the_file_of_open_spans_does_not_grow_for_ever(
    directory: Path, spools: Callable[..., Spool], tracer: Tracer
):
    """It is written anew when most of it is of spans that have ended."""
    spool = spools()
    open_in(spool, tracer.start_span("first"))
    for number in range(2_000):
        spool.opened(b"%024d" % number, b"x" * 2_000)
        spool.closed(b"%024d" % number)
    open_in(spool, tracer.start_span("last"))

    (path,) = files(directory, ".open")
    assert path.stat().st_size < 2_000_000
    (info,) = inspect(directory)
    assert info.owner_pid_alive
    assert info.damaged == 0
    crash(spool)
    assert spans_in(all_of(spools())) == {"first": ABANDONED, "last": ABANDONED}


def test_open_spans_are_bounded(directory: Path, spools: Callable[..., Spool]):
    """Above the bound a span is not found again after a crash."""
    spool = spools(max_bytes=80_000)
    for number in range(100):
        spool.opened(b"%024d" % number, b"x" * 1_000)

    assert files(directory, ".open")[0].stat().st_size < 11_000


@posix
def test_open_spans_survive_that_the_directory_is_deleted(
    directory: Path, spools: Callable[..., Spool], tracer: Tracer
):
    spool = spools()
    open_in(spool, tracer.start_span("before"))
    shutil.rmtree(directory)
    open_in(spool, tracer.start_span("after"))
    crash(spool)

    assert spans_in(all_of(spools())) == {"before": ABANDONED, "after": ABANDONED}


@pytest.mark.parametrize("failures", [1, 2], ids=["no room", "no write"])
def test_an_end_that_cannot_be_written_down_is_an_end_all_the_same(
    directory: Path,
    spools: Callable[..., Spool],
    tracer: Tracer,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
):
    """A span that was delivered does not come again as abandoned; others are not lost for it."""
    spool = spools()
    ended = tracer.start_span("ended")
    open_in(spool, tracer.start_span("before"))
    open_in(spool, ended)
    left = [None] * failures
    write_at = _platform.write_at

    def full(fd: int, data: bytes, offset: int) -> int:
        return no_space() if left and left.pop() is None else write_at(fd, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(_platform, "write_at", full)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            spool.closed(key_of(ended))
    open_in(spool, tracer.start_span("after"))
    crash(spool)

    (info,) = inspect(directory)
    assert (info.spans, info.damaged) == (2, 0)
    assert spans_in(all_of(spools())) == {"before": ABANDONED, "after": ABANDONED}


def test_ends_after_no_write_and_a_crash_are_ends(
    spools: Callable[..., Spool], tracer: Tracer, monkeypatch: pytest.MonkeyPatch
):
    """Rather no open span at all than one that has ended."""
    spool = spools()
    ended = tracer.start_span("ended")
    open_in(spool, ended)
    with monkeypatch.context() as patched:
        patched.setattr(_platform, "write_at", no_space)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            spool.closed(key_of(ended))
    crash(spool)

    assert all_of(spools()) == []


@pytest.mark.parametrize("outer", ["opens", "ends"])
def test_spans_in_the_middle_of_a_note_come_after_it(
    spools: Callable[..., Spool], tracer: Tracer, monkeypatch: pytest.MonkeyPatch, outer: str
):
    """As a signal handler makes them, in the same thread: the file is not damaged."""
    spool = spools()
    first, second, inner, brief = (tracer.start_span(name) for name in "abcd")
    open_in(spool, first)
    write_at = _platform.write_at

    def interrupted(fd: int, data: bytes, offset: int) -> int:
        monkeypatch.setattr(_platform, "write_at", write_at)
        open_in(spool, inner)
        open_in(spool, brief)
        spool.closed(key_of(brief))
        return write_at(fd, data, offset)

    monkeypatch.setattr(_platform, "write_at", interrupted)
    if outer == "opens":
        open_in(spool, second)
    else:
        spool.closed(key_of(first))
    crash(spool)

    left = "abc" if outer == "opens" else "c"
    assert spans_in(all_of(spools())) == dict.fromkeys(left, ABANDONED)


def test_damage_among_open_spans_costs_what_it_touches(
    directory: Path, spools: Callable[..., Spool], tracer: Tracer
):
    spool = spools()
    for name in ("one", "two", "three"):
        open_in(spool, tracer.start_span(name))
    spool.opened(b"no request".ljust(24), b"\xff" * 9)
    crash(spool)
    (path,) = files(directory, ".open")
    path.write_bytes(path.read_bytes().replace(b"two", b"tWo"))

    assert spans_in(all_of(spools())) == {"one": ABANDONED, "three": ABANDONED}


# -- where there is no flock


class LockedBytes(types.ModuleType):
    """What `msvcrt` does, with the locks of this system."""

    LK_NBLCK, LK_UNLCK = 1, 0

    def locking(self, fd: int, mode: int, count: int) -> None:
        import fcntl

        assert os.lseek(fd, 0, os.SEEK_CUR) > 1 << 30
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB if mode else fcntl.LOCK_UN)


@posix
def test_windows_takes_another_way(
    directory: Path, spools: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
):
    """Positions instead of `pread`, a locked byte, no renaming; the rest is the same."""
    windows = types.ModuleType("windows")
    monkeypatch.setitem(sys.modules, "msvcrt", LockedBytes("msvcrt"))
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "win32")
        source = Path(_platform.__file__).read_text()
        windows.__dict__["__name__"] = "windows"
        exec(compile(source, "_platform.py", "exec"), windows.__dict__)
    for name in ("lock", "release", "is_locked", "read_at", "write_at", "remove"):
        monkeypatch.setattr(_platform, name, getattr(windows, name))
    monkeypatch.setattr(_platform, "RENAMES_OPEN_FILES", windows.RENAMES_OPEN_FILES)

    spool = spools()
    for body in (b"one", b"two", b"three"):
        spool.append(body, 1)
    spool.opened(b"k" * 24, b"open")
    spool.closed(b"k" * 24)
    spool.done(take(spool, 1, 1))
    assert spools().unsent() == (0, 0)
    crash(spool)

    assert all_of(spools()) == [b"two", b"three"]
    assert list(directory.iterdir()) == []


# -- what is parked, where it lies


def test_what_is_parked_is_kept_aside(directory: Path, spools: Callable[..., Spool]):
    """With the reason; nobody sends it."""
    spool = spools()
    spool.park(b"poison", 2, "400: bad \udcff name")
    crash(spool)

    spool = spools()

    assert all_of(spool) == []
    (found,) = parked(directory)
    assert (found.body, found.spans, found.reason) == (b"poison", 2, "400: bad ? name")
    (info,) = inspect(directory)
    assert (info.kind, info.spans, info.owner_pid_alive) == ("parked", 2, False)


def test_parked_files_are_bounded(directory: Path, spools: Callable[..., Spool], drops: Drops):
    """The oldest go first, counted."""
    spool = spools(max_bytes=16 * 10_000)
    for number in range(20):
        assert spool.park(b"%02d" % number * 1_000, 2, "400")

    assert [found.body[:2] for found in parked(directory)] == [b"%02d" % n for n in range(16, 20)]
    assert drops == [(2, "parked full")] * 16


def test_parked_files_are_bounded_in_number(
    directory: Path, spools: Callable[..., Spool], drops: Drops
):
    """A hundred, however small; one that is damaged counts as one span."""
    spool = spools()
    spool.park(b"damaged", 3, "400")
    files(directory, ".parked")[0].write_bytes(b"")
    for _ in range(149):
        spool.park(b"poison", 1, "400")

    assert len(parked(directory)) == 100
    assert drops == [(1, "parked full")] * 50


def test_a_parked_span_above_the_bound_is_counted(
    directory: Path, spools: Callable[..., Spool], drops: Drops
):
    """It does not push out the others."""
    spool = spools(max_bytes=16 * 10_000)
    assert spool.park(b"small", 1, "400")
    assert not spool.park(b"x" * 10_001, 1, "400")

    assert [found.body for found in parked(directory)] == [b"small"]
    assert drops == [(1, "parked full")]


def no_space(*_: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_cannot_be_parked_is_counted(
    directory: Path, drops: Drops, monkeypatch: pytest.MonkeyPatch
):
    """Without a disk, and where the disk refuses."""
    memory = Storage(None, on_dropped=drops)
    assert not memory.park(b"poison", 1, "400")
    memory.close()
    said: list[str] = []
    storage = Storage(directory, on_dropped=drops, say=said.append)
    with monkeypatch.context() as patched:
        patched.setattr(_parked, "create", no_space)
        assert not storage.park(b"poison", 2, "400")
    storage.close()

    assert drops == [(1, "refused by the collector"), (2, "refused by the collector")]
    assert len(said) == 1
    assert parked(directory) == []


def test_an_inspection_changes_nothing(directory: Path, spools: Callable[..., Spool]):
    spool = spools()
    assert inspect(directory / "missing") == []
    spool.append(b"one", 2)
    spool.append(b"two", 3)
    taken = take(spool, 1, 1)
    spool.done(taken)
    before = {path: path.read_bytes() for path in directory.iterdir()}

    (info,) = inspect(directory)

    assert (info.spans, info.kind, info.damaged, info.is_newer) == (3, "spans", 0, False)
    assert info.oldest is not None
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_each_endpoint_has_a_directory_of_its_own(monkeypatch: pytest.MonkeyPatch):
    """The same for whatever means the same; credentials play no part."""
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    same = {
        default_directory(endpoint, {})
        for endpoint in (
            "http://collector/v1/traces",
            "HTTP://Collector:80/v1/traces",
            "http://user:secret@collector/v1/traces",
        )
    }
    others = {
        default_directory(endpoint, {})
        for endpoint in (
            "https://collector/v1/traces",
            "http://collector:4318/v1/traces",
            "http://collector/",
            "collector:4317",
            "http://[::1]:4318/v1/traces",
            "http://collector:port/",
            "http://\udcff/",
        )
    }

    assert len(same) == 1
    assert len(others | same) == 8
    if sys.platform == "linux":
        assert all(path.startswith("/state/flowspan/") for path in others)


def test_each_tenant_has_a_directory_of_its_own():
    """Headers that name one count, whatever their case; credentials may change."""

    def directory_for(**headers: str) -> str:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return default_directory("http://collector/v1/traces", named)

    none = directory_for()
    one = directory_for(x_scope_orgid="one")

    assert len({none, one, directory_for(x_scope_orgid="two"), directory_for(project="one")}) == 4
    assert one == directory_for(X_Scope_OrgID="one", authorization="Bearer new", x_other="1")
    for credential in ("authorization", "x_api_key", "x_project_key", "account_token", "x_team"):
        assert directory_for(**{credential: "old"}) == none


def test_a_file_names_who_wrote_it(directory: Path, spools: Callable[..., Spool]):
    """Format, version and process, for whoever finds it."""
    spool = spools(version="9.8.7")
    spool.append(b"x", 1)

    header, acknowledged = _format.decode_header(files(directory)[0].read_bytes())

    assert header
    assert (header.version, header.writer, header.pid) == (1, "9.8.7", os.getpid())
    assert acknowledged == 0


def test_who_is_told_of_a_file_that_cannot_be_read_may_do_anything(
    directory: Path, spools: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch
):
    """No lock is held meanwhile: a log handler may make spans in another thread."""
    told: list[tuple[int, str]] = []
    following: list[Spool] = []

    def on_dropped(spans: int, reason: str) -> None:
        thread = threading.Thread(target=following[0].append, args=(b"meanwhile", 1))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
        told.append((spans, reason))

    for number in range(2):
        dead = spools()
        dead.append(b"dead %d" % number, 2)
        crash(dead)
    following.append(spools(on_dropped=on_dropped))
    younger = following[0]._segments[1]
    monkeypatch.setattr(younger, "load", lambda: (_ for _ in ()).throw(OSError("no luck")))

    left, meanwhile = all_of(following[0])
    assert left in (b"dead 0", b"dead 1")  # they may be of one moment
    assert meanwhile == b"meanwhile"
    assert told == [(2, "damaged")]
