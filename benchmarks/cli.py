"""What the command line costs: its start, and `flowspan doctor` where a port hangs."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

COMMAND = str(Path(sys.executable).parent / "flowspan")
ROUNDS = 15
HANGS = 5


def seconds(command: Sequence[str], **variables: str) -> tuple[float, float]:
    """Wall clock and CPU of one process."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "FLOWSPAN_"))}
    kept = {k: v for k, v in kept.items() if not k.lower().endswith("_proxy")}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=kept | variables, stdout=subprocess.DEVNULL)
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


def silent_port() -> tuple[socket.socket, str]:
    """A server that takes connections and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            kept.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


def full_port() -> tuple[list[socket.socket], str]:
    """A port that swallows connections: its queue is full."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = [listener]
    for _ in range(3):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(listener.getsockname())
    return waiting, f"http://127.0.0.1:{listener.getsockname()[1]}"


def line(name: str, values: Sequence[float], must: str) -> None:
    low, middle, high = statistics.quantiles(values, n=4)
    print(f"| {name} | {middle:.2f} s | {low:.2f} to {high:.2f} | {must} |", flush=True)


def main() -> None:
    print(f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores")
    print("| figure | median | quartiles | must |\n|---|---|---|---|")
    python = [sys.executable, "-c", "pass"]
    rounds = [(seconds([COMMAND, "--help"]), seconds(python)) for _ in range(ROUNDS)]
    line("`flowspan --help` over the interpreter's start", [a[0] - b[0] for a, b in rounds], "0.15")
    line("the same, CPU", [a[1] - b[1] for a, b in rounds], "")
    (_silent, says_nothing), (_full, swallows) = silent_port(), full_port()
    for name, url in (("says nothing", says_nothing), ("swallows packets", swallows)):
        for protocol in ("http/protobuf", "grpc"):
            variables = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": url,
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            }
            took = [seconds([COMMAND, "doctor"], **variables) for _ in range(HANGS)]
            line(f"`doctor`, a port {name}, {protocol}", [wall for wall, _ in took], "3")
            line("its CPU", [cpu for _, cpu in took], "")


if __name__ == "__main__":
    main()
