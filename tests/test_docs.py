"""What the documents say is what the code does."""

import ast
import asyncio
import dataclasses
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry import trace

import flowspan.delivery
from conftest import Spans
from faults import Collector
from flowspan import semconv, testing

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
DELIVERY = (ROOT / "docs" / "delivery.md").read_text()
LANGFLOW = (ROOT / "docs" / "langflow.md").read_text()


MADE = runpy.run_path(str(ROOT / "docs" / "made.py"))


@pytest.mark.parametrize("page", MADE["PAGES"])
def test_what_is_made_from_the_code_is_up_to_date(page: str):
    """Attributes, metrics, variables and commands. Else: `python docs/made.py`."""
    assert (ROOT / "docs" / page).read_text() == MADE["made"](page)


def test_every_attribute_and_metric_has_a_row():
    """A name of `semconv.py` that is none of its values has a text below it, and no two are one."""
    values = ("STATUS_", "MIME_", "LINK_EDGE", "LINK_RESUME", "LINK_ORIGIN", "SCOPE_", "SCHEMA_")
    values += ("OTEL_COMPONENT_",)
    names = [n for n in vars(semconv) if n.isupper() and not n.startswith(values)]

    assert [name for name, _, _ in MADE["described"]()] == names
    assert len({getattr(semconv, name) for name in names}) == len(names)


def test_each_public_name_is_on_its_page():
    """With its docstring, on the site."""
    page = (ROOT / "docs" / "api.md").read_text()
    names = {name for name in flowspan.__all__ if not name.startswith("__")} - {"propagation"}

    assert not [name for name in names if not re.search(rf":: flowspan\.{name}\b", page)]


def test_python_for_a_platform_runs(configured):
    """One provider, one configuration, one endpoint, below a request that was sampled."""
    page = (ROOT / "docs" / "platform.md").read_text()
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    names: dict[str, Any] = {}
    exec(compile(code, "platform.md", "exec"), names)
    spans = Spans()
    names["provider"].add_span_processor(spans.processor)
    sampled = trace.SpanContext(1, 1, is_remote=True, trace_flags=trace.TraceFlags(1))

    with trace.use_span(trace.NonRecordingSpan(sampled)):
        assert asyncio.run(names["ask"]("rain")) == "About rain: yes."

    assert spans.tree() == {"Support bot": {"Answer": {}}}
    assert spans.named("Support bot").parent.span_id == 1


def test_the_page_for_a_platform_names_each_setting():
    """No field of `Config` is left out."""
    page = (ROOT / "docs" / "platform.md").read_text()
    derived = {"problems", "exporter_configured"}

    for setting in dataclasses.fields(flowspan.Config):
        assert setting.name in derived or f"`{setting.name}`" in page, setting.name


def test_python_in_the_readme_runs(spans):
    """The five lines for a workflow developer work as they stand."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    exec(compile(code, "README.md", "exec"), {})

    assert spans.tree() == {"Support bot": {"Prompt": {}}}


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_a_test_that_a_page_names_exists(page: Path):
    """What is promised is tested: `file.py::name`."""
    for file, name in re.findall(r"`(test_\w+\.py)::(\w+)`", page.read_text()):
        (path,) = (ROOT / "tests").rglob(file)
        tests = path.read_text()
        assert re.search(rf"^(async )?def {name}\(", tests, re.MULTILINE), f"{file}::{name}"


def test_each_row_of_the_matrix_names_a_test_that_exists():
    """Stock Langflow and ours: one of `tests/in_langflow`, by name, or a whole file of them."""
    (table,) = re.findall(r"^\| \| stock Langflow .*?\n\n", LANGFLOW, re.MULTILINE | re.DOTALL)
    rows = table.splitlines()[2:-1]
    files = {path.name for path in (ROOT / "tests" / "in_langflow").glob("test_*.py")}

    assert len(rows) > 20
    for row in rows:
        named = re.search(r"`(test_\w+\.py)[^|]*\|$", row)
        assert named is not None, row
        assert named[1] in files, row


ALL_PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path):
    """On a Git host as well as in the site: a file that is there, and a heading in it."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        if "://" not in link:
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), link
            assert not anchor or anchor in anchors(path), link


