"""
The way to the collector, step by step, by the very transport that the exporter has.

A step that fails ends the way; what comes after it is skipped. All steps share one deadline.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from flowspan.cli.doctor import _certificate, _faults, _others
from flowspan.cli.doctor._faults import Advice, Given
from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.cli.doctor._settings import Settings
from flowspan.cli.doctor._span import TestSpan
from flowspan.config import OtlpConfig
from flowspan.delivery._sockets import Address, Connections, why
from flowspan.delivery._transport import Answer, Refused, Transport, Verdict, make_transport

STEPS = ("name", "connection", "TLS", "protocol", "test span")
_OTHERS = 0.4, 1.0  # seconds for what may have been meant, at least and at most
_SOON = 14 * 86400  # seconds before a certificate's end in which it is worth a word
_NO_OTHERS = ("401", "403", "407", "413", "415", "429", "UNAUTHENTICATED", "PERMISSION_DENIED")


class Way:
    """`walk` goes it, once. *make_span* is called when one is needed."""

    def __init__(
        self,
        settings: Settings,
        otlp: OtlpConfig,
        timeout: float,
        make_span: Callable[[], TestSpan],
    ) -> None:
        self.lines: list[Line] = []
        self.accepted: TestSpan | None = None
        self._otlp = otlp
        self._make_span = make_span
        self._deadline = time.monotonic() + timeout
        self._timeout = timeout
        proxy = _proxy_variable(otlp)
        protocol = settings.sources["protocol"] or "OTEL_EXPORTER_OTLP_PROTOCOL"
        self._given = Given(otlp, settings.endpoint_from, protocol, proxy)
        self._secured = False

    def walk(self) -> None:
        transport = make_transport(self._otlp)
        try:
            if hasattr(transport, "way"):
                self._connect(transport)
            else:
                self._well("connection", "made by the credential provider of the environment", None)
            self._ask(transport)
            self._send(transport)
        except _End:
            done = {line.what for line in self.lines}
            for step in STEPS:
                is_left_out = step == "TLS" and self._otlp.insecure
                if step not in done and not is_left_out:
                    self._add(step, State.SKIPPED, "not tried, for what is wrong above", "", "")
        finally:
            transport.close()

    # ---- name, connection, proxy, TLS

    def _connect(self, transport: Any) -> None:
        try:
            connections: Connections = transport.way()
        except Exception as error:  # noqa: BLE001 - it is told, whatever it is
            what = "proxy" if self._given.proxy else "connection"
            advice = _faults.of_proxy(self._given, error)
            if not self._given.proxy:
                advice = Advice("a target that can be used", f"mend {self._given.endpoint}")
            self._fail(what, str(error), advice, None)
        proxy = connections.proxy
        host = proxy.host if proxy else connections.host
        port = proxy.port if proxy else connections.port
        addresses = self._look_up(connections, host)
        connections.addresses = lambda deadline: addresses
        begun: dict[str, float] = {}

        def note(step: str) -> None:
            begun.setdefault(step, time.monotonic())

        connections.on_step = note
        stream = None
        failure: Exception | None = None
        try:
            stream, _ = connections.take(self._deadline)
        except Exception as error:  # noqa: BLE001 - it is told, whatever it is
            failure = error
        ended = time.monotonic()
        steps = [step for step in ("connection", "proxy", "TLS") if step in begun]
        for step, after in zip(steps, [*steps[1:], ""], strict=True):
            seconds = begun.get(after, ended) - begun[step]
            if failure is not None and not after:
                self._explain(step, failure, connections, seconds)
            elif step == "connection":
                self._well(step, f"to {_shown(addresses, port)}", seconds)
            elif step == "proxy":
                self._well(step, f"{host}:{port} ({self._given.proxy}) lets us through", seconds)
            elif stream is not None:
                self._tell_tls(stream.sock, seconds)
        if stream is not None:
            connections.give_back(stream)
        if failure is not None:  # before any step
            self._explain("connection", failure, connections, None)

    def _look_up(self, connections: Connections, host: str) -> list[Address]:
        started = time.monotonic()
        try:
            addresses = connections.addresses(self._deadline)
        except Exception as error:  # noqa: BLE001 - it is told, whatever it is
            advice = _faults.of_name(self._given, host)
            self._fail("name", f"{host}: {why(error)[1]}", advice, time.monotonic() - started)
        found = list(dict.fromkeys(_address(one) for one in addresses))
        seconds = time.monotonic() - started
        of_proxy = f"of the proxy in {self._given.proxy}: " if connections.proxy else ""
        if found == [host] or not host:
            self._well("name", f"{of_proxy}{', '.join(found)} needs no lookup", seconds)
        else:
            self._well("name", f"{of_proxy}{host} is {', '.join(found)}", seconds)
        return addresses

    def _explain(
        self, step: str, error: Exception, connections: Connections, seconds: float | None
    ) -> None:
        _, seen = why(error)
        if isinstance(error, TimeoutError):
            seen = f"no answer within {self._timeout:g} s"
        if step == "TLS":
            shown = None
            if isinstance(error, ssl.SSLCertVerificationError) and connections.proxy is None:
                shown = _certificate.presented(connections, self._deadline)
            found = None
            if _faults.is_refused(error) and shown is None:
                found = self._others()
            more, advice = _faults.of_tls(self._given, error, shown, found)
            self._fail("TLS", more or seen, advice, seconds)
        if step == "proxy":
            self._fail("proxy", seen, _faults.of_proxy(self._given, error), seconds)
        place = _shown(connections.addresses(self._deadline), connections.port)
        if connections.proxy is not None:
            place = f"the proxy {connections.proxy.host}:{connections.proxy.port}"
        found = self._others() if _faults.is_refused(error) and not self._given.proxy else None
        advice = _faults.of_connection(self._given, error, found)
        self._fail("connection", f"{place}: {seen}", advice, seconds)

    def _tell_tls(self, sock: Any, seconds: float) -> None:
        self._secured = True
        certificate = _certificate.of(sock)
        seen = str(sock.version())
        if certificate is None:
            return self._well("TLS", seen, seconds)
        seen += f", certificate for {', '.join(certificate.names)} until {certificate.ends}"
        left = ssl.cert_time_to_seconds(certificate.ends) - time.time()
        if left < _SOON:
            days = f"{left / 86400:.0f} days"
            self._add(
                "TLS", State.NOTE, seen, "more than 14 days", f"renew it within {days}", seconds
            )
            return None
        return self._well("TLS", seen, seconds)

    # ---- what is spoken there

    def _ask(self, transport: Transport) -> None:
        answer, seconds = self._exchange(transport, b"")
        if answer.verdict is Verdict.ACCEPTED:
            self._well("protocol", f"OTLP by {self._otlp.protocol}", seconds)
        elif answer.verdict is Verdict.MALFORMED:  # some want a span in it
            seen = f"{self._said(answer)}, to a request without a span"
            self._add("protocol", State.NOTE, seen, "accepted", "", seconds)
        else:
            self._refused("protocol", answer, seconds)

    def _send(self, transport: Transport) -> None:
        try:
            span = self._make_span()
        except Exception as error:  # noqa: BLE001 - the SDK's, or a resource detector's
            said = " ".join(f"{type(error).__name__}: {error}".split())
            advice = Advice("a span", "mend what it names: flowspan's pipeline fails on it too")
            self._fail("test span", f"it could not be made: {said}", advice, None)
        answer, seconds = self._exchange(transport, span.body)
        if answer.verdict is not Verdict.ACCEPTED:
            self._refused("test span", answer, seconds)
        elif answer.rejected:
            advice = Advice("accepted", "ask the collector why: these are its words")
            self._fail("test span", self._said(answer), advice, seconds)
        else:
            self.accepted = span
            warning = f", with a warning: {self._said(answer)}" if answer.message else ""
            seen = f"accepted{warning}; trace {span.trace_id} of {span.service}"
            self._well("test span", seen, seconds)

    def _exchange(self, transport: Transport, body: bytes) -> tuple[Answer, float]:
        started = time.monotonic()
        left = max(0.05, self._deadline - started)
        answer = transport.send(body, min(left, self._otlp.timeout))
        seconds = time.monotonic() - started
        if answer.message.endswith("timed out") and self._otlp.timeout < left:
            message = f"{answer.message} after the {self._otlp.timeout:g} s that a request may take"
            answer = replace(answer, message=message)
        return answer, seconds

    def _refused(self, step: str, answer: Answer, seconds: float) -> None:
        is_worth_it = answer.status not in _NO_OTHERS and not answer.status.startswith("5")
        found = None
        if is_worth_it and "timed out" not in answer.message and not self._given.proxy:
            found = self._others()
        if self._secured and found is None and _faults.wants_client_certificate(answer):
            self.lines = [line for line in self.lines if line.what != "TLS"]
            seen, advice = _faults.of_client_certificate(self._otlp)
            self._fail("TLS", f"{seen} ({self._said(answer)})", advice, seconds)
        self._fail(step, self._said(answer), _faults.of_answer(self._given, answer, found), seconds)

    def _others(self) -> _others.Found | None:
        with contextlib.suppress(Exception):
            left = self._deadline - time.monotonic()
            return _others.answering(self._otlp, min(_OTHERS[1], max(_OTHERS[0], left)))
        return None

    def _said(self, answer: Answer) -> str:
        said = answer.message.removeprefix(f"{self._otlp.shown_endpoint}: ")
        if said == "timed out":
            return f"no answer within {self._timeout:g} s"
        return said or answer.verdict.value

    # ---- lines

    def _well(self, what: str, seen: str, seconds: float | None) -> None:
        self._add(what, State.WELL, seen, "", "", seconds)

    def _fail(self, what: str, seen: str, advice: Advice, seconds: float | None) -> Any:
        self._add(what, State.WRONG, seen, advice.expected, advice.do, seconds)
        raise _End

    def _add(
        self,
        what: str,
        state: State,
        seen: str,
        expected: str,
        do: str,
        seconds: float | None = None,
    ) -> None:
        self.lines.append(
            Line(
                section=Section.WAY,
                what=what,
                state=state,
                seen=seen,
                expected=expected,
                do=do,
                seconds=seconds,
            )
        )


class _End(Exception):
    """The way goes no further."""


def _proxy_variable(otlp: OtlpConfig) -> str:
    """The variable that names the proxy, by the order in which `_proxies` looks."""
    from flowspan.delivery import _proxies, _targets

    names: tuple[str, ...]
    try:
        target = _targets.parse(otlp.endpoint, not otlp.insecure)
        if otlp.protocol == "grpc":
            names = ("grpc_proxy", "https_proxy", "http_proxy")
            chosen = None if target.fixed else _proxies.for_grpc(target.host, target.port)
        else:
            scheme = otlp.endpoint.partition("://")[0].lower()
            names = (f"{scheme}_proxy", "all_proxy")
            names = tuple(n for name in names for n in (name, name.upper()))
            chosen = _proxies.for_http(scheme, target.host, target.port)
    except _proxies.WrongProxy:
        chosen = True  # type: ignore[assignment]
    except Refused:
        return ""
    return next((name for name in names if os.environ.get(name)), "") if chosen else ""


def _address(address: Address) -> str:
    family, place = address
    if family in (socket.AF_INET, socket.AF_INET6):
        return str(place[0])
    return f"unix:{place}".replace("\0", "@")


def _shown(addresses: list[Address], port: int) -> str:
    hosts = list(dict.fromkeys(_address(one) for one in addresses))
    if not port:
        return ", ".join(hosts)
    return ", ".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)
