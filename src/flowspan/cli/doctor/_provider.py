"""Which tracer provider a process in this environment would use, by the rule of `pipeline`."""

from __future__ import annotations

from flowspan.cli.doctor._lines import Line, Section, State
from flowspan.cli.doctor._settings import Settings
from flowspan.config import Config

_ENDPOINT = "http://localhost:4318"


def line(settings: Settings, collector: str) -> Line:
    """*collector* is an endpoint on this machine where one was found, or empty."""
    config, sources = settings.config, settings.sources
    if config.disabled:
        return _line(
            State.WRONG,
            f"none: tracing is switched off by {sources['disabled']}",
            "tracing switched on",
            f"take {sources['disabled']} out, if you want traces",
        )
    there = provider_in_this_process()
    if there and config.export != "always":
        return _line(
            State.NOTE,
            f"{there}, which is set in this process already: flowspan's spans go through it",
            "its exporter sends them; the way below is that of OTEL_EXPORTER_OTLP_*",
            "FLOWSPAN_EXPORT=always for flowspan's own exporter beside it",
        )
    if config.export == "never":
        return _line(
            State.NOTE,
            "none but one that the application sets: FLOWSPAN_EXPORT is never",
            "right where the application sets a provider, and no span is recorded elsewhere",
            "take FLOWSPAN_EXPORT out, if flowspan is to export",
        )
    if config.config_file:
        return _line(
            State.NOTE,
            f"the one that {config.config_file} declares: OTEL_CONFIG_FILE is set",
            "opentelemetry-configuration installed; then no other OTEL_ variable counts",
            "take OTEL_CONFIG_FILE out for the way below",
        )
    if settings.in_vain:
        names = " and ".join(settings.in_vain)
        return _line(
            State.WRONG,
            f"none: {names} cannot be understood, which is as if nobody had set it, so no span is "
            "recorded",
            f"a variable that says where spans go, such as OTEL_EXPORTER_OTLP_ENDPOINT={_ENDPOINT}",
            f"mend {names}; an application may call flowspan.configure() instead",
        )
    if not settings.is_configured:
        found = f"a collector answers at {collector}" if collector else "start a collector first"
        return _line(
            State.WRONG,
            "none: no variable says where spans go, so none is recorded",
            "OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER=otlp for a collector here",
            f"export OTEL_EXPORTER_OTLP_ENDPOINT={collector or _ENDPOINT} ({found}); an "
            "application may call flowspan.configure() instead",
        )
    if not config.exporters:
        return _line(
            State.WRONG,
            "flowspan's own, with no exporter: OTEL_TRACES_EXPORTER is none",
            "otlp",
            "take OTEL_TRACES_EXPORTER out, or set it to otlp",
        )
    if config.sampler.endswith("always_off"):
        return _line(
            State.WRONG,
            f"flowspan's own, which records nothing: OTEL_TRACES_SAMPLER is {config.sampler}",
            "a sampler that lets traces through",
            "take OTEL_TRACES_SAMPLER out",
        )
    if "ratio" in config.sampler and config.sampler_arg is not None and not _part(config):
        return _line(
            State.WRONG,
            f"flowspan's own, which records nothing: OTEL_TRACES_SAMPLER_ARG={config.sampler_arg}",
            "a part of the traces above 0",
            "set OTEL_TRACES_SAMPLER_ARG to 1 for all of them",
        )
    why = sources["exporters"] or sources["endpoint"] or "FLOWSPAN_EXPORT"
    if config.export == "always":
        seen = "flowspan's own, beside whichever is set: FLOWSPAN_EXPORT is always"
    else:
        seen = f"flowspan's own: {why} is set, and nobody has set a provider here"
    if config.sampler_arg is not None and "ratio" in config.sampler:
        seen += f"; {config.sampler} records a part of {config.sampler_arg} of the traces"
    return _line(
        State.WELL, seen, "an application that sets a provider first has its own used instead"
    )


def _part(config: Config) -> float:
    try:
        return float(config.sampler_arg or 0)
    except ValueError:
        return 1.0  # the SDK's, for what is no number


def provider_in_this_process() -> str:
    """The class of a provider that is set already, as `opentelemetry-instrument` does."""
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return ""
    return f"{type(provider).__module__}.{type(provider).__qualname__}"


def _line(state: State, seen: str, expected: str, do: str = "") -> Line:
    return Line(
        section=Section.PROCESS,
        what="tracer provider",
        state=state,
        seen=seen,
        expected=expected,
        do=do,
    )
