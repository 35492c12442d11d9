"""
Every run of a workflow as one OpenTelemetry trace.

PYTEST_DONT_REWRITE: the package has a pytest plugin, so pytest would warn where it was imported
before pytest was.
"""

from flowspan import logs, propagation
from flowspan._component import Component, Edge, TracedComponent
from flowspan._version import __version__
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
