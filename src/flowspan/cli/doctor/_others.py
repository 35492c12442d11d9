"""
Tries what may have been meant where something is wrong: another port, scheme, protocol or path.

Asks with a request that holds no span, and without the headers: they are meant for one place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

from flowspan.config import ConfigError, OtlpConfig
from flowspan.delivery._transport import Answer, Verdict, make_transport

PATH = "/v1/traces"
PORTS = {"http/protobuf": 4318, "grpc": 4317}


class Found(NamedTuple):
    """An endpoint that answers as a collector does, and how it differs from the one given."""

    otlp: OtlpConfig
    scheme: bool
    protocol: bool
    place: bool
    path: bool
    said: str = ""
    """Its words, where it did not simply take the request."""


def answering(otlp: OtlpConfig, timeout: float) -> Found | None:
    """The first variant of *otlp* that takes OTLP. All are asked side by side."""
    from flowspan.delivery import _grpc, _http  # noqa: F401 - before the time given begins

    variants = list(_variants(otlp))
    answers: dict[int, Answer] = {}
    threads = [
        threading.Thread(target=_ask, args=(variant.otlp, timeout, answers, number), daemon=True)
        for number, variant in enumerate(variants)
    ]
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    for number, variant in enumerate(variants):
        answer = answers.get(number)
        if answer is not None and _takes_otlp(answer, variant):
            said = answer.message.removeprefix(f"{variant.otlp.shown_endpoint}: ")
            return variant._replace(said="" if answer.verdict is Verdict.ACCEPTED else said)
    return None


def _ask(otlp: OtlpConfig, timeout: float, answers: dict[int, Answer], number: int) -> None:
    transport = make_transport(otlp)
    try:
        answers[number] = transport.send(b"", timeout)
    finally:
        transport.close()


def _takes_otlp(answer: Answer, variant: Found) -> bool:
    """A collector that wants credentials is one as well; one that is not trusted speaks TLS."""
    if answer.verdict is Verdict.ACCEPTED:
        return True
    if answer.status in ("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"):
        return True
    return variant.scheme and not variant.place and "is not trusted" in answer.message


def _variants(otlp: OtlpConfig) -> Iterator[Found]:
    bare = replace(otlp, headers={})
    for endpoint, protocol, place, path in _endpoints(otlp):
        try:
            variant = replace(bare, endpoint=endpoint, protocol=protocol)
        except ConfigError:
            continue
        differs = variant.insecure != otlp.insecure
        yield Found(variant, differs, protocol != otlp.protocol, place, path)


def _endpoints(otlp: OtlpConfig) -> Iterator[tuple[str, str, bool, bool]]:
    """Endpoint, protocol, and whether the place or the path is another. The likeliest first."""
    target = otlp.endpoint if "://" in otlp.endpoint else f"//{otlp.endpoint}"
    try:
        url = urlsplit(target)
        host, port = url.hostname, url.port
    except ValueError:
        return
    if not host or url.scheme not in ("", "http", "https"):
        return
    name = f"[{host}]" if ":" in host else host
    given = port or (80 if otlp.insecure else 443)
    schemes = ("http", "https") if otlp.insecure else ("https", "http")
    grpc = otlp.protocol == "grpc"
    for scheme in schemes:
        if not grpc and url.path != PATH:
            yield f"{scheme}://{name}:{given}{PATH}", "http/protobuf", False, True
        if (scheme == schemes[1]) and (grpc or url.path == PATH):
            path = "" if grpc else url.path
            yield f"{scheme}://{name}:{given}{path}", otlp.protocol, False, False
        other = "http/protobuf" if grpc else "grpc"
        yield f"{scheme}://{name}:{given}{PATH if grpc else ''}", other, False, False
        for protocol, usual in PORTS.items():
            if usual != given:
                path = PATH if protocol == "http/protobuf" else ""
                yield f"{scheme}://{name}:{usual}{path}", protocol, True, False
