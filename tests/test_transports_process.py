"""Transports and the process around them: forks, and packages that offer credentials."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from collectors import GrpcCollector, HttpCollector, closing, server_context
from processes import in_process

TIME = 20.0

MADE = """
import gc, os
from flowspan.config import OtlpConfig
from flowspan.delivery._transport import make_transport
transport = make_transport(OtlpConfig(**{settings!r}))
answers = []
def send(body):
    answers.append(transport.send(body, 20).verdict.value)
"""
FORKED = """
send(b"first")
slow = threading.Thread(target=send, args=(b"slow",))
slow.start()
send(b"when slow is there")
child = os.fork()
if child == 0:
    transport.after_fork()
    accepted = transport.send(b"child", 20).verdict.value == "accepted"
    del transport
    gc.collect()
    {end}(0 if accepted else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
slow.join()
send(b"last")
transport.close()
result = [answers, code]
"""


def collector_of(protocol: str, certificates: Path | None) -> Any:
    if protocol == "grpc":
        return GrpcCollector(certificates=certificates)
    return HttpCollector(context=server_context(certificates) if certificates else None)


@pytest.mark.parametrize("end", ["os._exit", "sys.exit"])
@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_fork_leaves_the_parents_connections_alone(
    certificates: Path, protocol: str, secured: bool, end: str
):
    """
    The child closes its descriptors without a word: a request under way is still answered, the
    parent's connections go on, and the child has one of its own.
    """
    arrived = {name: threading.Event() for name in (b"slow", b"child")}
    waits = {b"slow": b"child", b"when slow is there": b"slow"}

    def before(body: bytes) -> None:
        if body in arrived:
            arrived[body].set()
        if body in waits:
            assert arrived[waits[body]].wait(TIME)

    with closing(collector_of(protocol, certificates if secured else None)) as collector:
        collector.before = before
        settings = {"protocol": protocol, "endpoint": collector.url}
        if secured:
            settings["certificate"] = str(certificates / "ca.pem")
        code = MADE.format(settings=settings) + FORKED.format(end=end)

        answers, exit_code = in_process(code)

        assert (answers, exit_code) == (["accepted"] * 4, 0)
        assert sorted(collector.bodies) == sorted([b"first", *waits, b"child", b"last"])
        assert collector.connections_so_far() == 3


@pytest.mark.parametrize("end", ["os._exit", "sys.exit"])
def test_a_fork_with_the_session_of_a_provider(package: Path, end: str):
    """As far as the session's connections can be found, they are left alone too."""
    with closing(HttpCollector()) as collector:
        code = MADE.format(settings={"endpoint": collector.url})
        code += FORKED.format(end=end)

        answers, exit_code = in_process(
            code,
            PYTHONPATH=str(package),
            NO_PROXY="*",
            **{VARIABLE.format("HTTP"): "session"},
        )

        assert (answers, exit_code) == (["accepted"] * 4, 0)


# ---- credential providers


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed package that offers `mine`, `broken` and `odd`."""
    folder = tmp_path / "mine-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[opentelemetry_otlp_credential_provider]\n"
        "session = mine:session\nchannel = mine:channel\nbroken = mine:broken\nodd = mine:odd\n"
    )
    (tmp_path / "mine.py").write_text(
        "import os\n"
        "def session():\n"
        "    import requests\n"
        "    made = requests.Session()\n"
        "    made.headers['x-token'] = 'minted'\n"
        "    return made\n"
        "def channel():\n"
        "    import grpc\n"
        "    return grpc.ssl_channel_credentials(open(os.environ['CA'], 'rb').read())\n"
        "def broken():\n"
        "    raise RuntimeError('sesame')\n"
        "def odd():\n"
        "    return 'sesame'\n"
    )
    return tmp_path


SENT = """
first = transport.send(b"first", 20)
second = transport.send(b"second", 20)
transport.close()
result = [first.verdict.value, second.verdict.value, second.message]
"""
VARIABLE = "OTEL_PYTHON_EXPORTER_OTLP_{}_CREDENTIAL_PROVIDER"


@pytest.mark.parametrize("name", ["HTTP", "HTTP_TRACES"])
@pytest.mark.parametrize("secured", [False, True])
def test_a_session_of_a_provider(package: Path, certificates: Path, name: str, secured: bool):
    """It sends, with its own headers and with ours, on a connection that it keeps."""
    with closing(collector_of("http", certificates if secured else None)) as collector:
        settings = {"endpoint": collector.url, "headers": {"x-key": "a"}, "compression": "gzip"}
        if secured:
            settings["certificate"] = str(certificates / "ca.pem")
        result = in_process(
            MADE.format(settings=settings) + SENT,
            PYTHONPATH=str(package),
            NO_PROXY="*",
            **{VARIABLE.format(name): "session"},
        )

        assert result == ["accepted", "accepted", ""]
        assert collector.connections == 1
        sent = collector.headers[1]
        assert (sent["x-token"], sent["x-key"], sent["content-encoding"]) == ("minted", "a", "gzip")


def test_a_session_that_gets_no_answer(package: Path):
    """What went wrong, in few words and without a secret."""
    settings = {"endpoint": "http://me:sesame@127.0.0.1:9/v1/traces?key=sesame"}
    result = in_process(
        MADE.format(settings=settings) + SENT,
        PYTHONPATH=str(package),
        NO_PROXY="*",
        **{VARIABLE.format("HTTP"): "session"},
    )

    refused = "http://127.0.0.1:9/v1/traces: connection refused"
    assert result == ["unavailable", "unavailable", refused]


@pytest.mark.parametrize("name", ["GRPC", "GRPC_TRACES"])
def test_channel_credentials_of_a_provider(package: Path, certificates: Path, name: str):
    """Only grpcio can use them, so it sends."""
    with closing(GrpcCollector(certificates=certificates)) as collector:
        settings = {"protocol": "grpc", "endpoint": collector.url, "headers": {"x-key": "a"}}
        result = in_process(
            MADE.format(settings=settings) + SENT,
            PYTHONPATH=str(package),
            CA=str(certificates / "ca.pem"),
            **{VARIABLE.format(name): "channel"},
        )

        assert result == ["accepted", "accepted", ""]
        assert collector.bodies == [b"first", b"second"]
        assert collector.headers[0]["x-key"] == "a"


@pytest.mark.parametrize("protocol", ["HTTP", "GRPC"])
@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ("nobodys", "no installed package offers the credential provider nobodys"),
        ("broken", "the credential provider broken failed (RuntimeError)"),
        ("odd", "the credential provider odd made a str, expected a"),
    ],
)
def test_a_provider_that_gives_nothing(package: Path, protocol: str, provider: str, says: str):
    """Nothing is sent without the credentials that were asked for; the spans wait."""
    settings = {
        "protocol": "grpc" if protocol == "GRPC" else "http/protobuf",
        "endpoint": "https://127.0.0.1:9",
    }
    result = in_process(
        MADE.format(settings=settings) + SENT,
        PYTHONPATH=str(package),
        **{VARIABLE.format(protocol): provider},
    )

    assert result[:2] == ["misconfigured", "misconfigured"]
    assert says in result[2]
    assert "sesame" not in result[2]
