"""Processes that share a spool: forks of every kind lose nothing, double nothing and never hang."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectors import GrpcCollector, closing
from faults import Collector
from processes import in_process
from programs import Programs, arrived, deliver_the_rest, doubled


def run(programs: Programs, faulty: Collector, *arguments: str, **env: str) -> int:
    """
    How many spans a program of forks and its children have ended, in good order.

    All have arrived when it is over. Of children that were cut off in the middle of a request some
    may have come twice, as the very same bytes; of no other process.
    """
    program = programs.start("forks", ["forks.py", *arguments], **env)
    assert program.ended() == 0, program.stderr
    assert program.words.count("all") == 1
    assert program.stderr == ""
    deliver_the_rest(faulty, programs.spool("forks"))
    assert set(arrived(faulty)) == set(program.ids)
    cut = {int(word.split()[1]) for word in program.words if word.startswith("cut ")}
    assert doubled(faulty) <= cut
    return len(program.ids)


@pytest.mark.parametrize("kind", ["flowspan", "bare"])
@pytest.mark.parametrize("how", ["idle", "busy", "threads"])
def test_forked_children_deliver_what_is_theirs(
    faulty: Collector, programs: Programs, how: str, kind: str
):
    """
    Forked while nothing goes on, while threads end spans and fork, and to have threads themselves;
    the children end by `sys.exit` or `os._exit`.
    """
    assert run(programs, faulty, how, kind) >= 31


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("how", ["processes", "pool"])
def test_processes_of_the_standard_library_deliver_all(
    faulty: Collector, programs: Programs, how: str, start: str
):
    """`multiprocessing` and `ProcessPoolExecutor`, whose workers end without `atexit`."""
    run(programs, faulty, how, "bare", start)

    children = {span.name.split("-")[0] for span in faulty.spans if span.name.endswith("-150")}
    assert len(children) <= 3
    assert sum(not span.name.endswith("-0") for span in faulty.spans) >= 597


def test_120_children_forked_while_the_parent_exports(faulty: Collector, programs: Programs):
    """None hangs."""
    assert run(programs, faulty, "many", "bare", "120") == 120 * 23 + 1


def test_120_children_forked_while_the_parent_exports_over_grpc(
    faulty: Collector, programs: Programs
):
    """As well, with HTTP/2 connections that are the parent's."""
    with closing(GrpcCollector()) as collector:
        collector.before = faulty.take
        run(
            programs,
            faulty,
            "many",
            "bare",
            "120",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        )


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_our_threads_import_nothing(faulty: Collector, tmp_path: Path, protocol: str):
    """A fork in the middle of an import would leave the child with half a module for ever."""
    if protocol == "grpc":
        faulty.refuse()
    code = """
    from flowspan.delivery import DurableSpanProcessor
    from opentelemetry.sdk.trace import TracerProvider
    processor = DurableSpanProcessor(compression="gzip")
    provider = TracerProvider()
    provider.add_span_processor(processor)
    span = provider.get_tracer("test").start_span("span", attributes={"a": [1.5, 2]})
    before = set(sys.modules)
    span.end()
    sent = processor.force_flush(10_000 if "http" in processor.config.otlp.protocol else 200)
    result = [sent, sorted(set(sys.modules) - before)]
    """

    result = in_process(
        code,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=faulty.url.replace("127.0.0.1", "localhost"),
        FLOWSPAN_SPOOL_DIR=str(tmp_path / "spool"),
    )

    assert result == [protocol == "http/protobuf", []]


def test_two_threads_fork_at_once(tmp_path: Path):
    """The second waits for the first, and both leave the processor as it was."""
    code = """
    import os
    from flowspan.delivery import DurableSpanProcessor
    entered = [threading.Event(), threading.Event()]

    class Slow(DurableSpanProcessor):
        def _before_fork(self):
            first = not entered[0].is_set()
            entered[0 if first else 1].set()
            super()._before_fork()
            if first:
                entered[1].wait(10)  # the other is about to wait for the lock

    processor = Slow()

    def fork():
        if child := os.fork():
            os.waitpid(child, 0)
        else:
            os._exit(0)

    forks = [threading.Thread(target=fork) for _ in range(2)]
    for thread in forks:
        thread.start()
    for thread in forks:
        thread.join()
    result = processor._lock.acquire(timeout=10)
    """

    assert in_process(code, FLOWSPAN_SPOOL_DIR=str(tmp_path / "spool"))


def test_a_processor_that_is_made_during_a_fork(tmp_path: Path, faulty: Collector):
    """By another thread, after those that were there got ready for it: the child's is its own."""
    code = """
    import os
    made = []
    busy, forked = threading.Event(), threading.Event()

    def make():
        processor = DurableSpanProcessor()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        made.append((processor, provider.get_tracer("test")))
        made[0][1].start_span("of the parent").end()
        processor.force_flush()
        with processor._lock:  # it is in the middle of something when the fork comes
            busy.set()
            forked.wait()

    def before():  # the last before the fork, as it was registered first
        threading.Thread(target=make).start()
        busy.wait()

    os.register_at_fork(before=before)
    from opentelemetry.sdk.trace import TracerProvider
    from flowspan.delivery import DurableSpanProcessor

    reading, writing = os.pipe()
    child = os.fork()
    processor, tracer = made[0]
    if not child:
        tracer.start_span("of the child").end()
        stats = processor.stats()
        delivered = processor.close(5)
        os.write(writing, json.dumps([stats.ended, delivered]).encode())
        os._exit(0)
    forked.set()
    os.close(writing)
    result = json.loads(os.read(reading, 99) or "0")
    os.waitpid(child, 0)
    """
    env = {
        "FLOWSPAN_SPOOL_DIR": str(tmp_path / "spool"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": faulty.url,
    }

    assert in_process(code, **env) == [1, True]
    assert sorted(span.name for span in faulty.spans) == ["of the child", "of the parent"]
