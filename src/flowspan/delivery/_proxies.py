"""
Which proxy the environment names for a host, and which hosts it leaves out.

Variables only. The proxies that macOS and Windows keep elsewhere are not asked for: looking them
up after a fork crashes on macOS.
"""

from __future__ import annotations

import ipaddress
import os
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment


@dataclass(frozen=True, slots=True)
class Proxy:
    """*authorization* is the value of a Proxy-Authorization header, or empty."""

    host: str
    port: int
    tls: bool = False
    authorization: str = field(default="", repr=False)


class WrongProxy(ValueError):
    """What the environment says cannot be used. The message shows no credential."""


def for_http(scheme: str, host: str, port: int) -> Proxy | None:
    """As curl and requests choose: `<scheme>_proxy`, `all_proxy`, `no_proxy`, in either case."""
    found = getproxies_environment()
    url = found.get(scheme) or found.get("all")
    if not url or _is_left_out(host, port, found.get("no", "")):
        return None
    return _parsed(url)


def for_grpc(host: str, port: int, env: Mapping[str, str] = os.environ) -> Proxy | None:
    """As grpc chooses: `grpc_proxy`, `https_proxy`, `http_proxy`, with or without TLS."""
    names = ("grpc_proxy", "https_proxy", "http_proxy")
    url = next((env[name] for name in names if env.get(name)), "")
    left_out = env.get("no_grpc_proxy") or env.get("no_proxy") or ""
    if not url or _is_left_out(host, port, left_out):
        return None
    return _parsed(url)


def _parsed(text: str) -> Proxy:
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname, url.port
    except ValueError:
        raise WrongProxy("the proxy in the environment is not a URL") from None
    if url.scheme not in ("http", "https") or not host:
        raise WrongProxy(f"a proxy by {url.scheme}:// cannot be used, expected http://host:port")
    tls = url.scheme == "https"
    authorization = ""
    if url.username is not None:
        authorization = basic(unquote(url.username), unquote(url.password or ""))
    return Proxy(host, port or (443 if tls else 80), tls, authorization)


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _is_left_out(host: str, port: int, text: str) -> bool:
    host = host.strip("[]").rstrip(".").lower()
    is_name = not _is_address(host)
    for entry in text.lower().replace(",", " ").split():
        if entry == "*":
            return True
        name = entry.removesuffix(f":{port}").strip("[]")
        if "/" in name:
            if _is_in(host, name):
                return True
            continue
        name = name.lstrip("*").lstrip(".")
        if name and (host == name or (is_name and host.endswith(f".{name}"))):
            return True
    return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_in(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
