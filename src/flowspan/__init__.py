"""
Every run of a workflow as one OpenTelemetry trace.

A name is imported when it is first asked for: so the command line starts at once, and `flowspan
doctor` can still speak where OpenTelemetry itself cannot be imported.

PYTEST_DONT_REWRITE: the package has a pytest plugin, so pytest would warn where it was imported
before pytest was.
"""

import os
from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any

from flowspan._version import __version__

if TYPE_CHECKING:
    from flowspan import logs, propagation
    from flowspan._component import Component, Edge, TracedComponent
    from flowspan.config import Config, ConfigError
    from flowspan.context import (
        ComponentTraceContext,
        TraceContext,
        current_component,
        current_run,
    )
    from flowspan.links import trace_url
    from flowspan.pipeline import Pipeline, Stats, configure
    from flowspan.service import TracingService, component, run

__all__ = [
    "Component",
    "ComponentTraceContext",
    "Config",
    "ConfigError",
    "Edge",
    "Pipeline",
    "Stats",
    "TraceContext",
    "TracedComponent",
    "TracingService",
    "__version__",
    "component",
    "configure",
    "current_component",
    "current_run",
    "logs",
    "propagation",
    "run",
    "trace_url",
]

_HOMES = {
    "_component": ("Component", "Edge", "TracedComponent"),
    "config": ("Config", "ConfigError"),
    "context": ("ComponentTraceContext", "TraceContext", "current_component", "current_run"),
    "links": ("trace_url",),
    "pipeline": ("Pipeline", "Stats", "configure"),
    "service": ("TracingService", "component", "run"),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

# A fork waits for it: a child waits for ever for a module that a thread of its parent imports.
_LOADING = RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_LOADING.acquire,
        after_in_parent=_LOADING.release,
        after_in_child=_LOADING.release,
    )


if not TYPE_CHECKING:  # or a type checker would believe in any name

    def __getattr__(name: str) -> Any:
        # First, and without the lock: `from flowspan import _guard` asks here as well, in the
        # middle of an import that a thread with the lock may be waiting for.
        if name not in _MODULES and name not in ("logs", "propagation", *_HOMES):
            raise AttributeError(f"module 'flowspan' has no attribute {name!r}")
        with _LOADING:
            if name in _MODULES:
                found = getattr(import_module(f"flowspan.{_MODULES[name]}"), name)
            else:
                found = import_module(f"flowspan.{name}")
            globals()[name] = found
            return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