def anchors(page: Path) -> set[str]:
    """Of its headings, as Git hosts make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# ---- docs/logs.md


def test_python_for_logs_runs(tmp_path: Path):
    """Block after block in one process: each line says which run wrote it, also on the span."""
    page = (ROOT / "docs" / "logs.md").read_text()
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    use = """
loguru.logger.remove()
loguru.logger.add(lambda line: print(line, end=""), format="{message} {extra[run_name]}")
with flowspan.run("Support bot", run_id="r-1"), flowspan.component("Prompt"):
    logging.warning("with logging")
    structlog.get_logger().info("with structlog")
    loguru.logger.info("with loguru")
"""

    done = in_a_process(code + use, tmp_path, OTEL_TRACES_EXPORTER="console")

    trace_id = f"{flowspan.propagation.trace_id('r-1'):032x}"
    assert done.stderr == f"WARNING with logging trace_id={trace_id} run=Support bot\n"
    by_structlog, by_loguru, *spans = done.stdout.splitlines()
    assert json.loads(by_structlog)["trace_id"] == trace_id
    assert by_loguru == "with loguru Support bot"
    assert '"log.message": "with logging"' in "\n".join(spans)


def test_the_page_for_logs_names_each_field():
    """No field without a word on it."""
    table = (ROOT / "docs" / "logs.md").read_text().split("| field |", 1)[1].split("\n\n", 1)[0]

    assert re.findall(r"`(\w+)`", table) == list(flowspan.logs.FIELDS)


# ---- docs/testing.md


def test_the_tests_for_users_run(pytester: pytest.Pytester):
    """Both files as they stand; and once with the mistake that the page shows."""
    page = (ROOT / "docs" / "testing.md").read_text()
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        (name,) = re.findall(r"^# (\w+\.py)\n", block)
        pytester.path.joinpath(name).write_text(block)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")

    pytester.runpytest_subprocess().assert_outcomes(passed=3)

    tests = pytester.path / "test_shop.py"
    tests.write_text(
        tests.read_text().replace('{"Search": {}, "Model"', '{"Search": {}, "Modell"', 1)
    )
    shown = page.split("```text\n", 1)[1].split("```", 1)[0]
    assert shown in str(pytester.runpytest_subprocess().stdout)


def test_the_page_for_tests_names_all_that_there_is():
    """No method of the fixture without a line, no line without a method."""
    table = (ROOT / "docs" / "testing.md").read_text().split("| | |", 1)[1].split("\n\n", 1)[0]
    there = {name for name in dir(testing.RecordedSpans) if not name.startswith("_")}

    named = set(re.findall(r"^\| `(\w+)", table, re.MULTILINE))
    assert named == there | {"reports", "tracer_provider"}


# ---- docs/delivery.md


def test_every_promise_names_its_test():
    """No row of the table without one."""
    rows = DELIVERY.split("| what happens |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]

    assert len(rows) > 20
    for row in rows:
        assert re.search(r"\| `test_\w+\.py::test_\w+`(, `test_\w+\.py::test_\w+`)* \|$", row), row


def test_what_delivery_logs_is_what_the_page_says():
    """Word for word; an ellipsis stands for what differs."""
    words = [
        node.value
        for path in Path(flowspan.delivery.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    said = "\n".join(words)
    lines = re.findall(r"^\| `(.+?)` \|", DELIVERY.split("## What it logs", 1)[1], re.MULTILINE)

    assert len(lines) > 15
    for line in lines:
        for part in re.split(r"…|: ", line.replace("could not ", "")):
            assert part.strip(" ;()") in said, line


def test_what_delivery_logs_is_on_the_page():
    """No line that is not told there."""
    for path in Path(flowspan.delivery.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and name_of(call.func) in LOGGING:
                for node in (part for given in call.args for part in ast.walk(given)):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        assert node.value.strip(" ;:()") in DELIVERY, f"{path.name}: {node.value}"


LOGGING = ("report", "guard", "_warn", "_say_once")


def name_of(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def blocks(heading: str) -> list[str]:
    section = DELIVERY.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def in_a_process(
    code: str, directory: Path, *command: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    file = directory / "app.py"
    file.write_text(code)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "FLOWSPAN_"))}
    return subprocess.run(
        [*command, sys.executable, str(file)],
        env=kept | variables,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def run(code: str, collector: Collector, directory: Path, *command: str, **variables: str) -> str:
    """What *code* prints, in a process of its own."""
    to = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url} | variables
    done = in_a_process(code, directory, *command, **to)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


A_SPAN = """
with trace.get_tracer("app").start_as_current_span("work"):
    pass
