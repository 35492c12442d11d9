"""A server that lets nobody through until the test says so, and remembers who knocked."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Door:
    """`GET {url}/{name}` is answered once `open(name)` was called; `open()` opens all."""

    def __init__(self) -> None:
        self.knocked: dict[str, dict[str, str]] = {}  # headers by name
        self._opened: set[str] = set()
        self._changed = threading.Condition()
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/")
                with door._changed:
                    door.knocked[name] = {k.lower(): v for k, v in self.headers.items()}
                    door._changed.notify_all()
                    door._changed.wait_for(lambda: {name, ""} & door._opened, timeout=60)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def wait_for(self, name: str) -> None:
        """Until somebody has knocked at *name*."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.knocked, timeout=30), self.knocked

    def open(self, name: str = "") -> None:
        with self._changed:
            self._opened.add(name)
            self._changed.notify_all()

    def close(self) -> None:
        self.open()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
