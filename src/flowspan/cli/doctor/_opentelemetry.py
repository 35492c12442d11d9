"""
Whether OpenTelemetry itself can be imported here: a wrong OTEL_PROPAGATORS prevents it.

Imports nothing of it to find out what is wrong with the variable.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points

from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.cli.doctor._packages import version_of


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


def lines() -> Iterator[Line]:
    """Whether OpenTelemetry's API and SDK are there, and can be imported."""
    packages = "opentelemetry-api", "opentelemetry-sdk"
    seen = [f"{package} {version_of(package) or 'is not installed'}" for package in packages]
    if trouble := import_trouble():
        yield Line(
            section=Section.PROCESS,
            what="OpenTelemetry",
            state=State.WRONG,
            seen=f"{', '.join(seen)}; it cannot be imported: {trouble}",
            expected="opentelemetry-api and -sdk of one version, 1.45 or later",
            do="pip install --upgrade opentelemetry-api opentelemetry-sdk",
        )
    else:
        yield Line(section=Section.PROCESS, what="OpenTelemetry", seen=", ".join(seen))


def import_trouble() -> str:
    """
    Why it cannot be imported, in one line; empty if it can.

    OTEL_PROPAGATORS is no part of it: where that is wrong, it is a line of its own.
    """
    text = os.environ.pop("OTEL_PROPAGATORS", None) if wrong_propagators(os.environ) else None
    try:
        import opentelemetry.propagate  # noqa: F401

        import flowspan.delivery  # noqa: F401
        from flowspan.pipeline import _import_sdk

        _import_sdk()
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        return " ".join(f"{type(error).__name__}: {error}".split())
    finally:
        if text is not None:
            os.environ["OTEL_PROPAGATORS"] = text
    return ""