"""


def test_no_python_on_the_page_is_left_out():
    """Each block is run by a test below."""
    ours = "Alone, in a pipeline of your own", "With `opentelemetry-instrument`"
    assert sum(len(blocks(heading)) for heading in ours) == DELIVERY.count("```python") == 3


def test_alone_in_a_pipeline(collector: Collector, tmp_path: Path):
    """The first block, and a span: it arrives, with the resource."""
    first, _ = blocks("Alone, in a pipeline of your own")

    run(first + A_SPAN, collector, tmp_path)

    assert collector.names == ["work"]
    assert b"shop" in collector.bodies[0]


def test_arguments_of_the_processor(collector: Collector, tmp_path: Path):
    """The second block, with this collector's port: a strict span is in the directory at once."""
    _, second = blocks("Alone, in a pipeline of your own")
    endpoint = f"{collector.url}/v1/traces"
    code = second.replace("http://localhost:4318/v1/traces", endpoint)
    span = """
from opentelemetry.sdk.trace import TracerProvider
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(processor)
provider.get_tracer("app").start_span("work").end()
print(processor.stats().waiting)
"""

    printed = run(code + span, collector, tmp_path)

    assert endpoint in code
    assert printed == "0 spans wait in nothing yet\n1\n"
    assert collector.names == ["work"]
    assert collector.headers[0]["content-encoding"] == "gzip"
    assert (tmp_path / "spans").is_dir()


def test_with_opentelemetry_instrument(collector: Collector, tmp_path: Path):
    """The command and the block as they stand: each span once, through ours alone."""
    (code,) = blocks("With `opentelemetry-instrument`")
    (line,) = re.findall(r"```sh\n(.*)\n```", DELIVERY)
    *settings, command, python, app = line.split()
    variables = dict(setting.split("=") for setting in settings)
    others = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}

    run(
        code + A_SPAN,
        collector,
        tmp_path,
        str(Path(sys.executable).parent / command),
        **variables,
        **others,
    )

    assert (command, python, app) == ("opentelemetry-instrument", "python", "app.py")
    assert collector.names == ["work"]
    assert b"telemetry.auto.version" in collector.bodies[0], "it is the provider of the command"


def test_a_directory_below_a_volume(collector: Collector, tmp_path: Path):
    """A volume that all may write to is no spool; a directory in it is."""
    first, _ = blocks("Alone, in a pipeline of your own")
    volume = tmp_path / "spool"
    volume.mkdir()
    volume.chmod(0o777)

    run(first + A_SPAN, collector, tmp_path, FLOWSPAN_SPOOL_DIR=str(volume / "spans"))

    assert collector.names == ["work"]
    assert (volume / "spans").stat().st_mode & 0o777 == 0o700


def test_what_is_said_of_langflow_is_tested():
    """Each row of the table names a test that exists."""
    table = LANGFLOW.split("## Stock Langflow and ours\n", 1)[1].split("\n## ", 1)[0]
    rows = [row for row in table.splitlines() if row.startswith("|")][2:]
    assert rows
    for row in rows:
        (file, name) = re.search(r"`(test_\w+\.py)(?:::(\w+))?` \|$", row).groups()
        source = (ROOT / "tests" / "in_langflow" / file).read_text()
        assert f"\ndef {name or 'test_'}" in source


def test_each_cell_of_the_comparison_says_where_it_is_from():
    """A test, a file of a package, the measurement above; or that nobody has looked."""
    page = (ROOT / "docs" / "comparison.md").read_text()
    measured, inside, read = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)

    assert "`benchmarks/tracers.py`" in page
    for row in measured.splitlines()[2:] + inside.splitlines()[2:]:
        assert all(cell.strip() for cell in row.split("|")[1:-1]), row
    for row in read.splitlines()[2:]:
        for cell in row.split("|")[2:-1]:
            said = "`" in cell or "not checked" in cell or "measured above" in cell
            assert said or cell.strip() in ("no", "none in the package"), f"{row}: {cell}"


def test_langflow_in_docker_fits_the_compose_file():
    """It is built of a file that is described, and sends to the Collector that is there."""
    (override,) = re.findall(r"```yaml\n(.*?)```", LANGFLOW, re.DOTALL)
    (dockerfile,) = re.findall(r"```dockerfile\n(.*?)```", LANGFLOW, re.DOTALL)
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    (langflow,) = yaml.safe_load(override)["services"].values()

    assert len(dockerfile.splitlines()) == 2
    assert f"`{langflow['build']['dockerfile']}`" in LANGFLOW
    name, port = langflow["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"][7:].split(":")
    assert any(published.endswith(f":{port}") for published in services[name]["ports"])
