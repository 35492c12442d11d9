"""Looks at a server's certificate that could not be verified, so that a person can be told why."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any, NamedTuple

from flowspan.delivery._sockets import Connections

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which `ssl` has no name for


class Certificate(NamedTuple):
    """What it says of itself. Nothing of it is verified."""

    names: tuple[str, ...]
    issuer: str
    begins: str
    ends: str


def of(secured: ssl.SSLSocket) -> Certificate | None:
    """That of a connection that was verified."""
    return _read(secured.getpeercert() or {})


def presented(connections: Connections, deadline: float) -> Certificate | None:
    """What the server shows to somebody who does not verify it; None if it cannot be had."""
    with contextlib.suppress(OSError, ValueError):
        der = _fetch(connections, deadline, None)
        return _read(_fetch(connections, deadline, der))
    return None


def _fetch(connections: Connections, deadline: float, trusted: Any) -> Any:
    """The certificate in DER; or decoded, which Python does only for one that it *trusted*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if trusted is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=trusted)
        context.verify_flags = ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    context.set_alpn_protocols(["h2", "http/1.1"])
    family, address = connections.addresses(deadline)[0]
    with socket.socket(family, socket.SOCK_STREAM) as plain:
        plain.settimeout(max(0.01, deadline - time.monotonic()))
        plain.connect(address)
        with context.wrap_socket(plain, server_hostname=connections.host) as secured:
            return secured.getpeercert(binary_form=trusted is None)


def _read(found: dict[str, Any]) -> Certificate | None:
    if not found:
        return None
    names = tuple(str(value) for _, value in found.get("subjectAltName", ()))
    return Certificate(
        names or (_common_name(found.get("subject", ())),),
        _common_name(found.get("issuer", ())),
        str(found.get("notBefore", "")),
        str(found.get("notAfter", "")),
    )


def _common_name(parts: Any) -> str:
    pairs = {name: value for part in parts for name, value in part}
    return str(
        pairs.get("commonName") or pairs.get("organizationName") or "somebody without a name"
    )
