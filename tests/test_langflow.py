"""The bridge to Langflow where there is none; inside a real one: `tests/in_langflow`."""

import subprocess
import sys

import pytest

NOT_INSTALLED = """
import sys
class Missing:
    def find_spec(name, path=None, target=None):
        if name == "lfx":
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Missing)
import flowspan.langflow
"""
OTHERWISE = """
import sys
sys.modules["lfx"] = sys
import flowspan.langflow
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (
            NOT_INSTALLED,
            "flowspan.langflow works inside Langflow or lfx, and neither is installed here: "
            "pip install langflow (or lfx) into the same environment",
        ),
        (
            OTHERWISE,
            "flowspan knows lfx 1.13; this one has no lfx.services, so it traces no flow",
        ),
    ],
)
def test_without_an_lfx_that_it_knows_one_sentence_says_so(program: str, said: str):
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ImportError: {said}"


OTHER_LOGGING = """
import logging, sys, types
class InterceptHandler(logging.Handler):
    def emit(self, record):
        pass
logger = sys.modules["lfx.log.logger"] = types.ModuleType("lfx.log.logger")
logger.InterceptHandler = InterceptHandler
logging.root.addHandler(InterceptHandler())
from flowspan._langflow_warnings import show_warnings
show_warnings()
logging.getLogger("flowspan").warning("connection refused")
"""


def test_a_line_is_not_lost_with_another_version_of_lfx_logging():
    """Where it cannot be asked whether it shows a line, the line is on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", OTHER_LOGGING], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "flowspan: connection refused\n"
