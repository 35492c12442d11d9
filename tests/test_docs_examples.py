"""
Every example of the documents is run: here, or by the test that `ELSEWHERE` names.

A line that cannot be run on a test machine is a skipped test that says why. The recipes have
`test_recipes.py`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faults import Collector
from processes import NOT_KEPT
from programs import GUARD
from recipes import BIN, wait_for_port

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

ELSEWHERE = {
    "README.md": "test_docs.py",
    "platform.md": "test_docs.py",
    "delivery.md": "test_docs.py",
    "logs.md": "test_docs.py",
    "testing.md": "test_docs.py",
    "tutorial.md": "test_docs_examples.py",
}
"""Whose Python is run by tests that know more of it; they say that none is left out."""

BEFORE = {
    "langchain.md": """
from langchain_core.language_models import FakeListLLM
from langchain_core.prompts import PromptTemplate
import flowspan
service = flowspan.TracingService()
model = FakeListLLM(responses=["four", "four"])
chain, question = PromptTemplate.from_template("{q}") | model, {"q": "2 + 2?"}
""",
    "reference.md": """
import flowspan
run_id, inputs, outputs = "r-1", {"question": "why?"}, {"text": "because"}
""",
}
"""What a page takes for granted."""

SPANS = {
    "langchain.md": ["RunnableSequence", "text_completion", "text_completion"],
    "reference.md": ["Prompt", "Support bot"],
}
"""What arrives from all blocks of a page together."""

NOT_RUN = {
    "docker compose": "no Docker engine; .ci/run checks the file, tests/backends what it starts",
    "pip install": ".ci/run installs the wheel in an empty environment; tests/in_langflow/install",
    "python3 -m venv": ".ci/run runs the test command, and the demo of an installed wheel",
    ". .venv/bin/activate": "an environment is active here",
    "langflow run": "tests/in_langflow runs Langflow's server",
    "lfx run": "test_lfx.py runs it",
    "flowspan view --listen": "it runs until Ctrl-C; test_the_tutorial does it",
    "OTEL_TRACES_EXPORTER=none": "test_docs.py::test_with_opentelemetry_instrument",
}
"""Lines that begin so, and why they are not run here."""


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    code: str
    output: str
    """The text block right below it."""


def blocks_of(path: Path) -> Iterator[Block]:
    found = re.findall(r"```(\w+)\n(.*?)```\n(?:\n```text\n(.*?)```)?", path.read_text(), re.DOTALL)
    for language, code, output in found:
        yield Block(path.name, language, code, output)


TUTORIAL_PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = [block for path in PAGES for block in blocks_of(path)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
SHELL = [(b.page, line) for b in BLOCKS if b.language == "sh" for line in b.code.splitlines()]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def start(command: list[str], collector: Collector, directory: Path) -> subprocess.Popen[str]:
    """In *directory*; its spans go to *collector*, and wait in *directory* where that refuses."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(NOT_KEPT)}
    (directory / ".config" / "fish" / "completions").mkdir(parents=True, exist_ok=True)
    ours = {
        "HOME": str(directory),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "FLOWSPAN_SPOOL_DIR": str(directory / "spool"),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "PYTHONIOENCODING": "utf-8",
        "PATH": f"{BIN}{os.pathsep}{kept['PATH']}",
    }
    return subprocess.Popen(
        command,
        env=kept | ours,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def run(command: list[str], collector: Collector, directory: Path) -> tuple[int, str]:
    """Its exit code, and all that it said."""
    process = start(command, collector, directory)
    said = process.communicate(timeout=GUARD)[0]
    return process.returncode, said


def run_python(code: str, collector: Collector, directory: Path) -> str:
    """What it prints. `await` may stand in it as it does on a page."""
    if re.search(r"^(await|async with) ", code, re.MULTILINE):
        body = "".join(f"    {line}\n" for line in code.splitlines())
        code = f"import asyncio\nasync def main():\n{body}\nasyncio.run(main())\n"
    (directory / "example.py").write_text(code)
    returned, said = run(["python", "example.py"], collector, directory)
    assert returned == 0, said
    return said


PAGES_WITH_PYTHON = sorted({block.page for block in PYTHON} - set(ELSEWHERE))


@pytest.mark.parametrize("page", PAGES_WITH_PYTHON)
def test_python_runs(page: str, collector: Collector, tmp_path: Path):
    """Each block as it stands, and it prints what stands below it."""
    for block in (block for block in PYTHON if block.page == page):
        printed = run_python(BEFORE.get(page, "") + block.code, collector, tmp_path)
        if block.output:
            assert printed == block.output
    if page in SPANS:
        assert collector.names == SPANS[page]


@pytest.mark.parametrize(("page", "line"), SHELL, ids=lambda text: text)
def test_a_command_runs(page: str, line: str, collector: Collector, tmp_path: Path):
    """Each line by itself; those of the tutorial belong together and have a test below."""
    if page == "tutorial.md" and line in TUTORIAL:
        return
    reasons = [reason for start, reason in NOT_RUN.items() if line.startswith(start)]
    if reasons:
        pytest.skip(f"{page}: `{line}` is not run here: {reasons[0]}")
    assert page != "tutorial.md", "its test does not type this"
    if "traces.json" in line:
        save_traces(collector, tmp_path)
    returned, said = run(["bash", "-ec", line], collector, tmp_path)
    assert returned == 0, said


def save_traces(collector: Collector, directory: Path) -> None:
    """`traces.json`, which pages about traces take for granted."""
    collector.refuse()
    (code,) = [block.code for block in PYTHON if block.page == "README.md"]
    (directory / "flow.py").write_text(code)
    for command in ("python flow.py", "flowspan view --spool --otlp-json traces.json"):
        returned, said = run(command.split(), collector, directory)
        assert returned == 0, said


# ---- the tutorial

TUTORIAL = [
    "flowspan demo",
    "export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318",
    "python hello.py",
    "flowspan view --spool",
    "flowspan view --listen",
    "python hello.py 1138",
    "flowspan view --spool --html traces.html",
    "flowspan drain",
]


def shown(command: str) -> str:
    """The output that the tutorial shows below the first block that ends with *command*."""
    tutorial = [block for block in BLOCKS if block.page == "tutorial.md"]
    return next(block.output for block in tutorial if block.code.splitlines()[-1] == command)


def test_the_tutorial(collector: Collector, tmp_path: Path):
    """From the first run without a collector to a page and a delivery, in order."""
    (code,) = [block.code for block in PYTHON if block.page == "tutorial.md"]
    (tmp_path / "hello.py").write_text(code)
    collector.refuse()

    def typed(command: str) -> tuple[int, str]:
        returned, said = run(command.split(), collector, tmp_path)
        return returned, said.replace(collector.url, "http://localhost:4318")

    assert_shown(typed("python hello.py"), 0, shown("python hello.py"))
    assert_shown(typed("flowspan view --spool"), 0, shown("flowspan view --spool"))

    view = start(["flowspan", "view", "--listen", str(collector.port)], collector, tmp_path)
    try:
        wait_for_port(collector.port, view)
        assert typed("python hello.py") == (0, "Order 1138 is shipped.\n")
        assert_shown(typed("python hello.py 1138"), 1, shown("python hello.py 1138"))
    finally:
        view.send_signal(signal.SIGINT)
        seen = view.communicate(timeout=GUARD)[0]
    (failed,) = re.findall(r"```text\n(Support bot .* error\n(?:.*\n)*?)```", TUTORIAL_PAGE)
    assert_shown((view.returncode, seen), 0, f"{shown('flowspan view --spool')}{failed}")
    assert "3 traces, 9 spans" in seen

    typed("python hello.py")
    page = "flowspan view --spool --html traces.html"
    assert_shown(typed(page), 0, shown(page))
    assert "Order Search" in (tmp_path / "traces.html").read_text()

    collector.listen()
    assert_shown(typed("flowspan drain"), 0, shown("flowspan drain"))
    assert collector.names == ["Model", "Order Search", "Support bot"]


def assert_shown(ran: tuple[int, str], code: int, expected: str) -> None:
    """*expected* is in it, line by line, but for times; an ellipsis stands for what differs."""
    assert ran[0] == code, ran[1]
    said = "\n".join(map(without_times, ran[1].splitlines()))
    for line in map(without_times, expected.splitlines()):
        pattern = ".*".join(map(re.escape, line.split("…")))
        assert re.search(pattern, said), f"{line!r} is not in {ran[1]!r}"


def test_the_demo_draws_what_the_pages_show(collector: Collector, tmp_path: Path):
    """But for the times."""
    collector.refuse()
    returned, said = run(["flowspan", "demo"], collector, tmp_path)
    assert returned == 0, said
    drawn = [without_times(line) for line in said.splitlines()]

    texts = re.findall(
        r"```text\n(Support bot .*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    (demo,) = re.findall(r"```text\n(Support bot .* ok\n(?:.*\n)*?)```", TUTORIAL_PAGE)
    assert texts
    for text in [*texts, demo]:
        for line in text.splitlines():
            assert without_times(line) in drawn


def without_times(line: str) -> str:
    """Neither durations nor bars."""
    return " ".join(re.sub(r"([\d.]+ [mu]?s\s+)*[█▒·]{20}", "", line).split())
