"""`flowspan drain` as people run it, on what processes that were killed have left behind."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backends import Collector as RealCollector
from backends import Jaeger
from faults import HANG, Collector, Reply, partly
from flowspan.delivery import _drain, _parked
from flowspan.delivery._inspect import inspect
from flowspan.delivery._platform import Clock
from flowspan.delivery._segment import Name, new_owner, new_salt
from test_cli import COMMAND, closed_port, flowspan_command

# Ends spans, leaves some open, says so, and waits for what is done to it.
LEAVER = """
import os, sys, time
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from flowspan.delivery import DurableSpanProcessor
count, still_open, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
processor = DurableSpanProcessor(durability="strict")
provider = TracerProvider(resource=Resource({"service.name": name}), shutdown_on_exit=False)
provider.add_span_processor(processor)
tracer = provider.get_tracer("leaver")
kept = [tracer.start_span(f"{name}-open-{n}") for n in range(still_open)]
for n in range(count):
    tracer.start_span(f"{name}-{n}", attributes={"input.value": "x" * 300}).end()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def receiver() -> Iterator[Collector]:
    receiver = Collector()
    yield receiver
    receiver.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


class Leaver:
    """A process whose spans nobody takes."""

    def __init__(self, directory: Path, count: int, still_open: int, name: str) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "FLOWSPAN_"))}
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{closed_port()}",
            "FLOWSPAN_SPOOL_DIR": str(directory),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", LEAVER, str(count), str(still_open), name],
            env=kept | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def running(directory: Path) -> Iterator[Callable[..., Leaver]]:
    """`running(100, still_open=2)`: a process that holds so many spans."""
    started: list[Leaver] = []

    def start(count: int, still_open: int = 0, name: str = "span") -> Leaver:
        started.append(Leaver(directory, count, still_open, name))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def killed(running: Callable[..., Leaver]) -> Callable[..., None]:
    """`killed(100)`: such a process, killed."""
    return lambda *given, **named: running(*given, **named).kill()


