"""Where a gRPC target leads: URLs, host:port, and the resolver names that grpc knows."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from flowspan.delivery._sockets import Address, ascii_host
from flowspan.delivery._transport import Refused, Verdict


@dataclass(frozen=True, slots=True)
class Target:
    """
    *authority* is what the server is called in a request; *host* what its certificate must say.

    *fixed* are addresses that need no lookup, and no proxy.
    """

    host: str
    port: int
    authority: str
    fixed: tuple[Address, ...] = ()


def parse(endpoint: str, tls: bool) -> Target:
    """The target of an endpoint that `OtlpConfig` accepted. Raises `Refused` for one of xDS."""
    default = 443 if tls else 80
    if re.match("https?:", endpoint, re.IGNORECASE):
        return _named(urlsplit(endpoint).netloc, default)
    scheme, _, rest = endpoint.partition(":")
    if scheme not in _SCHEMES or re.fullmatch("[0-9]+", rest):  # a host may be called dns
        return _named(endpoint, default)
    return _SCHEMES[scheme](rest, default)


def _named(place: str, default: int) -> Target:
    host, port = _split(place, default)
    host = ascii_host(host)
    name = f"[{host}]" if ":" in host else host
    return Target(host, port, f"{name}:{port}")


def _split(place: str, default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?", place)
    if found is None:  # an IPv6 address without brackets
        return place, default
    return found[1].strip("[]"), int(found[2] or default)


def _dns(rest: str, default: int) -> Target:
    return _named(rest.lstrip("/"), default)


def _addresses(family: int) -> Callable[[str, int], Target]:
    def parse(rest: str, default: int) -> Target:
        places = [_split(place, default) for place in rest.lstrip("/").split(",")]
        first = _named(rest.lstrip("/").split(",")[0], default)
        return Target(
            first.host, first.port, first.authority, tuple((family, place) for place in places)
        )

    return parse


def _unix(rest: str, default: int) -> Target:
    path = re.sub("^//(?=/)", "", rest)
    return _local(path)


def _abstract(rest: str, default: int) -> Target:
    return _local("\0" + rest)


def _local(path: str) -> Target:
    family = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise Refused(Verdict.MISCONFIGURED, "this system's Python has no unix sockets")
    return Target("localhost", 0, "localhost", ((family, path),))


def _xds(rest: str, default: int) -> Target:
    raise Refused(Verdict.MISCONFIGURED, "xds: targets cannot be used; name the collector itself")


_SCHEMES: dict[str, Callable[[str, int], Target]] = {
    "dns": _dns,
    "ipv4": _addresses(socket.AF_INET),
    "ipv6": _addresses(socket.AF_INET6),
    "unix": _unix,
    "unix-abstract": _abstract,
    "xds": _xds,
}
