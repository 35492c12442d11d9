"""
flowspan inside a real Langflow server and the real lfx commands, driven as a user's client would.

They run as processes of `.venv-langflow`, which `tests/in_langflow/install` makes; what they export
arrives at a sink in the test's process, and whole trees are compared. Nothing here imports
Langflow except `flows/` and `dump.py`, which only that environment's Python runs.
"""

import pytest

pytest.register_assert_rewrite("in_langflow._server")