def drain(
    receiver: Collector, directory: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return flowspan_command(
        "drain",
        "--spool",
        str(directory),
        *arguments,
        **{"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **variables},
    )


def park(directory: Path, body: bytes, reason: str) -> None:
    directory.mkdir(mode=0o700, exist_ok=True)
    name = Name(Clock().wall() // 1_000_000, new_owner(), new_salt(), _parked.PARKED_SUFFIX)
    _parked.park(str(directory), name, body, 1, reason, Clock(), "0.1.0")


def request_of(name: str) -> bytes:
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.name, span.span_id, span.trace_id = name, os.urandom(8), os.urandom(16)
    return request.SerializeToString()


# ---- what it delivers


def test_it_delivers_what_killed_processes_left(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """Each span once, from all files, and says how many from where."""
    killed(700, name="one")
    killed(300, name="two")

    done = drain(receiver, directory)

    assert done.returncode == 0, done.stderr
    assert len(receiver.ids) == len(set(receiver.ids)) == 1000
    assert re.fullmatch(
        rf"Delivered 1,000 spans from 2 files to {receiver.url}/v1/traces; "
        r"the oldest had waited \d+ s\n",
        done.stdout,
    ), done.stdout
    assert inspect(directory) == []


def test_open_spans_come_as_abandoned(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """With the status that says so; those that had ended come as they were."""
    killed(3, still_open=2)

    done = drain(receiver, directory)

    assert done.returncode == 0
    assert "2 spans had not ended when the process died" in done.stdout
    statuses = {
        span.name: [a.value.string_value for a in span.attributes if a.key == "flowspan.status"]
        for span in receiver.spans
    }
    assert statuses == {
        "span-0": [],
        "span-1": [],
        "span-2": [],
        "span-open-0": ["abandoned"],
        "span-open-1": ["abandoned"],
    }


def test_running_processes_keep_theirs(
    receiver: Collector,
    directory: Path,
    killed: Callable[..., None],
    running: Callable[..., Leaver],
) -> None:
    """They deliver it themselves; the line names the process."""
    alive = running(3, still_open=1, name="alive")
    killed(2, name="dead")

    done = drain(receiver, directory)

    assert done.returncode == 0
    assert receiver.names == ["dead-0", "dead-1"]
    pid = alive.process.pid
    assert f"3 spans are held by the running process {pid}, which delivers them" in done.stdout
    assert alive.process.poll() is None
    alive.kill()
    assert drain(receiver, directory).returncode == 0
    assert len(receiver.names) == 2 + 4


def test_more_files_than_are_opened_at_once(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """It goes on until there is none."""
    killed(1)
    (one,) = directory.glob("*.spans")
    for number in range(300):
        name = Name.of(one.name)
        assert name is not None
        copy = directory / str(name._replace(millis=name.millis + number, owner=new_owner()))
        copy.write_bytes(one.read_bytes())

    done = drain(receiver, directory)

    assert done.returncode == 0, done.stdout
    assert len(receiver.ids) >= 300
    assert list(directory.iterdir()) == []


def test_age_is_no_reason_here(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """Somebody asks for what is left: it is delivered, however old."""
    killed(5)

    done = drain(receiver, directory, FLOWSPAN_SPOOL_MAX_AGE="1s")

    assert done.returncode == 0
    assert len(receiver.names) == 5


def test_damage_is_said(receiver: Collector, directory: Path, killed: Callable[..., None]) -> None:
    """What cannot be read is skipped and counted; the rest is delivered."""
    killed(20)
    (segment,) = directory.glob("*.spans")
    data = bytearray(segment.read_bytes())
    data[data.index(b"span-7")] ^= 0xFF
    segment.write_bytes(data)

    done = drain(receiver, directory)

    assert done.returncode == 0
    assert "1 damaged record skipped\n" in done.stdout
    assert len(receiver.names) == 19


def test_a_newer_version_s_files_are_left_alone(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """Said, and a reason to exit with 1: they are not delivered."""
    from zlib import crc32

    killed(1)
    (segment,) = directory.glob("*.spans")
    data = bytearray(segment.read_bytes())
    data[8:10] = (99).to_bytes(2, "little")
    data[68:72] = crc32(data[:68]).to_bytes(4, "little")
    segment.write_bytes(data)

    done = drain(receiver, directory)

    assert done.returncode == 1
    assert f"which is newer, wrote {segment}; it is left alone" in done.stdout
    assert segment.read_bytes() == data
    assert receiver.bodies == []


def test_nothing_there_is_said(receiver: Collector, directory: Path) -> None:
    """An empty directory, and none at all."""
    missing = drain(receiver, directory)
    directory.mkdir(mode=0o700)
    empty = drain(receiver, directory)

    assert (missing.returncode, empty.returncode) == (0, 0)
    assert missing.stdout == f"Nothing waits in {directory} (there is no such directory)\n"
    assert empty.stdout == f"Nothing waits in {directory}\n"
    assert not receiver.bodies


# ---- what remains


def test_a_collector_that_is_down(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """One try, its reason, and all stays; the next time it arrives."""
    killed(4, still_open=1)
    receiver.refuse()

    failed = drain(receiver, directory)

    assert (failed.returncode, failed.stderr) == (1, "")
    assert f"5 spans remain in {directory}: {receiver.url}/v1/traces: " in failed.stdout
    assert "refused" in failed.stdout
    receiver.listen()
    assert drain(receiver, directory).returncode == 0
    assert len(receiver.ids) == len(set(receiver.ids)) == 5


def test_the_collector_s_words(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """Why it does not take them; without the credentials that were sent."""
    killed(2)
    receiver.behave(Reply(401, body=b"the token s3cr3t has expired"))

    done = drain(receiver, directory, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20s3cr3t")

    assert done.returncode == 1
    assert "401" in done.stdout
    assert "has expired" in done.stdout
    assert "s3cr3t" not in done.stdout + done.stderr
    assert receiver.headers[0]["authorization"] == "Bearer s3cr3t"


def test_a_collector_that_stumbles_is_tried_again(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """It took some: what it does not take at once is worth a second try."""
    killed(1200)
    receiver.then.extend([Reply(kept=True), Reply(503), Reply(503)])

    done = drain(receiver, directory)

    assert done.returncode == 0, done.stdout
    assert len(set(receiver.ids)) == 1200


def test_a_collector_that_says_when_is_asked_then(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """`Retry-After`: it is not down, it is busy."""
    killed(3)
    receiver.then.append(Reply(503, {"Retry-After": "1"}))

    done = drain(receiver, directory)

    assert done.returncode == 0, done.stdout
    assert len(receiver.names) == 3


def test_what_the_collector_rejects_is_lost_and_said(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """A partial success, with its words."""
    killed(10)
    receiver.behave(partly(3, "too old for us"))

    done = drain(receiver, directory)

    assert done.returncode == 0
    assert "Delivered 7 spans" in done.stdout
    assert (
        "3 spans lost: the collector rejected them (lastly: rejected 3 spans: too old for us)"
        in done.stdout
    )


def test_an_interruption_leaves_the_rest(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """Ctrl-C while a request is under way: no traceback, and nothing is lost."""
    killed(30)
    receiver.behave(HANG)
    process = subprocess.Popen(
        [COMMAND, "drain", "--spool", str(directory), "--endpoint", receiver.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    receiver.wait_for_requests(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, err) == (1, "")
    assert out == f"30 spans remain in {directory}: it was interrupted\n"
    receiver.behave(Reply(kept=True))
    assert drain(receiver, directory).returncode == 0
    assert len(receiver.names) == 30


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(where)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a file system")
    yield where
    subprocess.run(["umount", "--lazy", where], check=True)


def test_a_full_disk_is_emptied(receiver: Collector, small_disk: Path) -> None:
    """Delivering makes room; open spans, which need some, come then."""
    directory = small_disk / "spool"
    Leaver(directory, 1000, 3, "span").kill()
    with (
        open(small_disk / "filler", "wb", buffering=0) as file,
        pytest.raises(OSError, match="space"),
    ):
        while True:
            file.write(b"x" * 4096)

    done = drain(receiver, directory)

    assert done.returncode == 0, done.stdout
    assert len(set(receiver.ids)) == 1003
    assert list(directory.iterdir()) == []


def test_sigterm_leaves_the_rest(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """Ended from outside in the middle: what was not acknowledged is still there."""
    killed(30, still_open=2)
    receiver.behave(HANG)
    process = subprocess.Popen([COMMAND, "drain", "--spool", directory, "--endpoint", receiver.url])
    receiver.wait_for_requests(1)
    process.terminate()
    process.wait(30)
    receiver.behave(Reply(kept=True))

    done = drain(receiver, directory)

    assert done.returncode == 0
    assert len(receiver.names) == 32


def test_two_at_once_deliver_each_span_once(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """They share the files between them."""
    for number in range(6):
        killed(40, name=f"p{number}")
    receiver.behave(Reply(kept=True, after=0.1))
    both = [
        subprocess.Popen(
            [COMMAND, "drain", "--spool", directory, "--endpoint", receiver.url],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for one in both:
        one.communicate(timeout=60)

    assert [one.returncode for one in both] == [0, 0]
    assert len(receiver.ids) == len(set(receiver.ids)) == 240


def test_a_file_that_somebody_looks_at_is_taken_a_moment_later(
    receiver: Collector,
    directory: Path,
    killed: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who looks whether a process lives has its file's lock meanwhile: nothing remains for that."""
    import flowspan
    from flowspan.delivery._directory import Directory

    killed(40)
    open_dead = Directory.open_dead
    looked: list[str] = []

    def locked_for_a_moment(directory: Directory, path: str) -> int | None:
        looked.append(path)
        return None if len(looked) <= 4 else open_dead(directory, path)

    monkeypatch.setattr(Directory, "open_dead", locked_for_a_moment)
    otlp = flowspan.config.OtlpConfig(endpoint=f"{receiver.url}/v1/traces")

    done = _drain.drain(flowspan.Config(otlp=otlp), str(directory))

    assert (done.is_complete, done.delivered) == (True, 40)


# ---- parked spans


def test_parked_spans_are_listed_only(receiver: Collector, directory: Path) -> None:
    """When, where and why; nobody sends them."""
    park(directory, request_of("poison"), "bad span")

    done = drain(receiver, directory)

    assert done.returncode == 0
    first, second = done.stdout.splitlines()[:2]
    assert first == "1 span is parked, refused; --parked tries again:"
    assert re.fullmatch(r"  \d{4}-\d\d-\d\dT[\d:]{8}Z  \S+\.parked  bad span", second)
    assert not receiver.bodies


def test_parked_spans_are_tried_again_when_asked(receiver: Collector, directory: Path) -> None:
    """What is taken now is gone; what is refused again stays."""
    park(directory, request_of("mended"), "bad span")
    park(directory, request_of("poison"), "bad span")
    receiver.behave(
        lambda request, body: (
            Reply(400, body=b"still bad") if b"poison" in body else Reply(kept=True)
        )
    )

    done = drain(receiver, directory, "--parked")

    assert done.returncode == 1
    assert receiver.names == ["mended"]
    assert "Delivered 1 span to" in done.stdout
    assert "1 span is parked, refused again" in done.stdout
    assert "still bad" in done.stdout
    (left,) = directory.glob("*.parked")
    assert b"poison" in left.read_bytes()


def test_a_span_that_is_refused_now_is_parked(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """The others arrive; exit 1, because one did not."""
    killed(20)
    receiver.behave(
        lambda request, body: Reply(400, body=b"no") if b"span-7" in body else Reply(kept=True)
    )

    done = drain(receiver, directory)

    assert done.returncode == 1
    assert len(receiver.names) == 19
    assert "1 span is parked, refused" in done.stdout


# ---- where from and where to


def test_the_environment_names_both(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """`FLOWSPAN_SPOOL_DIR` and the OTLP settings, as for the process that wrote."""
    killed(1)

    done = flowspan_command(
        "drain",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{receiver.url}/custom",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        FLOWSPAN_SPOOL_DIR=str(directory),
    )

    assert done.returncode == 0, done.stdout
    assert receiver.headers[0]["content-encoding"] == "gzip"
    assert len(receiver.names) == 1


def test_without_a_directory_it_is_the_endpoint_s(
    receiver: Collector, state_directory: Path, killed: Callable[..., None], directory: Path
) -> None:
    """Each endpoint has its own; what waits for another is said, and not sent here."""
    killed(2)
    nothing = flowspan_command("drain", OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url)
    place = nothing.stdout.removeprefix("Nothing waits in ").split(" (", 1)[0]
    assert Path(place).parent == state_directory / "flowspan"
    Path(place).parent.mkdir(parents=True)
    other = state_directory / "flowspan" / "0123456789abcdef"
    directory.rename(other)

    beside = flowspan_command("drain", "--endpoint", receiver.url)
    assert f"2 spans for another endpoint or tenant: --spool {other}\n" in beside.stdout
    assert not receiver.bodies
    other.rename(place)
    done = flowspan_command("drain", "--endpoint", receiver.url)

    assert "Delivered 2 spans from 1 file" in done.stdout


def test_the_disk_is_switched_off() -> None:
    """Then there is nothing to look for."""
    done = flowspan_command("drain", FLOWSPAN_SPOOL_DIR="none")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "FLOWSPAN_SPOOL_DIR is none: nothing waits on the disk\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--spool", __file__], f"--spool='{__file__}': expected the directory of a spool"),
        (["--spool", ""], "--spool='': expected the directory of a spool"),
        (["--endpoint", "ftp://u:s3cr3t@x"], "--endpoint='ftp://***@x': expected an http:// or"),
        (["--endpoint", ""], "--endpoint='': expected an http:// or https:// URL"),
        (["--endpoint", "http://[::1"], "--endpoint='http://[::1': expected an http:// or"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments: list[str], sentence: str) -> None:
    """It names the argument, the value and what is accepted."""
    done = flowspan_command("drain", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1
    assert "s3cr3t" not in done.stderr


def test_a_directory_that_is_not_ours(
    receiver: Collector, directory: Path, killed: Callable[..., None], tmp_path: Path
) -> None:
    """A link, or one that others may write to, is refused; nothing is sent from it."""
    killed(1)
    link = tmp_path / "link"
    link.symlink_to(directory)
    linked = drain(receiver, link)
    directory.chmod(0o777)
    opened = drain(receiver, directory)

    assert (linked.returncode, opened.returncode) == (2, 2)
    assert "is a symbolic link" in linked.stderr
    assert "others may write to the spool directory" in opened.stderr
    assert not receiver.bodies


# ---- what it looks like


def test_progress_is_plain_lines_where_there_is_no_terminal(
    receiver: Collector, directory: Path, killed: Callable[..., None]
) -> None:
    """A few of them, on the other output, up to the last."""
    killed(3000)

    done = drain(receiver, directory)

    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= 10
    assert all(re.fullmatch(r"\d+ of 3000 spans", line) for line in lines)
    assert lines[-1] == "3000 of 3000 spans"
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("colour", [True, False])
def test_progress_is_a_bar_on_a_terminal(
    receiver: Collector, directory: Path, killed: Callable[..., None], colour: bool
) -> None:
    """And without colour if `NO_COLOR` says so."""
    killed(50)
    terminal, other = pty.openpty()
    variables = {"TERM": "xterm-256color"} | ({} if colour else {"NO_COLOR": "1"})
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    try:
        done = subprocess.run(
            [COMMAND, "drain", "--spool", str(directory), "--endpoint", receiver.url],
            env=kept | variables,
            stdout=subprocess.PIPE,
            stderr=other,
            timeout=60,
            check=False,
        )
    finally:
        os.close(other)
    drawn = b""
    while part := _read(terminal):
        drawn += part
    os.close(terminal)

    assert done.returncode == 0
    assert b"Delivering" in drawn
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-9]", drawn)) is colour


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_json(receiver: Collector, directory: Path, killed: Callable[..., None]) -> None:
    """One object with the same figures, and nothing else."""
    killed(5, still_open=1)
    park(directory, request_of("poison"), "bad span")

    done = drain(receiver, directory, "--json")

    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}Z", found.pop("oldest"))
    (parked,) = found.pop("parked")
    assert (parked["spans"], parked["reason"]) == (1, "bad span")
    assert found == {
        "spool": str(directory),
        "endpoint": f"{receiver.url}/v1/traces",
        "delivered": 6,
        "files": 2,
        "abandoned": 1,
        "remaining": 0,
        "reason": "",
        "rejected": 0,
        "dropped": {},
        "damaged": 0,
        "held": [],
        "newer": [],
        "interrupted": False,
        "complete": True,
    }


def test_help_fits_a_screen() -> None:
    """24 lines of 80 characters."""
    lines = flowspan_command("drain", "--help").stdout.splitlines()

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_patience_ends(
    receiver: Collector,
    directory: Path,
    killed: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A collector that took some and then no more is given up after a while."""
    import flowspan

    monkeypatch.setattr(_drain, "PATIENCE", 0.5)
    killed(1200)
    receiver.then.append(Reply(kept=True))
    receiver.behave(Reply(503))
    otlp = flowspan.config.OtlpConfig(endpoint=f"{receiver.url}/v1/traces")

    done = _drain.drain(flowspan.Config(otlp=otlp), str(directory))

    assert not done.is_complete
    assert done.delivered + done.remaining == 1200
    assert done.delivered
    assert "503" in done.reason


# ---- a real one


@pytest.mark.backends
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_real_collector_takes_them(
    collector: RealCollector,
    jaeger: Jaeger,
    directory: Path,
    killed: Callable[..., None],
    protocol: str,
) -> None:
    """From a killed process to Jaeger, the open span as abandoned."""
    service = f"drained-{protocol.replace('/', '-')}"
    killed(100, still_open=1, name=service)
    endpoint = collector.otlp_http if protocol != "grpc" else f"http://{collector.otlp_grpc}"

    done = flowspan_command(
        "drain",
        "--spool",
        str(directory),
        OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Delivered 101 spans" in done.stdout
    traces = jaeger.traces(service, until=lambda found: len(found) == 101)
    (left,) = [
        span for spans in traces.values() for span in spans if span["name"].endswith("-open-0")
    ]
    assert left["attributes"]["flowspan.status"] == "abandoned"
