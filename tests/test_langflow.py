"""The bridge to Langflow where there is none; inside a real one: `tests/in_langflow`."""

import subprocess
import sys


def test_without_lfx_one_sentence_says_what_is_missing():
    program = "import sys; sys.modules['lfx'] = None; import flowspan.langflow"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: flowspan.langflow works inside Langflow or lfx, and neither is installed "
        "here: pip install langflow (or lfx) into the same environment"
    )
