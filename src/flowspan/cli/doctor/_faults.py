"""
What a failure on the way means, and what to do about it: advice only, nothing is tried here.

Each function returns what should have been seen, and what to do.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import NamedTuple
from urllib.parse import urlsplit

from flowspan._links import host_of
from flowspan.cli.doctor._certificate import Certificate
from flowspan.cli.doctor._others import PATH, PORTS, Found
from flowspan.config import OtlpConfig
from flowspan.delivery._transport import Answer, Refused, Verdict

_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
_EXPIRED, _NOT_YET, _WRONG_HOST, _WRONG_ADDRESS = 10, 9, 62, 64  # OpenSSL's X509_V_ERR_*


class Advice(NamedTuple):
    expected: str
    do: str


class Given(NamedTuple):
    """What the way is made of, and the variables that say so."""

    otlp: OtlpConfig
    endpoint: str
    protocol: str
    proxy: str
    """The variable that names the proxy on the way; empty without one."""

    @property
    def port(self) -> int:
        url = urlsplit(
            self.otlp.endpoint if "://" in self.otlp.endpoint else f"//{self.otlp.endpoint}"
        )
        return url.port or (80 if self.otlp.insecure else 443)

    @property
    def host(self) -> str:
        return host_of(self.otlp.endpoint)


# ---- while the connection is opened


def of_name(given: Given, host: str) -> Advice:
    where = given.proxy or given.endpoint
    return Advice(
        f"an address for {host}",
        f"check the host in {where}; between containers it is the name of the service, and only "
        "inside their network",
    )


def of_connection(given: Given, error: Exception, found: Found | None) -> Advice:
    where = given.proxy or given.endpoint
    expected = f"an open port {given.port}" if not given.proxy else "a proxy that answers"
    if isinstance(error, TimeoutError):
        do = f"check host and port in {where}; a firewall that drops packets looks like this"
        return Advice(expected, do + _past_proxy(given))
    if found is not None:
        return Advice(expected, _instead(given, found))
    do = f"start the collector, or mend {where}"
    if given.host in ("localhost", "127.0.0.1", "::1") and _in_container():
        do += "; in a container localhost is the container itself: name the collector's service"
    return Advice(expected, do + _past_proxy(given))


def of_proxy(given: Given, error: Exception) -> Advice:
    do = f"mend the proxy in {given.proxy}, or name {given.host} in no_proxy to go past it"
    if "407" in str(error):
        do = f"write user and password into {given.proxy}: http://user:password@host:port"
    return Advice("a proxy by http://host:port that lets us through", do)


def of_tls(
    given: Given, error: Exception, shown: Certificate | None, found: Found | None
) -> tuple[str, Advice]:
    """What was seen, in more words than the error has, and the advice."""
    otlp = given.otlp
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(given, error, shown)
    expected = f"TLS on port {given.port}"
    if isinstance(error, Refused):  # files of ours that do not hold what they should
        return str(error), Advice(
            "PEM files that fit each other",
            "mend OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE or _CLIENT_KEY: the file "
            "that is named",
        )
    if isinstance(error, TimeoutError):
        return "the port takes the connection and says nothing", Advice(
            expected,
            f"check host and port in {given.endpoint}; is it a collector that hangs?"
            + _past_proxy(given),
        )
    if _is_about_our_certificate(str(error)):
        return of_client_certificate(otlp)
    if found is not None:
        return "the port does not speak TLS", Advice(expected, _instead(given, found))
    return "", Advice(
        expected,
        f"if the collector has no TLS, write http:// in {given.endpoint}; else see its log",
    )


def of_client_certificate(otlp: OtlpConfig) -> tuple[str, Advice]:
    """The server wants to see a certificate of ours."""
    if otlp.client_certificate is None:
        return "the server wants a client certificate, and none is set", Advice(
            "mutual TLS",
            "set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY to PEM "
            "files",
        )
    return "the server does not accept our client certificate", Advice(
        "a client certificate by a CA that the server trusts, within its dates",
        f"have {otlp.client_certificate} issued by the server's CA for clients",
    )


def _is_about_our_certificate(text: str) -> bool:
    return "alert" in text.lower() and any(
        word in text.lower() for word in ("certificate", "unknown ca", "handshake failure")
    )


def wants_client_certificate(answer: Answer) -> bool:
    """With TLS 1.3 a server says so only after the handshake; some just hang up."""
    hints = "refuses our TLS or certificate", "want a certificate of ours"
    return any(hint in answer.message for hint in hints)


def _of_certificate(
    given: Given, error: ssl.SSLCertVerificationError, shown: Certificate | None
) -> tuple[str, Advice]:
    variable = "OTEL_EXPORTER_OTLP_CERTIFICATE"
    if error.verify_code == _EXPIRED:
        ended = f", on {shown.ends}" if shown else ""
        return f"the server's certificate has expired{ended}", Advice(
            "a certificate within its dates", "renew it there, or set this machine's clock"
        )
    if error.verify_code == _NOT_YET:
        begins = f" before {shown.begins}" if shown else " yet"
        return f"the server's certificate is not valid{begins}", Advice(
            "a certificate within its dates", "set this machine's clock, or the issuer's"
        )
    if error.verify_code in (_WRONG_HOST, _WRONG_ADDRESS):
        names = ", ".join(shown.names) if shown else "another host"
        return f"the server's certificate is for {names}, not for {given.host}", Advice(
            f"a certificate for {given.host}",
            f"write one of its names in {given.endpoint}, or have one issued for {given.host}",
        )
    issuer = f", issued by {shown.issuer}," if shown else ""
    trusted = given.otlp.certificate
    if trusted:
        do = f"{trusted} ({variable}) does not hold its CA: put that one in"
    else:
        do = f"set {variable} to a PEM file with its CA"
    said = error.verify_message
    return f"the server's certificate{issuer} is not trusted: {said}", Advice(
        "a certificate by a CA that is trusted here", do
    )


# ---- when it answers


def of_answer(given: Given, answer: Answer, found: Found | None) -> Advice:
    otlp, status = given.otlp, answer.status
    expected = f"an OTLP receiver for {otlp.protocol}"
    if status in ("401", "UNAUTHENTICATED"):
        names = ", ".join(otlp.headers)
        do = f"set {_HEADERS}, such as authorization=Bearer%20TOKEN"
        if names:
            do = f"check the values in {_HEADERS} ({names}); a space in one is written %20"
        return Advice("credentials that it accepts", do)
    if status in ("403", "PERMISSION_DENIED"):
        return Advice(
            "credentials that may write traces",
            f"check the rights of those in {_HEADERS}, and the tenant or project they name"
            + _past_proxy(given),
        )
    if status == "407":
        return of_proxy(given, Refused(answer.verdict, "407"))
    if answer.verdict is Verdict.TOO_LARGE:
        return Advice(
            "a limit of some MiB for a request",
            "raise it: nginx's client_max_body_size, the Collector's max_request_body_size or "
            "max_recv_msg_size_mib",
        )
    if status == "415":
        do = f"OTEL_EXPORTER_OTLP_COMPRESSION=none (now {otlp.compression})"
        return Advice(expected, do if otlp.compression != "none" else "name an OTLP receiver")
    if status in ("429", "RESOURCE_EXHAUSTED"):
        return Advice("a collector with room", "nothing, spans wait; or raise its limit or quota")
    if status in ("502", "503", "504"):
        return Advice(
            expected,
            "a proxy or balancer answers, or a collector that is overloaded: look at their logs"
            + _past_proxy(given),
        )
    if "timed out" in answer.message:
        return Advice(
            "an answer",
            f"it takes connections and says nothing: check host and port in {given.endpoint}, "
            "and whether the collector hangs" + _past_proxy(given),
        )
    if found is not None:
        return Advice(expected, _instead(given, found))
    return Advice(expected, _about_path(given, status) + _past_proxy(given))


def _about_path(given: Given, status: str) -> str:
    path = urlsplit(given.otlp.endpoint).path
    if given.otlp.protocol != "grpc" and status in ("404", "405", "200", ""):
        if path.count(PATH) > 1:
            return f"take {PATH} out of {given.endpoint}: it is appended there"
        if path in ("", "/"):
            return f"append {PATH} in {given.endpoint}: that variable is used as it is"
    if status.startswith("3"):
        return f"write the address that it redirects to in {given.endpoint}"
    if status.startswith("5") or status in ("INTERNAL", "UNKNOWN", "UNAVAILABLE"):
        return "look at the collector's log"
    usual = " or ".join(f"{port} for {protocol}" for protocol, port in PORTS.items())
    return f"check host, port and path in {given.endpoint}; a collector's port is {usual}"


def _instead(given: Given, found: Found) -> str:
    """The variables that lead to what was found."""
    settings = []
    if found.protocol:
        settings.append(f"{given.protocol}={found.otlp.protocol}")
    if found.place or found.path or found.scheme:
        settings.append(f"{given.endpoint}={_written(given.endpoint, found.otlp)}")
    tried = f"it says: {found.said}" if found.said else "OTLP is taken there"
    return f"{' and '.join(settings)}: that was tried, and {tried}"


def _written(variable: str, otlp: OtlpConfig) -> str:
    is_base = variable == "OTEL_EXPORTER_OTLP_ENDPOINT"
    return otlp.shown_endpoint.removesuffix(PATH) if is_base else otlp.shown_endpoint


def _past_proxy(given: Given) -> str:
    if not given.proxy:
        return ""
    return f"; the way leads through the proxy in {given.proxy}, no_proxy={given.host} goes past it"


def _in_container() -> bool:
    return os.path.exists("/.dockerenv") or "KUBERNETES_SERVICE_HOST" in os.environ


def is_refused(error: Exception) -> bool:
    """Whether another port is worth a try."""
    return isinstance(error, OSError) and not isinstance(error, (TimeoutError, socket.gaierror))
