"""`flowspan demo` as people meet it: a page, a browser or none, many runs, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pytest

from backends import Jaeger
from pages import HOW_TO_GET_CHROMIUM, can_open_pages, running_browser
from processes import Sink
from test_cli import COMMAND, FLOWS, closed_port, flowspan_command


@pytest.fixture
def nowhere() -> str:
    return f"http://127.0.0.1:{closed_port()}"


def page_of(output: str) -> Path:
    (uri,) = re.findall(r"As a page(?:, opened in the browser)?: file://(\S+)", output)
    return Path(unquote(uri))


def runs_in(page: Path) -> list[str]:
    """The names of the runs that the page holds."""
    index = json.loads(re.search(r'id="index">(.*?)</script>', page.read_text(), re.DOTALL)[1])
    return [trace["names"][trace["name"][trace["root"]]] for trace in index["traces"]]


@contextmanager
def started(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", **variables}
    with subprocess.Popen(
        [COMMAND, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def on_a_terminal(*arguments: str, **variables: str) -> tuple[int, str]:
    """Exit code and what a terminal showed."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "DISPLAY")}
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        env={**kept, "TERM": "xterm-256color", "COLUMNS": "200", **variables},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        shown = bytearray()
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(ours)
    return process.returncode, shown.decode()


def test_without_a_collector_it_ends_in_a_page(nowhere: str) -> None:
    """With all that the terminal showed; nobody looks at a pipe, so no browser comes."""
    done = flowspan_command("demo", OTEL_EXPORTER_OTLP_ENDPOINT=nowhere, BROWSER="false")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("As a page: file:///")
    assert sorted(runs_in(page_of(done.stdout))) == sorted(FLOWS)


@pytest.mark.browser
@pytest.mark.skipif(not can_open_pages(), reason=HOW_TO_GET_CHROMIUM)
def test_the_page_shows_the_runs(nowhere: str) -> None:
    """In a real browser: the tree of one flow."""
    done = flowspan_command("demo", OTEL_EXPORTER_OTLP_ENDPOINT=nowhere)

    with running_browser() as browser:
        page = browser.new_page()
        page.goto(page_of(done.stdout).as_uri())
        page.locator(".run", has_text="Trip planner").click()
        assert page.locator("#rows .row:visible .name").all_inner_texts() == [
            "Trip planner",
            "Agent",
            "get_weather",
            "find_hotel",
        ]


def test_a_home_that_cannot_be_written_needs_none(nowhere: str, tmp_path: Path) -> None:
    """The page lies among the temporary files then."""
    done = flowspan_command(
        "demo",
        OTEL_EXPORTER_OTLP_ENDPOINT=nowhere,
        XDG_CACHE_HOME="/dev/null",
        TMPDIR=str(tmp_path),
    )

    assert done.returncode == 0
    assert page_of(done.stdout).is_relative_to(tmp_path)


def test_on_a_terminal_the_browser_opens_the_page(nowhere: str, tmp_path: Path) -> None:
    """The one that is wanted; a bar shows that it works, and is gone at the end."""
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >"{opened}"\n')
    browser.chmod(0o755)

    code, shown = on_a_terminal(
        "demo", OTEL_EXPORTER_OTLP_ENDPOINT=nowhere, BROWSER=f"{browser} %s"
    )

    assert code == 0
    assert "As a page, opened in the browser: file://" in shown
    assert opened.read_text().strip() == page_of(shown).as_uri()
    assert re.search(r"Running .*\d/4", shown)


def test_a_browser_that_hangs_is_left_alone(nowhere: str, tmp_path: Path) -> None:
    """The demo ends whatever it does."""
    pid = tmp_path / "pid"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nexec >/dev/null 2>&1; echo $$ >"{pid}"; exec sleep 600\n')
    browser.chmod(0o755)

    code, _ = on_a_terminal("demo", OTEL_EXPORTER_OTLP_ENDPOINT=nowhere, BROWSER=f"{browser} %s")

    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert code == 0


@pytest.mark.parametrize("why", ["--no-browser", "CI", "no display"])
def test_no_browser_where_none_is_wanted(why: str, nowhere: str, tmp_path: Path) -> None:
    """Nor in CI, nor without a display: it says where the page is."""
    variables = {"CI": "true"} if why == "CI" else {}
    if why != "no display":
        variables["BROWSER"] = f"{tmp_path}/not-there %s"

    code, shown = on_a_terminal(
        "demo",
        *(["--no-browser"] if why == "--no-browser" else []),
        OTEL_EXPORTER_OTLP_ENDPOINT=nowhere,
        **variables,
    )

    assert code == 0
    assert "As a page: file://" in shown


