"""
Langflow and lfx in this environment, and whether their tracing service will be flowspan's.

Looks at what is installed and at their configuration files; imports neither of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.cli.doctor._packages import version_of
from flowspan.cli.doctor._settings import Settings

_TRIED = "1.13"  # docs/langflow.md, "Limits"
_OURS = "flowspan.langflow:LangflowTracingService"
_ENTRY = re.compile(r"""(?m)^\s*["']?tracing_service["']?\s*=\s*["']([^"']+)["']""")


def lines(settings: Settings) -> Iterator[Line]:
    found = {name: version_of(name) for name in ("langflow", "langflow-base", "lfx")}
    there = {name: text for name, text in found.items() if text}
    if not there:
        yield _line("Langflow", State.NOTE, "not installed in this environment")
        return
    yield _versions(there)
    yield _plug()
    yield from _files(settings.env)
    if settings.is_configured and "endpoint" in settings.sources and settings.sources["endpoint"]:
        yield _line(
            "its own provider",
            State.NOTE,
            "Langflow exports spans of its own as well, with an OTLP endpoint set",
            "its spans of requests and of `flow.execute` beside flowspan's, in the same traces",
            "LANGFLOW_OTEL_DB_SPANS=false leaves those of its database out; docs/langflow.md",
        )


def _versions(there: Mapping[str, str]) -> Line:
    seen = ", ".join(f"{name} {text}" for name, text in there.items())
    base = there.get("lfx") or there.get("langflow-base") or ""
    if "lfx" not in there:
        return _line(
            "Langflow",
            State.WRONG,
            f"{seen}, and no lfx: this Langflow has no place for a tracing service",
            f"Langflow {_TRIED}, which is on lfx",
            "pip install --upgrade langflow",
        )
    if base.startswith(f"{_TRIED}."):
        return _line("Langflow", State.WELL, seen)
    return _line(
        "Langflow",
        State.NOTE,
        seen,
        f"{_TRIED}, the version that flowspan was tried with",
        "if a flow has no trace, Langflow's log says why; please report it",
    )


def _plug() -> Line:
    points = [p for p in entry_points(group="lfx.services") if p.name == "tracing_service"]
    others = [point for point in points if point.value != _OURS]
    if not points or points == others:
        return _line(
            "tracing service",
            State.WRONG,
            "no entry point of flowspan's" + (f"; {_who(others)} has it" if others else ""),
            "flowspan installed where Langflow is, by pip or uv",
            "pip install 'flowspan[langflow]' into Langflow's environment",
        )
    if others:
        return _line(
            "tracing service",
            State.WRONG,
            f"{_who(others)} offers one as well, and lfx takes the one that it finds first",
            "flowspan's alone",
            f"uninstall the other, or put tracing_service = '{_OURS}' below [services] in lfx.toml",
        )
    return _line("tracing service", State.WELL, "flowspan's, by its entry point in lfx.services")


def _files(env: Mapping[str, str]) -> Iterator[Line]:
    """An entry in lfx.toml or pyproject.toml wins over any entry point."""
    places = dict.fromkeys((env.get("LANGFLOW_CONFIG_DIR") or ".", "."))
    for place in places:
        for name in ("lfx.toml", "pyproject.toml"):
            path = os.path.abspath(os.path.join(place, name))
            try:
                with open(path, encoding="utf-8", errors="replace") as file:
                    text = file.read(1 << 20)
            except OSError:
                continue
            section = "services" if name == "lfx.toml" else "tool.lfx.services"
            _, _, below = text.partition(f"[{section}]")
            entry = _ENTRY.search(re.split(r"(?m)^\s*\[", below, maxsplit=1)[0])
            if entry and entry[1] != _OURS:
                yield _line(
                    "tracing service",
                    State.WRONG,
                    f"{path} names {entry[1]}, which wins over flowspan",
                    f"no tracing_service there, or '{_OURS}'",
                    f"take tracing_service out of [{section}] in {path}",
                )


def _who(points: list[EntryPoint]) -> str:
    return ", ".join(
        f"{point.dist.name} ({point.value})" if point.dist else point.value for point in points
    )


def _line(what: str, state: State, seen: str, expected: str = "", do: str = "") -> Line:
    return Line(
        section=Section.LANGFLOW, what=what, state=state, seen=seen, expected=expected, do=do
    )
