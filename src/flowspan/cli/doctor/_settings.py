"""
What is configured, where each value comes from, and everything that is wrong with the variables.

Values are shown as `config` shows them: headers by name only, URLs without user and password.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from flowspan._config_parse import GRPC_TARGET, OTLP_EXPORTERS, Wrong
from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.cli.doctor._opentelemetry import wrong_propagators
from flowspan.config import VARIABLES, Config, Variable

# Shown to a person also at their defaults: where spans go, and how.
_ALWAYS = ("exporters", "protocol", "endpoint", "headers", "timeout", "compression", "service_name")
_PARTS = ("otlp", "batch", "spool", "limits")
_LENGTHY = ("redact_keys", "redact_patterns")
_LISTS_OF_NO_CONCERN = ("METRICS", "LOGS", "PROFILES")


class Settings:
    """The configuration of this environment, and of each setting the variable that it is from."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.config = Config.from_env(env)
        self.sources: dict[str, str] = {}
        """By the setting's name; empty for a default."""
        for _, setting in self._each():
            self.sources[setting.name] = self._source(setting)

    def _each(self) -> Iterator[tuple[Any, Any]]:
        """Each object with settings, and each of its fields that variables fill."""
        for owner in (self.config, *(getattr(self.config, part) for part in _PARTS)):
            for setting in fields(owner):
                if "variables" in setting.metadata:
                    yield owner, setting

    def _source(self, setting: Any) -> str:
        variables: tuple[Variable, ...] = setting.metadata["variables"]
        if setting.name == "endpoint" and self.config.otlp.protocol == "grpc":
            variables = tuple(replace(variable, kind=GRPC_TARGET) for variable in variables)
        used = [variable.name for variable in variables if self._is_understood(variable)]
        return ", ".join(used if setting.metadata["combine"] else used[:1])

    def _is_understood(self, variable: Variable) -> bool:
        text = self.env.get(variable.name, "").strip()
        if not text:
            return False
        try:
            variable.kind.parse(text)
        except Wrong as wrong:
            return not wrong.is_as_unset
        return True

    @property
    def is_configured(self) -> bool:
        """Whether a pipeline opens by itself, as far as the variables say."""
        config = self.config
        return (
            config.exporter_configured or config.export == "always" or bool(config.config_file)
        ) and not config.disabled

    @property
    def in_vain(self) -> tuple[str, ...]:
        """What should say where spans go and was not understood, so that nothing says it."""
        return () if self.is_configured else self.config._exporter_misunderstood

    @property
    def endpoint_from(self) -> str:
        """The variable to change for another endpoint."""
        return self.sources["endpoint"] or "OTEL_EXPORTER_OTLP_ENDPOINT"

    # ---- lines

    def lines(self, *, whole: bool) -> Iterator[Line]:
        """The settings; all of them if *whole*, else those that somebody set or must know."""
        yield from self.problems()
        for owner, setting in self._each():
            source = self.sources[setting.name]
            if whole or source or setting.name in _ALWAYS:
                yield Line(
                    section=Section.SETTINGS,
                    what=setting.name,
                    seen=self._shown(owner, setting),
                    variable=source,
                )

    def _shown(self, owner: Any, setting: Any) -> str:
        value = getattr(owner, setting.name)
        if setting.name == "headers":
            return ", ".join(value) or "none"
        if setting.name == "endpoint":
            return str(owner.shown_endpoint)
        if setting.name == "exporters":
            return ", ".join(value) or "none"
        if setting.name == "service_name" and value is None:
            return "flowspan"
        if setting.name in _LENGTHY:
            return f"{len(value)} of them"
        if setting.name == "resource_attributes":
            return ", ".join(value) or "none"  # the names: values may be anything
        if value is None:
            return "none"
        if isinstance(value, float):
            return f"{value:g} s"
        if isinstance(value, str):
            return str(setting.metadata["kind"].show(value)).strip("'")
        return str(value).lower() if isinstance(value, bool) else str(value)

    # ---- what is wrong

    def problems(self) -> Iterator[Line]:
        """Each variable that could not be taken as it is, all at once."""
        if said := wrong_propagators(self.env):
            seen, _, expected = said.partition("; expected ")
            yield _wrong(
                "OTEL_PROPAGATORS",
                seen,
                expected,
                "mend it or take it out: until then whatever imports opentelemetry.propagate, as "
                "Langflow does, fails at its start",
            )
        for problem in self.config.problems:
            name, _, said = problem.partition("=")
            seen, _, rest = said.partition(": expected ")
            expected, _, instead = rest.rpartition("; ")
            if name in self.in_vain:
                instead = "as if it were not set"
            yield _wrong(name, seen, expected, f"mend {name} or take it out; now: {instead}")
        yield from self._misspelt()
        yield from self._pointless()

    def _misspelt(self) -> Iterator[Line]:
        for name in sorted(self.env):
            if name in VARIABLES or not name.startswith(("FLOWSPAN_", "OTEL_")):
                continue
            is_ours = name.startswith("FLOWSPAN_")
            if any(word in name for word in _LISTS_OF_NO_CONCERN) and not is_ours:
                continue
            near = get_close_matches(name, VARIABLES, n=1, cutoff=0.8 if is_ours else 0.94)
            if near:
                yield _wrong(
                    name,
                    "set, and nobody reads it",
                    f"{near[0]}?",
                    f"rename it if you meant {near[0]}",
                )

    def _pointless(self) -> Iterator[Line]:
        """What is set and has no effect."""
        otlp = self.config.otlp
        if not any(name in OTLP_EXPORTERS for name in self.config.exporters):
            return
        if otlp.insecure:
            for name in ("certificate", "client_certificate"):
                if self.sources[name]:
                    yield Line(
                        section=Section.SETTINGS,
                        what=self.sources[name],
                        state=State.NOTE,
                        seen="set, and not used: the endpoint is one without TLS",
                        expected="an https:// endpoint",
                        do=f"write https:// in {self.endpoint_from}, if the collector has TLS",
                    )


def _wrong(what: str, seen: str, expected: str, do: str) -> Line:
    return Line(
        section=Section.SETTINGS,
        what=what,
        state=State.WRONG,
        seen=seen,
        expected=expected,
        do=do,
    )