def test_runs_are_as_many_as_asked(nowhere: str) -> None:
    """The flows in turn; the terminal shows eight, as many of each, the page all."""
    done = flowspan_command("demo", "--runs", "10", OTEL_EXPORTER_OTLP_ENDPOINT=nowhere)

    assert done.returncode == 0
    shown = [line.partition("  ")[0] for line in done.stdout.splitlines() if "  run  " in line]
    assert sorted(shown) == sorted([*FLOWS] * 2)
    assert "  and 2 more\n" in done.stdout
    assert len(runs_in(page_of(done.stdout))) == 10


def test_live_goes_on_until_ctrl_c(sink: Sink) -> None:
    """Each run is said with its link as it begins; what was open then arrives as well."""
    endpoint = sink.url
    named = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "FLOWSPAN_TRACE_URL": "http://jaeger"}
    with started("demo", "--live", **named) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        lines += process.stdout.readlines()
        assert process.wait() == 0

    assert lines[0] == f"Runs go to {endpoint}/v1/traces until Ctrl-C\n"
    links = [line for line in lines if "  http://jaeger/trace/" in line]
    roots = [span for span in sink.spans if not span.parent_span_id]
    assert len(roots) == len(links) >= 3
    assert lines[-1] == f"Exported {len(sink.spans)} spans to {endpoint}/v1/traces\n"


def test_live_without_a_collector_ends_in_a_page(nowhere: str) -> None:
    """What was open at Ctrl-C is in it too: called off."""
    with started("demo", "--live", OTEL_EXPORTER_OTLP_ENDPOINT=nowhere) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait() == 0

    assert lines[1] == "Runs until Ctrl-C; their traces come then\n"
    assert "cancelled" in rest
    assert "KeyboardInterrupt" not in rest
    assert "Support bot" in runs_in(page_of(rest))


# ---- where the links lead


def with_jaegers_port(port: int | str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`flowspan demo`, where *port* is what a Jaeger's pages are on by default."""
    program = (
        "from flowspan.cli import main\n"
        "from flowspan.cli.doctor import _jaeger\n"
        f"_jaeger.PORT = {port}\n"
        "main(['demo'])"
    )
    return flowspan_command("-c", program, command=sys.executable, **variables)


def test_the_variable_makes_the_links(sink: Sink) -> None:
    """`FLOWSPAN_TRACE_URL`, of any backend; and its log lines stay out of the demo's."""
    grafana = "http://grafana/explore?trace={trace_id}&run={run_id}"

    done = flowspan_command(
        "demo", OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, FLOWSPAN_TRACE_URL=grafana
    )

    assert (done.returncode, done.stderr) == (0, "")
    traces = {span.trace_id.hex() for span in sink.spans}
    links = re.findall(r"http://grafana/explore\?trace=(\w{32})&run=[\w-]+$", done.stdout, re.M)
    assert sorted(links) == sorted(traces)


def test_no_jaeger_no_link(sink: Sink) -> None:
    """No link that leads nowhere: the ids of the traces, and what makes links of them."""
    port = closed_port()

    done = with_jaegers_port(port, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)

    assert (done.returncode, done.stderr) == (0, "")
    first, _, *lines = done.stdout.splitlines()
    assert first == (
        f"No Jaeger answers at http://127.0.0.1:{port} or http://localhost:{port}: "
        "--jaeger URL or FLOWSPAN_TRACE_URL makes links"
    )
    shown = {line.rpartition("  ")[2] for line in lines}
    assert shown == {span.trace_id.hex() for span in sink.spans}


@pytest.mark.backends
def test_a_jaeger_that_answers_gets_the_links(jaeger: Jaeger) -> None:
    """Nobody named it: it is on the collector's host. Each link leads to its flow."""
    done = with_jaegers_port(
        jaeger.query.rpartition(":")[2], OTEL_EXPORTER_OTLP_ENDPOINT=jaeger.otlp_http
    )

    assert (done.returncode, done.stderr) == (0, "")
    links = re.findall(rf"^  (.+?) +{jaeger.query}/trace/(\w{{32}})$", done.stdout, re.M)
    assert sorted(name for name, _ in links) == sorted(FLOWS)
    for name, trace_id in links:
        assert name in {span["name"] for span in jaeger.trace(trace_id)}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("jaeger:16686", "'jaeger:16686'"),
        ("http://me:secret@jaeger", "'http://***@jaeger'"),
        ("http://jaeger/{span}", "'http://jaeger/{span}'"),
    ],
)
def test_a_jaeger_that_is_none_is_refused(given: str, shown: str) -> None:
    """Before anything runs, and with no password in it."""
    done = flowspan_command("demo", "--jaeger", given)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"--jaeger={shown}: expected an http:// or https:// URL")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--runs", "0"), ("--live", "--runs", "2")])
def test_wrong_arguments_are_a_sentence(arguments: tuple[str, ...]) -> None:
    """And exit with 2."""
    done = flowspan_command("demo", *arguments)

    assert done.returncode == 2
    assert "--runs" in done.stderr.splitlines()[-1]
