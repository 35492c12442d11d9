"""What flowspan has logged."""

from __future__ import annotations

import pytest


def said(caplog: pytest.LogCaptureFixture, word: str = "") -> list[str]:
    """The lines of the logger `flowspan`, of those with *word* in them."""
    lines = [record.getMessage() for record in caplog.records if record.name == "flowspan"]
    return [line for line in lines if word in line]
