"""
Reading what a collector answers: bodies, statuses, dates. All bounded, all without trust.

Knows no socket. What cannot be understood is None or empty here; what that means for a request is
said in `_http` and `_grpc`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator
from datetime import timezone
from email.utils import parsedate_to_datetime

from flowspan.delivery import _wire

MAX_MESSAGE = 200
MAX_WAIT = 3600.0
"""Seconds that a collector may tell us to wait; a longer time is somebody's mistake."""


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The (number, value) pairs of a protobuf message. Raises ValueError if it is none."""
    for field in _wire.fields(data):
        if field.wire_type == _wire.VARINT:
            yield field.number, _wire.number(data, field.value, field.end)[0]
        else:
            yield field.number, data[field.value : field.end]


def partial_success(body: bytes, is_json: bool = False) -> tuple[int, str] | None:
    """Rejected spans and why, of an ExportTraceServiceResponse; None if *body* is none."""
    try:
        return _of_json(body) if is_json else _of_protobuf(body)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _of_protobuf(body: bytes) -> tuple[int, str]:
    rejected, message = 0, ""
    for number, value in fields(body):
        if number != 1:
            continue
        if not isinstance(value, bytes):
            raise ValueError("partial_success is a message")
        for part, inner in fields(value):
            if part == 1 and isinstance(inner, int):
                rejected = inner if inner < 1 << 63 else 0
            elif part == 2 and isinstance(inner, bytes):
                message = inner.decode("utf-8", "replace")
    return rejected, message


def _of_json(body: bytes) -> tuple[int, str]:
    answer = json.loads(body) if body.strip() else {}
    if not isinstance(answer, dict):
        raise ValueError("not an object")
    partial = answer.get("partialSuccess") or answer.get("partial_success") or {}
    if not isinstance(partial, dict):
        raise ValueError("not an object")
    rejected = int(partial.get("rejectedSpans") or partial.get("rejected_spans") or 0)
    message = partial.get("errorMessage") or partial.get("error_message") or ""
    return max(0, rejected), message if isinstance(message, str) else ""


def status(body: bytes) -> tuple[str, float | None]:
    """Message and retry delay in seconds of a google.rpc.Status; empty and None without."""
    message, delay = "", None
    try:
        for number, value in fields(body):
            if number == 2 and isinstance(value, bytes):
                message = value.decode()
            elif number == 3 and isinstance(value, bytes):
                delay = _retry_delay(value) if delay is None else delay
    except ValueError:
        return "", None
    return message, delay


def _retry_delay(detail: bytes) -> float | None:
    parts = dict(fields(detail))  # google.protobuf.Any
    kind, info = parts.get(1), parts.get(2, b"")
    if not (isinstance(kind, bytes) and kind.endswith(b"google.rpc.RetryInfo")):
        return None
    return retry_info(info) if isinstance(info, bytes) else None


def retry_info(info: bytes) -> float | None:
    """The seconds of a google.rpc.RetryInfo. Raises ValueError if it is none."""
    duration = dict(fields(info)).get(1, b"")
    if not isinstance(duration, bytes):
        return None
    amounts = dict(fields(duration))
    seconds, nanos = amounts.get(1, 0), amounts.get(2, 0)
    if not (isinstance(seconds, int) and isinstance(nanos, int)):
        return None
    if seconds >= 1 << 63 or nanos >= 1 << 31:  # negative, or nonsense
        return 0.0
    return bounded(seconds + nanos / 1e9)


def retry_after(text: str | None) -> float | None:
    """The seconds of a Retry-After header, which holds seconds or a date."""
    text = (text or "").strip()
    if not text:
        return None
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        return bounded(float(text))
    try:
        date = parsedate_to_datetime(text)
        # One without a zone means GMT, as all dates of HTTP do.
        date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        return bounded(date.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def bounded(seconds: float) -> float:
    return min(max(0.0, seconds), MAX_WAIT)


def words(body: bytes, content_type: str) -> str:
    """What an error's body says to a person; empty for a page or for nothing readable."""
    if "html" in content_type or is_page(body):
        return ""
    if "protobuf" in content_type:
        return status(body)[0]
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return status(body)[0]
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return text
        for name in ("message", "error", "detail"):
            if isinstance(found, dict) and isinstance(found.get(name), str):
                return str(found[name])
    return text


def is_page(body: bytes) -> bool:
    """Whether a person with a browser was meant."""
    return body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html"))


def one_line(text: str, secrets: Iterable[str] = (), limit: int = MAX_MESSAGE) -> str:
    """*text* as one printable line without *secrets*."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = " ".join("".join(c if c.isprintable() else " " for c in text[: 8 * limit]).split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
