"""
`flowspan doctor`: says what is configured, tries the way to the collector, and names what is wrong.

Each module looks at one thing and returns lines; here they are gathered, with what may take long
side by side, and shown. Leans on `delivery` for the sending, so that what is tried is what the
exporter does.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any, Generic, TypeVar

from flowspan._config_parse import OTLP_EXPORTERS
from flowspan._links import host_of
from flowspan._version import __version__
from flowspan.cli._console import console, refuse, say_json, silence_loggers
from flowspan.cli.doctor import _langflow, _neighbours, _opentelemetry, _report
from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.cli.doctor._settings import Settings
from flowspan.config import OtlpConfig

T = TypeVar("T")
TIMEOUT = 2.0
"""Seconds for the whole way to the collector."""
_MORE = 0.8  # seconds for what is tried beside the way, at most
_LATE = 5.0  # seconds that a collector and Jaeger may take with the test span, at least


def run(jaeger: str | None, timeout: float, as_json: bool) -> None:
    """Ends by SystemExit: 0 all is well, 1 something is wrong, 2 an argument is wrong."""
    silence_loggers()
    if jaeger is not None and jaeger != "none" and not jaeger.startswith(("http://", "https://")):
        refuse(f"--jaeger={jaeger!r}: expected an http:// or https:// URL, or none")
    is_watched = sys.stderr is not None and sys.stderr.isatty() and not as_json
    with console(stderr=True).status("Looking") if is_watched else nullcontext():
        doctor = _Doctor(jaeger, timeout)
        lines = list(doctor.lines(whole=as_json))
    scrub = _report.scrubber(doctor.settings.config, os.environ) if doctor.can_send else _as_it_is
    lines = _report.scrubbed(lines, scrub)
    lines.sort(key=lambda line: list(Section).index(line.section))
    url = scrub(doctor.url)
    if as_json:
        say_json(_report.as_json(lines, __version__, doctor.trace, url))
    else:
        _report.show(lines, url)
    raise SystemExit(0 if _report.is_well(lines) else 1)


class _Doctor:
    def __init__(self, jaeger: str | None, timeout: float) -> None:
        self.settings = Settings(os.environ)
        self.can_send = False
        self.trace = self.url = ""
        self._jaeger, self._timeout = jaeger, timeout

    def lines(self, *, whole: bool) -> Iterator[Line]:
        settings = self.settings
        yield from settings.lines(whole=whole)
        found = list(_opentelemetry.lines())
        yield from found
        self.can_send = all(line.state is State.WELL for line in found)
        trips = self._set_out() if self.can_send else []
        yield from _guarded(Section.OTHERS, "others", lambda: _neighbours.lines(os.environ))
        yield from _guarded(Section.LANGFLOW, "Langflow", lambda: _langflow.lines(settings))
        if self.can_send:
            yield from self._sending(trips)
        else:
            yield _skipped("OpenTelemetry cannot be imported")

    def _set_out(self) -> list[_Trip]:
        """On all ways, in threads: what else there is to look at is looked at meanwhile."""
        if not self.settings.is_configured:
            return []
        return [_Trip(self.settings, otlp, self._timeout, self._jaeger) for otlp in self._otlps()]

    def _sending(self, trips: list[_Trip]) -> Iterator[Line]:
        from flowspan.cli.doctor import _provider, _spool

        settings = self.settings
        places = [trip.otlp for trip in trips] or [settings.config.otlp]
        directories = dict.fromkeys(_spool.directory_of(settings, place) for place in places)
        looks = {one: _Beside(partial(_spool.looking, one)) for one in directories}
        collector = ""
        if not settings.is_configured and not settings.config.disabled:
            yield _skipped("no variable says where spans go")
            collector = self._collector_here()
        yield from _guarded(
            Section.PROCESS, "tracer provider", lambda: [_provider.line(settings, collector)]
        )
        if settings.is_configured and not trips:
            named = ", ".join(settings.config.exporters) or "none"
            yield _skipped(f"no OTLP exporter is named: OTEL_TRACES_EXPORTER is {named}")
        for trip in trips:
            yield from self._way(trip)
        for directory, look in looks.items():
            show = partial(
                _spool.lines, settings, directory, partial(look.result, time.monotonic() + 1)
            )
            yield from _guarded(Section.SPOOL, "spool", show)

    def _otlps(self) -> Iterator[OtlpConfig]:
        """As the pipeline makes them: one for each OTLP exporter."""
        config = self.settings.config
        for name in config.exporters:
            if name in OTLP_EXPORTERS:
                yield config.otlp.speaking(OTLP_EXPORTERS[name])

    # ---- one collector, and the Jaeger behind it

    def _way(self, trip: _Trip) -> Iterator[Line]:
        # its own deadline holds; the rest is for what it tries beside
        trip.walked.result(trip.deadline + _MORE)
        yield from list(trip.way.lines)
        if not trip.walked.done.is_set():
            yield _wrong_way(f"no end within {self._timeout:g} s")
        elif trip.way.accepted is not None:
            self.trace = trip.way.accepted.trace_id
            if self._jaeger != "none":
                yield from self._arrived(trip.looking, trip.way.accepted, trip.otlp)

    def _arrived(self, looking: _Beside[Any], span: Any, otlp: OtlpConfig) -> Iterator[Line]:
        """Whether the span that the collector took is in Jaeger."""
        from flowspan.cli.doctor import _jaeger

        found = looking.result(time.monotonic() + self._timeout)
        if found is None:
            trouble = "it does not answer in time" if self._jaeger else ""
            found = _jaeger.Jaeger(self._jaeger or "", trouble, self._timeout)
        if not found.url:
            yield _in_jaeger(
                State.SKIPPED,
                "not looked for: no Jaeger on port 16686",
                do="--jaeger URL names one",
            )
            return
        shown = found.url.rpartition("@")[2] if "@" in found.url else found.url
        if found.trouble:
            yield _in_jaeger(
                State.WRONG,
                f"{shown}: {found.trouble}",
                "Jaeger's query API",
                "check the address after --jaeger; its port is 16686, and it has a path where "
                "Jaeger was given one",
                found.seconds,
            )
            return
        patience = max(_LATE, self._timeout)
        started = time.monotonic()
        asked = _Beside(lambda: _jaeger.has(found.url, span, patience))
        said = asked.result(started + patience + 0.2)
        seconds = time.monotonic() - started
        if said == "":
            self.url = f"{found.url}/trace/{span.trace_id}"
            yield _in_jaeger(State.WELL, f"the test span is there: {shown}", seconds=seconds)
            return
        is_its = self._jaeger is not None or host_of(otlp.endpoint) in found.url
        yield _in_jaeger(
            State.WRONG if is_its else State.NOTE,
            f"{shown} has not got the test span after {patience:g} s: {said or 'nothing'}",
            f"trace {span.trace_id}, which the collector has accepted",
            "look at the collector's exporters, and at its log: it sends elsewhere, samples, or "
            "waits longer (--timeout 30); --jaeger none leaves this out",
            seconds,
        )

    def _collector_here(self) -> str:
        """A collector on this machine, where none is configured."""
        from flowspan.cli.doctor import _others

        found = _others.answering(OtlpConfig(endpoint="http://localhost:1/v1/traces"), _MORE)
        if found is None:
            return ""
        return found.otlp.endpoint.removesuffix("/v1/traces")


class _Trip:
    """The way to one collector, begun; and whether there is a Jaeger."""

    def __init__(
        self, settings: Settings, otlp: OtlpConfig, timeout: float, jaeger: str | None
    ) -> None:
        from flowspan.cli.doctor import _span
        from flowspan.cli.doctor._way import Way

        self.otlp = otlp
        self.deadline = time.monotonic() + timeout
        span = _Beside(lambda: _span.make(settings.config))
        self.way = Way(settings, otlp, timeout, span.wait)
        self.walked = _Beside(self.way.walk)
        self.looking = _Beside(lambda: _find_jaeger(jaeger, otlp, timeout))


def _find_jaeger(named: str | None, otlp: OtlpConfig, timeout: float) -> Any:
    from flowspan.cli.doctor import _jaeger

    if named == "none":
        return None
    if named is not None:
        return _jaeger.reached(named, timeout)
    return _jaeger.found(otlp, min(1.0, timeout))


class _Beside(Generic[T]):
    """Work in a thread of its own, which the process does not wait for at its end."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.done = threading.Event()
        self._work = work
        self._result: T | None = None
        self._error: Exception | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            self._error = error
        finally:
            self.done.set()

    def result(self, deadline: float) -> T | None:
        """None if it is not done by then. Raises what the work raised."""
        self.done.wait(max(0.0, deadline - time.monotonic()))
        if self._error is not None:
            raise self._error
        return self._result

    def wait(self) -> T:
        """However long it takes."""
        self.done.wait()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result


