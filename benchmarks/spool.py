"""
What it costs to keep a record of ten spans on disk: the spool, SQLite, a file per request.

All survive the process and none the power: nobody syncs. Rounds are interleaved; each figure is a
median over rounds, times are of the CPU. Half a minute.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from flowspan.delivery._encoder import Encoder
from flowspan.delivery._spool import Spool

ROUNDS = 11
RECORDS = 1_000
SPANS = 10
LIMIT = 3_670_016


def record() -> bytes:
    """Ten component spans with 200 bytes of JSON in and out."""
    tracer = TracerProvider().get_tracer("benchmark")
    spans = []
    for number in range(SPANS):
        attributes = {
            "openinference.span.kind": "CHAIN",
            "flowspan.component.id": f"Prompt-{number:05d}",
            "flowspan.component.name": "Prompt",
            "session.id": "5f0c8a9e-1f2b-4c3d-9e8f-aabbccddeeff",
            "input.value": '{"question": "How do I reset router %d?"}'.ljust(200, "x") % number,
            "output.value": '{"answer": "Hold the button, %d s."}'.ljust(200, "y") % number,
        }
        span = tracer.start_span(f"component {number}", attributes=attributes)
        span.end()
        assert isinstance(span, ReadableSpan)
        spans.append(span)
    (batch,) = Encoder().encode(spans)
    return batch.body


class Way(Protocol):
    def append(self, body: bytes) -> None: ...
    def drain(self) -> int: ...
    def close(self) -> None: ...


class InSpool:
    def __init__(self, directory: Path) -> None:
        self.spool = Spool(directory, on_dropped=lambda spans, reason: None)

    def append(self, body: bytes) -> None:
        self.spool.append(body, SPANS)

    def drain(self) -> int:
        records = 0
        while taken := self.spool.take(LIMIT, 1 << 30):
            records += taken.records
            self.spool.done(taken)
        return records

    def close(self) -> None:
        self.spool.close()


class InSqlite:
    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.db = sqlite3.connect(directory / "spans.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.execute("CREATE TABLE records (id INTEGER PRIMARY KEY, spans INT, body BLOB)")

    def append(self, body: bytes) -> None:
        self.db.execute("INSERT INTO records (spans, body) VALUES (?, ?)", (SPANS, body))

    def drain(self) -> int:
        records = 0
        limit = LIMIT // 5_000
        while rows := self.db.execute(
            f"SELECT * FROM records ORDER BY id LIMIT {limit}"
        ).fetchall():
            b"".join(row[2] for row in rows)
            records += len(rows)
            self.db.execute("DELETE FROM records WHERE id <= ?", (rows[-1][0],))
        return records

    def close(self) -> None:
        self.db.close()


class InFiles:
    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.number = 0

    def append(self, body: bytes) -> None:
        self.number += 1
        path = self.directory / f"{self.number:09d}"
        fd = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, body)
        os.close(fd)
        os.rename(path.with_suffix(".new"), path)

    def drain(self) -> int:
        paths = sorted(self.directory.iterdir())
        for start in range(0, len(paths), LIMIT // 5_000):
            b"".join(path.read_bytes() for path in paths[start : start + LIMIT // 5_000])
        for path in paths:
            path.unlink()
        return len(paths)

    def close(self) -> None:
        pass


WAYS: dict[str, Callable[[Path], Way]] = {
    "spool": InSpool,
    "sqlite3": InSqlite,
    "a file per request": InFiles,
}


def dirtied() -> int:
    """Bytes of the page cache that this process made differ from the disk; a page counts once."""
    with open("/proc/self/io", encoding="ascii") as file:
        fields = dict(line.split(": ") for line in file)
    return int(fields["write_bytes"])


def measure(make: Callable[[Path], Way], directory: Path, body: bytes) -> dict[str, float]:
    way = make(directory / "down")
    start = time.thread_time()
    for _ in range(RECORDS):
        way.append(body)
    appended = time.thread_time() - start
    allocated = sum(path.stat().st_blocks * 512 for path in (directory / "down").iterdir())
    start = time.thread_time()
    assert way.drain() == RECORDS
    drained = time.thread_time() - start
    way.close()

    way = make(directory / "up")
    healthy, before = 0.0, dirtied()
    for _ in range(RECORDS // 50):
        start = time.thread_time()
        for _ in range(50):
            way.append(body)
        healthy += time.thread_time() - start
        assert way.drain() == 50
    pages = dirtied() - before
    way.close()
    return {
        "up": healthy / RECORDS * 1e6,
        "down": appended / RECORDS * 1e6,
        "take": drained / RECORDS * 1e6,
        "disk": allocated / RECORDS / SPANS,
        "dirtied": pages / RECORDS / SPANS,
    }


def main() -> None:
    body = record()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    root = Path(tempfile.mkdtemp(prefix="flowspan-benchmark-"))
    try:
        for number in range(ROUNDS):
            for name, make in WAYS.items():
                directory = root / f"{number}-{name}"
                directory.mkdir()
                found[name].append(measure(make, directory, body))
                shutil.rmtree(directory)
    finally:
        shutil.rmtree(root)
    print(f"a record: {SPANS} spans, {len(body)} bytes\n")
    columns = {
        "up": "CPU µs per append, collector up",
        "down": "collector down",
        "take": "CPU µs per record taken and done",
        "disk": "bytes on disk per span, collector down",
        "dirtied": "bytes of page cache dirtied per span, collector up",
    }
    print("| way |", " | ".join(columns.values()), "|")
    print("|---" * (len(columns) + 1) + "|")
    for name, rounds in found.items():
        middle = [statistics.median(r[key] for r in rounds) for key in columns]
        print(f"| {name} |", " | ".join(f"{value:.1f}" for value in middle), "|")
    for key in ("up", "down"):
        ratios = [
            statistics.median(ours[key] / other[key] for ours, other in zip(*pair, strict=True))
            for name in WAYS
            if (pair := (found["spool"], found[name]))
        ]
        print(f"append, spool / each, {columns[key]}:", ", ".join(f"{r:.2f}" for r in ratios))


if __name__ == "__main__":
    main()
