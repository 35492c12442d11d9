"""
Files, the standard input and spools -> a collection of spans, and in words what was wrong.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from flowspan.cli.view import _protobuf, _spool
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._documents import batches
from flowspan.cli.view._source import Source, Unreadable
from flowspan.cli.view._stored import Store
from flowspan.cli.view._text import count, one_line
from flowspan.cli.view._values import origin_of, span_of


@dataclass
class Intake:
    """Reads into *collection*. *problems*: a sentence each; *refused*: none of it could be read."""

    collection: Collection
    store: Store = field(default_factory=Store)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: int = 0

    def file(self, path: str) -> None:
        """`-` is the standard input."""
        name = "the standard input" if path == "-" else one_line(path)
        try:
            if path == "-":
                self._documents(name, sys.stdin.buffer)
            else:
                with open(path, "rb") as file:
                    self._documents(name, file)
        except OSError as error:
            self.refused += 1
            self.problems.append(f"{name}: cannot be read ({error.strerror or error})")

    def _documents(self, name: str, file: IO[bytes]) -> None:
        before = self.collection.taken
        wrong, why = 0, ""
        problem = ""
        try:
            source = Source(file)
            if source.is_empty:
                raise Unreadable("empty: expected traces as OTLP JSON")
            for batch, origin in _with_origins(source):
                for raw in batch:
                    try:
                        self.collection.add(span_of(raw, origin, self.store))
                    except ValueError as error:  # noqa: PERF203 - each span for itself
                        wrong, why = wrong + 1, why or str(error)
        except Unreadable as error:
            problem = str(error)
        read = self.collection.taken - before
        if problem:
            rest = f": {count(read, 'span')} could be read" if read else ""
            self.problems.append(f"{name}: {problem}{rest}")
        if wrong:
            self.problems.append(f"{name}: {count(wrong, 'span')} left out: {why}")
        if not (read or problem or wrong):
            self.problems.append(f"{name}: no spans in it")

    def spool(self, directory: str) -> None:
        """What waits there. Raises OSError if it is no directory that can be read."""
        try:
            for body in _spool.requests_in(directory):
                try:
                    for span in _protobuf.spans_of(body, self.store, trusted=True):
                        self.collection.add(span)
                except ValueError:  # noqa: PERF203 - each record for itself
                    self.problems.append(f"{directory}: a record that is no request of OTLP's")
        except Unreadable as error:
            self.problems.append(f"{directory}: {error}")


def _with_origins(source: Source) -> Iterator[tuple[list[Any], Any]]:
    """Spans of one resource share it."""
    resource = scope = origin = None
    for batch in batches(source):
        if origin is None or batch.resource != resource or batch.scope != scope:
            resource, scope = batch.resource, batch.scope
            try:
                origin = origin_of(resource, scope)
            except (AttributeError, TypeError):
                origin = origin_of(None, None)
        yield batch.spans, origin


@contextmanager
def without_collector() -> Iterator[None]:
    """What is read stays: to look again and again for what could go costs a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
