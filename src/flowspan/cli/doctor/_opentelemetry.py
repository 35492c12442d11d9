"""
Whether OpenTelemetry itself can be imported here: a wrong OTEL_PROPAGATORS prevents it.

Imports nothing of it to find out what is wrong with the variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points


def wrong_propagators(env: Mapping[str, str]) -> str:
    """What is wrong with OTEL_PROPAGATORS, in a sentence; empty for nothing."""
    text = env.get("OTEL_PROPAGATORS", "")
    names = [name.strip() for name in text.split(",")] if text else []
    if "none" in (name.lower() for name in names):
        names = names[: [name.lower() for name in names].index("none")]  # it reads no further
    known = {point.name for point in entry_points(group="opentelemetry_propagator")}
    wrong = [name for name in names if name not in known]
    if not wrong:
        return ""
    return (
        f"OTEL_PROPAGATORS={text!r}: no installed package offers {wrong[0]!r}, and opentelemetry "
        f"cannot be imported with it; expected {', '.join(sorted(known))} or none"
    )