def _guarded(section: Section, what: str, look: Callable[[], Iterable[Line]]) -> Iterator[Line]:
    """What goes wrong while one thing is looked at costs only its own lines."""
    found: list[Line] = []
    try:
        for line in look():
            found.append(line)  # noqa: PERF402 - what was found before an error counts
    except Exception as error:  # noqa: BLE001 - told as a line
        said = " ".join(f"{type(error).__name__}: {error}".split())
        found.append(
            Line(
                section=section,
                what=what,
                state=State.WRONG,
                seen=f"it could not be looked at: {said}",
                expected="something to look at",
                do="if that is none of your own packages, please report it",
            )
        )
    yield from found


def _as_it_is(text: str) -> str:
    return text


def _skipped(why: str) -> Line:
    return Line(
        section=Section.WAY, what="collector", state=State.SKIPPED, seen=f"not tried: {why}"
    )


def _wrong_way(seen: str) -> Line:
    return Line(
        section=Section.WAY,
        what="collector",
        state=State.WRONG,
        seen=seen,
        expected="an end of each step",
        do="--timeout 30 gives it longer",
    )


def _in_jaeger(
    state: State, seen: str, expected: str = "", do: str = "", seconds: float | None = None
) -> Line:
    return Line(
        section=Section.WAY,
        what="in Jaeger",
        state=state,
        seen=seen,
        expected=expected,
        do=do,
        seconds=seconds,
    )
