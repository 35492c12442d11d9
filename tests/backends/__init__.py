"""
A real Jaeger and a real Collector on this machine, for tests that need them.

Both are Go programs, pinned by `jaeger/go.mod` and `collector/go.mod` and built once into the
user's cache directory. A test asks for the `jaeger` and `collector` fixtures of `backends.plugin`
or, when it stops and starts them itself, opens its own::

    with running_jaeger(tmp_path) as jaeger, running_collector(tmp_path, jaeger) as collector:
        send_spans_to(collector.otlp_http)
        spans = jaeger.trace(trace_id, until=lambda spans: len(spans) == 9)

Everything listens on 127.0.0.1, on ports that were free. Only processes started here are ended.
"""

from ._build import binary
from ._collector import COLLECTOR_CONFIG, Collector, running_collector
from ._jaeger import Jaeger, running_jaeger
from ._spans import Event, Link, Scope, Span, Status

__all__ = [
    "COLLECTOR_CONFIG",
    "Collector",
    "Event",
    "Jaeger",
    "Link",
    "Scope",
    "Span",
    "Status",
    "binary",
    "running_collector",
    "running_jaeger",
]
