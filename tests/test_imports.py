"""Imports point one way: names, values, spans, delivery, service, bridges."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import flowspan

PACKAGE = Path(flowspan.__file__).parent
# From the bottom to the top; a module may import those before it.
ORDER = (
    "_version",
    "semconv",
    "_messages",
    "_guard",
    "_last_resort",
    "_redaction",
    "_config_parse",
    "config",
    "context",
    "_links",
    "_payload",
    "_component",
    "_spans",
    "propagation",
    "_light_span",
    "_light_tracer",
    "delivery",
    "pipeline",
    "_calls",
    "links",
    "logs",
    "service",
    "__init__",
    "langchain",
    "_langflow_request",
    "_langflow_warnings",
    "langflow",
    "testing",
    "cli",
)


def imports_of(path: Path) -> set[str]:
    """The flowspan modules that *path* imports anywhere, by their top name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "flowspan":
                is_module = len(parts) > 1 and parts[1] in ORDER
                found.add(parts[1] if is_module else "__init__")
    return found


def layer_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_has_its_place():
    """A new module is put into the order, or this test fails."""
    assert {layer_of(path) for path in MODULES} == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_an_import_never_points_up(path: Path):
    """A module imports only what stands below it."""
    own = ORDER.index(layer_of(path))
    for name in imports_of(path):
        assert ORDER.index(name) < own or name == layer_of(path), f"{path.name} imports {name}"


LIGHT = ("_light_span", "_light_tracer")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_way_out_the_commands_and_the_tests_know_the_sdk(path: Path):
    """What makes the span can be exchanged: all else speaks to the API."""
    if layer_of(path) not in (*LIGHT, "delivery", "pipeline", "testing", "cli"):
        assert "opentelemetry.sdk" not in path.read_text()


def test_importing_flowspan_starts_nothing():
    """No SDK, no exporter, no thread: they come with the first run."""
    code = (
        "import sys, threading\n"
        "from flowspan import *\n"
        "parts = ('opentelemetry.sdk', 'flowspan.delivery', 'h2', 'click', 'rich')\n"
        "heavy = [m for m in sys.modules if m.startswith(parts)]\n"
        "assert not heavy, heavy\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_is_imported_when_it_is_asked_for():
    """`import flowspan` alone costs nothing, and a wrong OTEL_PROPAGATORS cannot break it."""
    code = (
        "import sys, flowspan\n"
        "assert 'opentelemetry' not in sys.modules\n"
        "assert flowspan.config.Config is flowspan.Config\n"
        "assert {*flowspan.__all__} <= {*dir(flowspan)}\n"
        "assert all(hasattr(flowspan, n) for n in flowspan.__all__ if n != 'propagation')\n"
        "assert not hasattr(flowspan, 'nothing')\n"
    )
    environment = os.environ | {"OTEL_PROPAGATORS": "nobody-offers-it"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_waits_for_a_name_that_is_being_imported():
    """Or the child would wait for ever for a thread that only its parent has."""
    program = """
import os, sys, threading, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "flowspan.service":
            importing.set()
            time.sleep(0.5)  # the fork comes meanwhile

importing = threading.Event()
sys.meta_path.insert(0, Slow())
import flowspan
thread = threading.Thread(target=lambda: flowspan.run)
thread.start()
importing.wait()
child = os.fork()
with flowspan.run("r"):
    pass
if child:
    _, status = os.waitpid(child, 0)
    thread.join()
    assert status == 0, status
"""
    command = [sys.executable, "-W", "ignore", "-c", program]

    assert subprocess.run(command, timeout=60, check=False).returncode == 0
