"""What holds for every command: how it ends, what it prints where, and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowspan.cli import main
from test_cli import COMMAND, flowspan_command

FAILING = """
import flowspan.cli
@flowspan.cli.main.command()
def fails():
    {}
flowspan.cli.main(["fails"])
"""


def failing(body: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command whose body is *body*."""
    return subprocess.run(
        [sys.executable, "-c", FAILING.format(body)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["", *main.commands])
def test_help_fits_a_screen(command: str) -> None:
    """24 lines of 80 columns, in a terminal of any width."""
    done = flowspan_command(*command.split(), "--help", COLUMNS="200")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert done.stdout == flowspan_command(*command.split(), "-h", COLUMNS="200").stdout


def test_help_imports_neither_opentelemetry_nor_rich() -> None:
    """That is what it costs no time by."""
    code = (
        "import sys\nfrom flowspan.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_arguments_are_exit_code_2() -> None:
    """click's words; it guesses what was meant."""
    done = flowspan_command("drain", "--parkd")

    assert (done.returncode, done.stdout) == (2, "")
    assert "--parkd" in done.stderr
    assert flowspan_command("drian").returncode == 2


def test_an_unexpected_error_is_one_sentence() -> None:
    """What it was, and how to report it; a secret in it is hidden."""
    done = failing("raise ValueError('lost:\\n password=hunter22222')")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "flowspan: ValueError: lost: password=[REDACTED]. This is a mistake in flowspan: please "
        "report it, with what the same command prints after PYTHONDEVMODE=1"
    ]


def test_development_mode_shows_the_traceback() -> None:
    """Python's own switch, and none of ours."""
    done = failing("raise ValueError('lost')", PYTHONDEVMODE="1")

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.rstrip().endswith("ValueError: lost")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("open('/no/such/file')", "flowspan: no such file or directory: /no/such/file"),
        ("raise OSError(28, 'No space left on device')", "flowspan: no space left on device"),
        (
            "import not_there",
            "flowspan: a package cannot be imported (No module named 'not_there'); "
            "flowspan doctor looks at that",
        ),
    ],
)
def test_what_the_machine_lacks_is_no_mistake_of_ours(body: str, said: str) -> None:
    """The system's words and the file, or the package."""
    done = failing(body)

    assert (done.returncode, done.stderr) == (1, f"{said}\n")


def test_ctrl_c_is_130() -> None:
    """Without a word."""
    done = failing("raise KeyboardInterrupt")

    assert (done.returncode, done.stderr.strip()) == (130, "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"]])
def test_nobody_reads_any_more(arguments: list[str]) -> None:
    """`flowspan … | head`: no error message, and the exit code of a process that SIGPIPE ended."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [COMMAND, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


def test_nobody_reads_what_is_still_in_a_buffer() -> None:
    """It breaks at the last flush only."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", FAILING.format("print('x')")],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a full disk at hand")
def test_a_full_disk_under_the_output() -> None:
    """One sentence, not one of the interpreter's."""
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (done.returncode, done.stderr) == (1, "flowspan: no space left on device\n")


def test_a_terminal_without_unicode() -> None:
    """A sign that it does not have is written out."""
    done = failing("print('caf\\u00e9 \\u2713')", PYTHONIOENCODING="ascii")

    assert (done.returncode, done.stdout) == (0, "caf\\xe9 \\u2713\n")


def test_a_propagator_that_nobody_offers() -> None:
    """OpenTelemetry's own module cannot be imported with it: the variable is named."""
    done = failing("import flowspan.propagation", OTEL_PROPAGATORS="tracecontext,zipkin")

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "flowspan: OTEL_PROPAGATORS='tracecontext,zipkin': no installed package offers 'zipkin'"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """By click's own means, as docs/commands.md says."""
    done = flowspan_command(_FLOWSPAN_COMPLETE=f"{shell}_source")
    if shell == "bash" and "bash" in done.stderr:
        pytest.skip("click asks bash for its version, and there is none")

    assert done.returncode == 0
    assert "_FLOWSPAN_COMPLETE" in done.stdout


def test_completion_knows_the_commands() -> None:
    """What bash asks for while somebody types."""
    done = flowspan_command(
        _FLOWSPAN_COMPLETE="bash_complete", COMP_WORDS="flowspan d", COMP_CWORD="1"
    )

    words = [line.partition(",")[2] for line in done.stdout.splitlines()]
    assert words == sorted(name for name in main.commands if name.startswith("d"))


@pytest.mark.parametrize("name", sorted(main.commands))
def test_each_command_says_what_it_does(name: str) -> None:
    """In one line of the list of commands, whole."""
    shown = main.commands[name].get_short_help_str(60)

    assert shown
    assert not shown.endswith("...")


def test_json_is_one_object() -> None:
    """Nothing else stands on the standard output."""
    done = flowspan_command("drain", "--json", FLOWSPAN_SPOOL_DIR="none")

    assert isinstance(json.loads(done.stdout), dict)
