"""What the documents say is what the code does."""

import re
from pathlib import Path

import yaml

from flowspan import semconv
from flowspan.config import VARIABLES

ROOT = Path(__file__).parents[1]
LANGFLOW = (ROOT / "docs" / "langflow.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
VALUES = ("STATUS_", "MIME_", "LINK_EDGE", "LINK_RESUME", "LINK_ORIGIN", "SCOPE_", "SCHEMA_")


def names_in(heading: str) -> list[str]:
    """The first column of the table below *heading*."""
    section = REFERENCE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def test_the_reference_lists_each_attribute_once():
    """No attribute without a line, no line without an attribute."""
    written = [
        value
        for name, value in vars(semconv).items()
        if name.isupper() and not name.startswith(VALUES)
    ]

    assert names_in("Attributes and events") == written


def test_the_reference_lists_each_variable_once():
    """Name, default and what is accepted come from the table that reads them."""
    assert names_in("Environment variables") == list(VARIABLES)
    for variable in VARIABLES.values():
        (line,) = [row for row in REFERENCE.splitlines() if row.startswith(f"| `{variable.name}`")]
        assert line.replace("\\|", "|").endswith(f" | {variable.meaning} |")


def test_python_in_the_readme_runs(spans):
    """The five lines for a workflow developer work as they stand."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    exec(compile(code, "README.md", "exec"), {})

    assert spans.tree() == {"Support bot": {"Prompt": {}}}


def test_what_is_said_of_langflow_is_tested():
    """Each row of the table names a test that exists."""
    table = LANGFLOW.split("## Stock Langflow and ours\n", 1)[1].split("\n## ", 1)[0]
    rows = [row for row in table.splitlines() if row.startswith("|")][2:]
    assert rows
    for row in rows:
        (file, name) = re.search(r"`(test_\w+\.py)(?:::(\w+))?` \|$", row).groups()
        source = (ROOT / "tests" / "in_langflow" / file).read_text()
        assert f"\ndef {name or 'test_'}" in source


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
