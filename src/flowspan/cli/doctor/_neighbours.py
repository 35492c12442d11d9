"""
Who else traces here: packages that are installed, and variables that switch them on.

Variables by name only: their values are keys.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.cli.doctor._packages import version_of
from flowspan.cli.doctor._provider import provider_in_this_process


class _Tracer(NamedTuple):
    """*variables* switch it on; one that ends with `?` does so only where it is true."""

    name: str
    packages: tuple[str, ...]
    variables: tuple[str, ...]
    sets_provider: bool = False
    """Whether its set-up makes its own provider the global one."""


_KNOWN = (
    _Tracer("LangSmith", ("langsmith",), ("LANGSMITH_TRACING?", "LANGCHAIN_TRACING_V2?")),
    _Tracer("Langfuse", ("langfuse",), ("LANGFUSE_SECRET_KEY", "LANGFUSE_PUBLIC_KEY"), True),
    _Tracer(
        "Arize Phoenix",
        ("arize-phoenix-otel", "arize-phoenix", "arize-otel"),
        ("PHOENIX_API_KEY", "PHOENIX_COLLECTOR_ENDPOINT", "ARIZE_API_KEY", "ARIZE_SPACE_ID"),
        True,
    ),
    _Tracer("Traceloop", ("traceloop-sdk",), ("TRACELOOP_API_KEY", "TRACELOOP_BASE_URL"), True),
    _Tracer("Logfire", ("logfire",), ("LOGFIRE_TOKEN",), True),
    _Tracer("Opik", ("opik",), ("OPIK_API_KEY", "OPIK_URL_OVERRIDE")),
    _Tracer("LangWatch", ("langwatch",), ("LANGWATCH_API_KEY",), True),
    _Tracer("Openlayer", ("openlayer",), ("OPENLAYER_API_KEY",)),
    _Tracer("Datadog", ("ddtrace",), ("DD_TRACE_ENABLED?", "DD_TRACE_OTEL_ENABLED?"), True),
    _Tracer("Sentry", ("sentry-sdk",), ("SENTRY_DSN",)),
    _Tracer(
        "Azure Monitor",
        ("azure-monitor-opentelemetry",),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING",),
        True,
    ),
    _Tracer("OpenInference", ("openinference-instrumentation-langchain",), ()),
    _Tracer("OpenLLMetry", ("opentelemetry-instrumentation-langchain",), ()),
)


def lines(env: Mapping[str, str]) -> Iterator[Line]:
    """One for each that is switched on, and one for all that are only installed."""
    yield from _instrument(env)
    idle = []
    for tracer in _KNOWN:
        found = _installed(tracer.packages)
        on = [name.rstrip("?") for name in tracer.variables if _is_on(name, env)]
        if on:
            yield _switched_on(tracer, found, on)
        elif found:
            idle.append(found)
    if idle:
        yield Line(
            section=Section.OTHERS,
            what="installed",
            state=State.NOTE,
            seen=f"{', '.join(idle)}: installed, and no variable switches them on",
            expected="whatever you use; a model call that one of them records is not recorded "
            "twice, see docs/langchain.md",
        )


def _switched_on(tracer: _Tracer, found: str, on: list[str]) -> Line:
    seen = f"{found or 'no package of it'}; {', '.join(on)} {'is' if len(on) == 1 else 'are'} set"
    if not found:
        return _note(
            tracer.name,
            f"{seen}: nothing uses it",
            "",
            "",
        )
    if tracer.sets_provider:
        return _note(
            tracer.name,
            seen,
            "it may set the global provider: then flowspan's spans go to it as well, through it",
            "FLOWSPAN_EXPORT=always for flowspan's own exporter beside it (inside Langflow it is)",
        )
    return _note(tracer.name, seen, "it records beside flowspan, and sends to its own server", "")


def _instrument(env: Mapping[str, str]) -> Iterator[Line]:
    """`opentelemetry-instrument`: whether this process runs below it, or could."""
    found = _installed(("opentelemetry-instrumentation", "opentelemetry-distro"))
    paths = env.get("PYTHONPATH", "").split(os.pathsep)
    is_below = any("auto_instrumentation" in path for path in paths)
    if is_below and not provider_in_this_process():
        yield _note(
            "opentelemetry-instrument",
            f"this process runs below it ({found}), and it has set no provider",
            "one of its own: what it prints at the start says why there is none",
            "install the exporters that it names (opentelemetry-distro[otlp]), or set "
            "OTEL_TRACES_EXPORTER, OTEL_METRICS_EXPORTER and OTEL_LOGS_EXPORTER to none",
        )
    elif is_below:
        yield _note(
            "opentelemetry-instrument",
            f"this process runs below it ({found})",
            "it sets a provider and exports by itself, with grpc unless OTEL_EXPORTER_OTLP_PROTOCOL"
            " says otherwise",
            "docs/delivery.md tells how to put flowspan's exporter in the place of its own",
        )
    elif found:
        yield _note(
            "opentelemetry-instrument",
            f"{found} installed; this process does not run below it",
            "an application that does has a provider already",
            "run `opentelemetry-instrument flowspan doctor` to see that process",
        )


def _note(what: str, seen: str, expected: str, do: str) -> Line:
    return Line(
        section=Section.OTHERS, what=what, state=State.NOTE, seen=seen, expected=expected, do=do
    )


def _installed(packages: tuple[str, ...]) -> str:
    """The first of them that is there, with its version."""
    found = (f"{package} {version}" for package in packages if (version := version_of(package)))
    return next(found, "")


def _is_on(name: str, env: Mapping[str, str]) -> bool:
    text = env.get(name.rstrip("?"), "").strip().lower()
    return text in ("true", "1", "yes", "on") if name.endswith("?") else bool(text)
