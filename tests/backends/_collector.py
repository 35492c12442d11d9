"""The Collector with the repository's own collector-config.yaml in front of a Jaeger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._build import binary
from ._jaeger import Jaeger
from ._process import Server, free_addresses

COLLECTOR_CONFIG = Path(__file__).parents[2] / "collector-config.yaml"


class Collector:
    """
    A Collector of the test's own, its queue on disk below the directory it was given.

    `otlp_grpc` is `127.0.0.1:port`; `otlp_http` is `http://127.0.0.1:port`, and `health` the URL
    that answers 200 while it takes spans. The queue survives `stop` and `kill`.
    """

    def __init__(self, directory: Path, jaeger: Jaeger) -> None:
        grpc, http, health = free_addresses(3)
        self.otlp_grpc = grpc
        self.otlp_http = f"http://{http}"
        self.health = f"http://{health}"
        self._server = Server(
            [str(binary("collector")), "--config", str(COLLECTOR_CONFIG)],
            env={
                "COLLECTOR_OTLP_GRPC_ENDPOINT": grpc,
                "COLLECTOR_OTLP_HTTP_ENDPOINT": http,
                "COLLECTOR_HEALTH_ENDPOINT": health,
                "COLLECTOR_JAEGER_ENDPOINT": jaeger.otlp_grpc,
                "COLLECTOR_QUEUE_DIRECTORY": str(directory / "collector-queue"),
            },
            health=self.health,
            log=directory / "collector.log",
        )

    def start(self) -> None:
        """Starts it, again on the same ports, and waits until it takes spans."""
        self._server.start()

    def stop(self) -> None:
        """Stops it (SIGTERM) and waits for its end."""
        self._server.stop()

    def kill(self) -> None:
        """Ends it with no chance to save anything (SIGKILL)."""
        self._server.kill()


@contextmanager
def running_collector(directory: Path, jaeger: Jaeger) -> Iterator[Collector]:
    """A Collector with its log and queue in *directory*, stopped at the end of the block."""
    collector = Collector(directory, jaeger)
    try:
        collector.start()
        yield collector
    finally:
        collector.stop()
