"""Jaeger: one process with an OTLP receiver, a memory store and the query API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlencode

from ._build import binary
from ._process import Server, free_addresses, get, wait_for
from ._spans import Span, spans_of

_CONFIG = Path(__file__).parent / "jaeger" / "config.yaml"


class Jaeger:
    """
    A Jaeger of the test's own. Traces are in memory: `stop` forgets them.

    `otlp_grpc` is `127.0.0.1:port`; `otlp_http` and `query` are `http://127.0.0.1:port`.
    """

    def __init__(self, directory: Path) -> None:
        grpc, http, query, query_grpc, health = free_addresses(5)
        self.otlp_grpc = grpc
        self.otlp_http = f"http://{http}"
        self.query = f"http://{query}"
        self._server = Server(
            [str(binary("jaeger")), "--config", str(_CONFIG)],
            env={
                "JAEGER_OTLP_GRPC_ENDPOINT": grpc,
                "JAEGER_OTLP_HTTP_ENDPOINT": http,
                "JAEGER_QUERY_HTTP_ENDPOINT": query,
                "JAEGER_QUERY_GRPC_ENDPOINT": query_grpc,
                "JAEGER_HEALTH_ENDPOINT": health,
                # Its own traces would go to localhost:4317, whoever that is.
                "OTEL_TRACES_SAMPLER": "always_off",
            },
            health=f"http://{health}/status",
            log=directory / "jaeger.log",
        )

    def start(self) -> None:
        """Starts it, again on the same ports, and waits until it is healthy."""
        self._server.start()

    def stop(self) -> None:
        """Stops it (SIGTERM) and waits for its end."""
        self._server.stop()

    def services(self) -> list[str]:
        """The services that have sent spans, sorted."""
        body = get(f"{self.query}/api/v3/services")
        assert body is not None, "Jaeger does not answer"
        return sorted(json.loads(body)["services"])

    def trace(
        self,
        trace_id: str,
        *,
        until: Callable[[list[Span]], object] = bool,
        timeout: float = 15.0,
    ) -> list[Span]:
        """
        The spans of one trace, in the order of their start, as soon as *until* accepts them.

        Without *until*, as soon as there is one. TimeoutError, with what was seen last, after
        *timeout* seconds.
        """
        return wait_for(
            lambda: self._spans(f"/api/v3/traces/{trace_id}"), until=until, timeout=timeout
        )

    def traces(
        self,
        service: str,
        *,
        until: Callable[[dict[str, list[Span]]], object] = bool,
        timeout: float = 15.0,
        within: timedelta = timedelta(hours=1),
        limit: int = 1000,
    ) -> dict[str, list[Span]]:
        """
        The traces of *service* by trace id, as soon as *until* accepts them.

        Only what started *within* that time of now, at most *limit* traces.
        """
        now = datetime.now(timezone.utc)
        query = {
            "query.service_name": service,
            "query.start_time_min": _rfc3339(now - within),
            "query.start_time_max": _rfc3339(now + within),
            "query.num_traces": limit,
        }

        def look() -> dict[str, list[Span]]:
            traces: dict[str, list[Span]] = {}
            for span in self._spans(f"/api/v3/traces?{urlencode(query)}"):
                traces.setdefault(span["trace_id"], []).append(span)
            return traces

        return wait_for(look, until=until, timeout=timeout)

    def _spans(self, path: str) -> list[Span]:
        body = get(self.query + path)  # a trace that is not there yet is a 404
        return [] if body is None else spans_of(json.loads(body))


@contextmanager
def running_jaeger(directory: Path) -> Iterator[Jaeger]:
    """A Jaeger with its log in *directory*, stopped at the end of the block."""
    jaeger = Jaeger(directory)
    try:
        jaeger.start()
        yield jaeger
    finally:
        jaeger.stop()


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
