"""
`flowspan view --html`: traces as one page in one file, which opens from the disk.

Puts the files in `page/` and the traces together. Nothing in the page asks the network, and its
Content-Security-Policy forbids it: styles and scripts run by their hashes only. Traces are data:
JSON without one `<`, and details in compressed chunks that the page opens when it needs them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Final, TextIO

from flowspan import __version__
from flowspan.cli.view._model import Span, Trace
from flowspan.cli.view._page_data import KINDS, detail, outline, plain

_CHUNK_BYTES: Final = 262_144
_SCRIPTS: Final = (
    "base", "data", "list", "json", "waterfall", "search", "graph", "details", "page",
)  # fmt: skip


def write(traces: Sequence[Trace], file: TextIO) -> None:
    """The page of *traces*. Holds no more than a chunk of their details in memory."""
    style = _source("page.css")
    modules = "".join(_source(f"{name}.js") for name in _SCRIPTS)
    script = f"'use strict';\n(() => {{\n{modules}}})();"
    before, after = _source("page.html").split("<!-- the data -->")
    walked = [[span for span, _ in trace.walk()] for trace in traces]
    resources = _Resources()
    index = {
        "version": __version__,
        "kinds": KINDS,
        "traces": [outline(trace, spans) for trace, spans in zip(traces, walked, strict=True)],
    }
    parts = {
        "policy": _policy(style, script),
        "style": style,
        "index": _json(index),
        "script": script,
    }
    # in one go: what a part holds is not a place for another
    file.write(re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], before))
    details = (
        _json(detail(span, trace, resources.place(span)))
        for trace, spans in zip(traces, walked, strict=True)
        for span in spans
    )
    for chunk in _chunks(details):
        file.write(f'<script type="text/plain" class="chunk">{chunk}</script>\n')
    file.write(f'<script type="text/plain" id="resources">{_packed(_json(resources.all))}</script>')
    file.write(after)


def _source(name: str) -> str:
    page = files(__package__) / "page" / name  # one at a time: Python 3.10 takes no more
    return page.read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """ASCII, and nothing that HTML could take for markup."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _chunks(details: Iterator[str]) -> Iterator[str]:
    """Arrays of details, compressed; a quarter of a megabyte each, or one large span."""
    waiting: list[str] = []
    size = 0
    for each in details:
        waiting.append(each)
        size += len(each)
        if size >= _CHUNK_BYTES:
            yield _packed(f"[{','.join(waiting)}]", len(waiting))
            waiting, size = [], 0
    if waiting:
        yield _packed(f"[{','.join(waiting)}]", len(waiting))


def _packed(text: str, count: int = 0) -> str:
    packed = base64.b64encode(zlib.compress(text.encode("ascii"), 6)).decode("ascii")
    return f"{count}:{packed}"


def _policy(style: str, script: str) -> str:
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}"


class _Resources:
    """Each resource once, however many spans carry it."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._by_identity: dict[int, tuple[int, Any]] = {}  # the resource too, or its id is reused
        self._by_text: dict[str, int] = {}

    def place(self, span: Span) -> int:
        known = self._by_identity.get(id(span.resource))
        if known is None:
            value = plain(span.resource)
            place = self._by_text.setdefault(_json(value), len(self.all))
            if place == len(self.all):
                self.all.append(value)
            known = self._by_identity[id(span.resource)] = place, span.resource
        return known[0]
