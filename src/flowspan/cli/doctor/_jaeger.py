"""
Asks a Jaeger, by its query API, whether the test span has arrived there.

Where none is named, its default port is tried on the collector's host and on this machine.
"""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from flowspan._links import host_of
from flowspan.cli.doctor._span import TestSpan
from flowspan.config import OtlpConfig
from flowspan.delivery import _tls
from flowspan.delivery._proxies import basic

PORT = 16686
_POLL = 0.1  # seconds
_MAX_BODY = 1 << 20
_NOT_ONE = "it does not answer as Jaeger's query API does"


class Jaeger(NamedTuple):
    """*trouble* is why it does not answer as one; empty for one that does."""

    url: str
    trouble: str
    seconds: float


def candidates(otlp: OtlpConfig) -> list[str]:
    """Where one may be if nobody says: on the collector's host, or on this machine."""
    names = dict.fromkeys(name for name in (host_of(otlp.endpoint), "localhost") if name)
    shown = (f"[{name}]" if ":" in name else name for name in names)
    return [f"http://{name}:{PORT}" for name in shown]


def found(otlp: OtlpConfig, timeout: float) -> Jaeger | None:
    """The first of `candidates` that answers as one, all asked side by side; None without."""
    answers: dict[str, Jaeger] = {}
    urls = candidates(otlp)
    threads = [
        threading.Thread(
            target=lambda url=url: answers.update({url: reached(url, timeout)}), daemon=True
        )
        for url in urls
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    asked = (answers.get(url) for url in urls)
    return next((answer for answer in asked if answer is not None and not answer.trouble), None)


def reached(url: str, timeout: float) -> Jaeger:
    """Whether a Jaeger's query API answers there."""
    url = url.rstrip("/")
    started = time.monotonic()
    trouble = ""
    try:
        if not _are_services(json.loads(_get(f"{url}/api/v3/services", timeout))):
            trouble = _NOT_ONE
    except ValueError:
        trouble = _NOT_ONE
    except (OSError, http.client.HTTPException) as error:
        trouble = _why(error)
    return Jaeger(url, trouble, time.monotonic() - started)


def _are_services(answer: object) -> bool:
    """One that knows no service yet leaves the list out."""
    return isinstance(answer, dict) and (answer == {} or isinstance(answer.get("services"), list))


def has(url: str, span: TestSpan, timeout: float) -> str:
    """Wait for the span to arrive there. Empty if it did, else what was answered last."""
    deadline = time.monotonic() + timeout
    ids = (span.span_id.encode(), base64.b64encode(bytes.fromhex(span.span_id)))
    said = "nothing"
    while (left := deadline - time.monotonic()) > 0:
        try:
            body = _get(f"{url}/api/v3/traces/{span.trace_id}", left)
            if any(one in body for one in ids):
                return ""
            said = "a trace without the span"
        except urllib.error.HTTPError as error:
            said = "no such trace" if error.code == 404 else f"status {error.code}"
        except (OSError, http.client.HTTPException) as error:
            said = _why(error)
        time.sleep(min(_POLL, max(0.0, deadline - time.monotonic())))
    return said


def _get(address: str, timeout: float) -> bytes:
    """Raises OSError, HTTPException, ValueError."""
    url = urlsplit(address)
    request = urllib.request.Request(
        url._replace(netloc=url.netloc.rpartition("@")[2]).geturl(),
        headers={"accept": "application/json"},
    )
    if url.username is not None:
        user, password = unquote(url.username), unquote(url.password or "")
        request.add_header("authorization", basic(user, password))
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if url.scheme == "https":
        handlers.append(urllib.request.HTTPSHandler(context=_tls.trusting()))
    opener = urllib.request.build_opener(*handlers)
    try:
        with opener.open(request, timeout=max(0.01, timeout)) as response:
            return bytes(response.read(_MAX_BODY))
    except urllib.error.HTTPError as error:
        error.close()
        raise


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A page that asks for a login is not Jaeger."""

    def redirect_request(self, *args: object) -> None:
        return None


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"status {error.code}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "it does not answer in time"
    return (getattr(reason, "strerror", None) or str(reason) or type(reason).__name__).lower()
