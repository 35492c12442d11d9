"""
What flowspan is told from outside: one frozen object, read once.

First the variables, then the settings they fill, then the reading. What a value may be is in
`_config_parse`. Nothing here opens a file or a socket, or needs the SDK.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from flowspan._config_parse import (
    ATTRIBUTES,
    BASE_URL,
    BYTES,
    COMPRESSION,
    CONTENT,
    COUNT,
    DIRECTORY,
    EXPORTERS,
    FLAG,
    GRPC_TARGET,
    HEADERS,
    LEVEL,
    MILLIS,
    OPTIONAL_COUNT,
    OPTIONAL_TEXT,
    PATH,
    PERIOD,
    RATIO,
    RATIO_SAMPLERS,
    SAMPLER,
    SIZE,
    SWITCH,
    TEXT,
    TEXTS,
    TIMEOUT,
    TRACE_URL,
    TRACEPARENT,
    TRACESTATE,
    URL,
    FrozenDict,
    Kind,
    Wrong,
    instance_of,
    keys,
    one_of,
    patterns,
    sentence,
    size_up_to,
)
from flowspan._redaction import DEFAULT_KEYS, DEFAULT_PATTERNS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable as the reference shows it. *default* is empty for nothing."""

    name: str
    kind: Kind = field(repr=False)
    default: str
    meaning: str

    @property
    def accepts(self) -> str:
        return self.kind.accepts


def _otlp(name: str, kind: Kind, default: str, meaning: str) -> tuple[Variable, Variable]:
    return (
        Variable(f"OTEL_EXPORTER_OTLP_{name}", kind, default, meaning),
        Variable(f"OTEL_EXPORTER_OTLP_TRACES_{name}", kind, default, f"for spans: {meaning}"),
    )


_HTTP, _GRPC = "http://localhost:4318", "http://localhost:4317"
_LISTED = (
    Variable("OTEL_SDK_DISABLED", FLAG, "false", "nothing is recorded; contexts still propagate"),
    Variable("LANGFLOW_DEACTIVATE_TRACING", SWITCH, "false", "as OTEL_SDK_DISABLED"),
    Variable("OTEL_SERVICE_NAME", OPTIONAL_TEXT, "", "the resource's service.name"),
    Variable("OTEL_RESOURCE_ATTRIBUTES", ATTRIBUTES, "", "attributes of the resource"),
    Variable("OTEL_TRACES_SAMPLER", SAMPLER, "parentbased_always_on", "which traces are recorded"),
    Variable(
        "OTEL_TRACES_SAMPLER_ARG",
        OPTIONAL_TEXT,
        "",
        "the sampler's argument; a number from 0 to 1 for the ratio samplers, 1 if unset; ignored "
        "without OTEL_TRACES_SAMPLER",
    ),
    Variable("OTEL_TRACES_EXPORTER", EXPORTERS, "otlp", "where spans go"),
    *_otlp("PROTOCOL", one_of("http/protobuf", "grpc"), "http/protobuf", "how requests are sent"),
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        BASE_URL,
        _HTTP,
        f"the collector, /v1/traces is appended; for grpc {_GRPC}, nothing is appended, and "
        "host:port or a target such as dns:///host:port will do",
    ),
    Variable(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        URL,
        f"{_HTTP}/v1/traces",
        "for spans: the collector, used as it is; for grpc as OTEL_EXPORTER_OTLP_ENDPOINT",
    ),
    *_otlp("HEADERS", HEADERS, "", "sent with each request; never logged"),
    *_otlp("TIMEOUT", TIMEOUT, "10", "how long one request may take"),
    *_otlp("COMPRESSION", COMPRESSION, "none", "how requests are compressed; grpc has no zstd"),
    *_otlp("CERTIFICATE", PATH, "", "CAs to trust instead of the system's, PEM"),
    *_otlp("CLIENT_KEY", PATH, "", "our private key for mTLS, PEM"),
    *_otlp("CLIENT_CERTIFICATE", PATH, "", "our certificate for mTLS, PEM"),
    *_otlp("INSECURE", FLAG, "false", "no TLS; only for a grpc endpoint without http(s)://"),
    Variable("OTEL_BSP_SCHEDULE_DELAY", MILLIS, "5000", "time between two exports"),
    Variable("OTEL_BSP_MAX_QUEUE_SIZE", SIZE, "2048", "finished spans kept in memory"),
    Variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", SIZE, "512", "spans in one request"),
    Variable("OTEL_BSP_EXPORT_TIMEOUT", MILLIS, "30000", "how long one export may take"),
    Variable("OTEL_ATTRIBUTE_COUNT_LIMIT", COUNT, "128", "attributes of a span, event or link"),
    Variable("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", COUNT, "128", "attributes of a span"),
    Variable("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", COUNT, "128", "attributes of an event"),
    Variable("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", COUNT, "128", "attributes of a link"),
    Variable("OTEL_SPAN_EVENT_COUNT_LIMIT", COUNT, "128", "events of a span"),
    Variable("OTEL_SPAN_LINK_COUNT_LIMIT", COUNT, "128", "links of a span"),
    Variable(
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        OPTIONAL_COUNT,
        "",
        "characters of an attribute's value; no limit if unset",
    ),
    Variable(
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        OPTIONAL_COUNT,
        "",
        "characters of a span attribute's value; no limit if unset",
    ),
    Variable(
        "OTEL_CONFIG_FILE",
        PATH,
        "",
        "declarative configuration, with opentelemetry-configuration installed; then no other "
        "OTEL_ variable counts",
    ),
    Variable("OTEL_LOG_LEVEL", LEVEL, "", "of the loggers opentelemetry and flowspan"),
    Variable("FLOWSPAN_CAPTURE_CONTENT", FLAG, "true", "inputs, outputs and logs are recorded"),
    Variable(
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        CONTENT,
        "",
        "NO_CONTENT, EVENT_ONLY or false: as FLOWSPAN_CAPTURE_CONTENT=false",
    ),
    Variable("OPENINFERENCE_HIDE_INPUTS", FLAG, "false", "inputs are not recorded"),
    Variable("OPENINFERENCE_HIDE_OUTPUTS", FLAG, "false", "outputs are not recorded"),
    Variable(
        "FLOWSPAN_REDACT_KEYS",
        keys(DEFAULT_KEYS),
        "a built-in list",
        "keys whose values become [REDACTED]",
    ),
    Variable(
        "FLOWSPAN_REDACT_PATTERNS",
        patterns(DEFAULT_PATTERNS),
        "a built-in list",
        "what becomes [REDACTED] in any text",
    ),
    Variable("FLOWSPAN_MAX_PAYLOAD_BYTES", SIZE, "32768", "of one input, output or log message"),
    Variable(
        "FLOWSPAN_PARENTING",
        one_of("run", "edge"),
        "run",
        "a component's parent: the run, or the predecessor that finished last",
    ),
    Variable(
        "FLOWSPAN_EXPORT",
        one_of("auto", "always", "never"),
        "auto",
        "our exporter: only where no provider is set, beside the one that is, or not at all",
    ),
    Variable(
        "FLOWSPAN_SPOOL_DIR",
        DIRECTORY,
        "the user's state directory",
        "where undelivered spans wait; none: only in memory",
    ),
    Variable("FLOWSPAN_SPOOL_MAX_BYTES", BYTES, "512 MiB", "how much may wait; the oldest go"),
    Variable("FLOWSPAN_SPOOL_MAX_AGE", PERIOD, "72h", "how long a span may wait"),
    Variable(
        "FLOWSPAN_DURABILITY",
        one_of("normal", "strict"),
        "normal",
        "strict: a span is in the spool before its end returns; normal: within 20 ms",
    ),
    Variable(
        "FLOWSPAN_TRACE_URL",
        TRACE_URL,
        "Jaeger on localhost, where the endpoint is",
        "where traces can be looked at; set, each run logs its link",
    ),
    Variable("FLOWSPAN_SET_GLOBAL", FLAG, "false", "our provider becomes the global one"),
    Variable("TRACEPARENT", TRACEPARENT, "", "the parent of the runs in this process"),
    Variable("TRACESTATE", TRACESTATE, "", "of TRACEPARENT; ignored without it"),
    Variable("LANGCHAIN_PROJECT", TEXT, "Langflow", "the project's name"),
)
VARIABLES: Mapping[str, Variable] = {variable.name: variable for variable in _LISTED}
"""Every variable that `Config.from_env` reads."""

_ENDPOINT = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class ConfigError(ValueError):
    """Values given in code do not fit. *problems* has a sentence for each of them."""

    @property
    def problems(self) -> tuple[str, ...]:
        return self.args

    def __str__(self) -> str:
        return "\n".join(self.problems)


def _setting(default: T, *names: str, combine: Callable[[Iterable[bool]], bool] | None = None) -> T:
    """The first of *names* that is set and understood counts; with *combine*, all of them do."""
    variables = tuple(VARIABLES[name] for name in names)
    metadata = {"kind": variables[0].kind, "variables": variables, "combine": combine}
    return field(default=default, metadata=metadata)


def _of(kind: Kind) -> dict[str, Kind]:
    return {"kind": kind}


def _signal(name: str) -> tuple[str, str]:
    return f"OTEL_EXPORTER_OTLP_TRACES_{name}", f"OTEL_EXPORTER_OTLP_{name}"


def _check(settings: Any, **special: Kind) -> None:
    problems: list[str] = []
    for setting in fields(settings):
        kind: Kind = special.get(setting.name) or setting.metadata["kind"]
        value = getattr(settings, setting.name)
        if not kind.fits(value):
            name = f"{type(settings).__name__}.{setting.name}"
            problems.append(sentence(name, kind.show(value), kind.in_code or kind.accepts))
    if problems:
        raise ConfigError(*problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpConfig:
    """
    How spans reach a collector, ready for an exporter.

    An empty *endpoint* becomes the protocol's default, and its scheme, if there is one, decides
    on *insecure*. *headers* are secrets: their names become lower case, and no repr of this
    object shows them. *timeout* is in seconds.
    """

    protocol: str = _setting("http/protobuf", *_signal("PROTOCOL"))
    endpoint: str = _setting("", *_ENDPOINT)
    headers: Mapping[str, str] = _setting(FrozenDict(), *_signal("HEADERS"))
    timeout: float = _setting(10.0, *_signal("TIMEOUT"))
    compression: str = _setting("none", *_signal("COMPRESSION"))
    certificate: str | None = _setting(None, *_signal("CERTIFICATE"))
    client_key: str | None = _setting(None, *_signal("CLIENT_KEY"))
    client_certificate: str | None = _setting(None, *_signal("CLIENT_CERTIFICATE"))
    insecure: bool = _setting(False, *_signal("INSECURE"))

    def __post_init__(self) -> None:
        grpc = self.protocol == "grpc"
        if self.endpoint == "":
            object.__setattr__(self, "endpoint", _GRPC if grpc else f"{_HTTP}/v1/traces")
        _check(self, endpoint=GRPC_TARGET if grpc else URL)
        headers = FrozenDict((name.lower(), value) for name, value in self.headers.items())
        object.__setattr__(self, "headers", headers)
        scheme = self.endpoint.partition("://")[0].lower()
        if scheme in ("http", "https"):
            object.__setattr__(self, "insecure", scheme == "http")

    def speaking(self, protocol: str | None) -> "OtlpConfig":
        """The same by *protocol*, if that is one; a default endpoint becomes that protocol's."""
        if protocol is None or protocol == self.protocol:
            return self
        is_default = self.endpoint in (_GRPC, f"{_HTTP}/v1/traces")
        return replace(self, protocol=protocol, endpoint="" if is_default else self.endpoint)

    @property
    def shown_endpoint(self) -> str:
        """The endpoint for a message: without user, password and query."""
        return re.sub(r"(?s)\?.*", "", re.sub(r"(?s)^([^/@]*//)?[^/]*@", r"\1", self.endpoint))

    def __repr__(self) -> str:
        shown = (f"{f.name}={f.metadata['kind'].show(getattr(self, f.name))}" for f in fields(self))
        return f"OtlpConfig({', '.join(shown)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """When finished spans are exported. *schedule_delay* and *export_timeout* are in seconds."""

    schedule_delay: float = _setting(5.0, "OTEL_BSP_SCHEDULE_DELAY")
    max_queue_size: int = _setting(2048, "OTEL_BSP_MAX_QUEUE_SIZE")
    max_export_batch_size: int = _setting(512, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE")
    export_timeout: float = _setting(30.0, "OTEL_BSP_EXPORT_TIMEOUT")

    def __post_init__(self) -> None:
        if self.max_export_batch_size == 512 and SIZE.fits(self.max_queue_size):
            # Who only asks for a short queue need not think of the batch.
            object.__setattr__(self, "max_export_batch_size", min(512, self.max_queue_size))
        _check(self, max_export_batch_size=size_up_to(self.max_queue_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolConfig:
    """
    Where finished spans wait for the collector, how many bytes and how many seconds at most.

    *directory* is used as it is; None is one of our own below the user's state directory, "none"
    only memory. *durability* "strict": a span is in the spool before its `end()` returns.
    """

    directory: str | None = _setting(None, "FLOWSPAN_SPOOL_DIR")
    max_bytes: int = _setting(512 * 2**20, "FLOWSPAN_SPOOL_MAX_BYTES")
    max_age: float = _setting(72 * 3600.0, "FLOWSPAN_SPOOL_MAX_AGE")
    durability: str = _setting("normal", "FLOWSPAN_DURABILITY")

    def __post_init__(self) -> None:
        _check(self)


_ALL_COUNT, _ALL_LENGTH = "OTEL_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """
    The limits of a span, named as `SpanLimits` names its arguments.

    A length of None is no limit. `SpanLimits` calls that UNSET, and at None it would look into
    the environment itself.
    """

    max_attributes: int = _setting(128, _ALL_COUNT)
    max_span_attributes: int = _setting(128, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", _ALL_COUNT)
    max_event_attributes: int = _setting(128, "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", _ALL_COUNT)
    max_link_attributes: int = _setting(128, "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", _ALL_COUNT)
    max_events: int = _setting(128, "OTEL_SPAN_EVENT_COUNT_LIMIT")
    max_links: int = _setting(128, "OTEL_SPAN_LINK_COUNT_LIMIT")
    max_attribute_length: int | None = _setting(None, _ALL_LENGTH)
    max_span_attribute_length: int | None = _setting(
        None, "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", _ALL_LENGTH
    )

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """
    All settings. Built in code, values that do not fit raise `ConfigError`, all of them at once.

    `from_env` raises nothing: *problems* has a sentence for each variable that it could not take
    as it is. *service_name* is None if the resource attributes name none either, *exporters* is
    empty for none, and a *log_level* of None leaves the loggers alone. *exporter_configured*: the
    environment names an exporter or an OTLP endpoint, and it was understood.
    """

    disabled: bool = _setting(
        False, "OTEL_SDK_DISABLED", "LANGFLOW_DEACTIVATE_TRACING", combine=any
    )
    service_name: str | None = _setting(None, "OTEL_SERVICE_NAME")
    resource_attributes: Mapping[str, str] = _setting(FrozenDict(), "OTEL_RESOURCE_ATTRIBUTES")
    sampler: str = _setting("parentbased_always_on", "OTEL_TRACES_SAMPLER")
    sampler_arg: str | None = _setting(None, "OTEL_TRACES_SAMPLER_ARG")
    exporters: tuple[str, ...] = _setting(("otlp",), "OTEL_TRACES_EXPORTER")
    exporter_configured: bool = field(default=False, metadata=_of(FLAG))
    otlp: OtlpConfig = field(default_factory=OtlpConfig, metadata=_of(instance_of(OtlpConfig)))
    batch: BatchConfig = field(default_factory=BatchConfig, metadata=_of(instance_of(BatchConfig)))
    spool: SpoolConfig = field(default_factory=SpoolConfig, metadata=_of(instance_of(SpoolConfig)))
    limits: LimitsConfig = field(
        default_factory=LimitsConfig, metadata=_of(instance_of(LimitsConfig))
    )
    config_file: str | None = _setting(None, "OTEL_CONFIG_FILE")
    log_level: int | None = _setting(None, "OTEL_LOG_LEVEL")
    capture_content: bool = _setting(
        True,
        "FLOWSPAN_CAPTURE_CONTENT",
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        combine=all,
    )
    hide_inputs: bool = _setting(False, "OPENINFERENCE_HIDE_INPUTS")
    hide_outputs: bool = _setting(False, "OPENINFERENCE_HIDE_OUTPUTS")
    redact_keys: tuple[str, ...] = _setting(DEFAULT_KEYS, "FLOWSPAN_REDACT_KEYS")
    redact_patterns: tuple[str, ...] = _setting(DEFAULT_PATTERNS, "FLOWSPAN_REDACT_PATTERNS")
    max_payload_bytes: int = _setting(32768, "FLOWSPAN_MAX_PAYLOAD_BYTES")
    parenting: str = _setting("run", "FLOWSPAN_PARENTING")
    export: str = _setting("auto", "FLOWSPAN_EXPORT")
    trace_url: str | None = _setting(None, "FLOWSPAN_TRACE_URL")
    set_global: bool = _setting(False, "FLOWSPAN_SET_GLOBAL")
    traceparent: str | None = _setting(None, "TRACEPARENT")
    tracestate: str | None = _setting(None, "TRACESTATE")
    project_name: str = _setting("Langflow", "LANGCHAIN_PROJECT")
    problems: tuple[str, ...] = field(default=(), metadata=_of(TEXTS))

    def __post_init__(self) -> None:
        _check(self, sampler_arg=RATIO if self.sampler in RATIO_SAMPLERS else OPTIONAL_TEXT)
        attributes = FrozenDict(self.resource_attributes)
        object.__setattr__(self, "resource_attributes", attributes)
        if self.service_name is None:
            object.__setattr__(self, "service_name", attributes.get("service.name") or None)

    @property
    def _exporter_misunderstood(self) -> tuple[str, ...]:
        """The variables that were to name an exporter or an endpoint, if none was understood."""
        if self.exporter_configured:
            return ()
        given = {problem.partition("=")[0] for problem in self.problems}
        return tuple(name for name in ("OTEL_TRACES_EXPORTER", *_ENDPOINT) if name in given)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Config":
        """Read *env* once, by default `os.environ`."""
        read = _Reader(os.environ if env is None else env)
        values = read.all(cls, sampler_arg=())
        if "OTEL_TRACES_SAMPLER" in read.understood:
            argument = VARIABLES["OTEL_TRACES_SAMPLER_ARG"]
            if values["sampler"] in RATIO_SAMPLERS:
                argument = replace(argument, kind=RATIO, default="1")
            values["sampler_arg"] = read.first((argument,), None)
        if values["traceparent"] is None:
            values["tracestate"] = None
        values.update(
            otlp=_read_otlp(read),
            batch=_read_batch(read),
            spool=SpoolConfig(**read.all(SpoolConfig)),
            limits=LimitsConfig(**read.all(LimitsConfig)),
            exporter_configured=bool(read.understood & {"OTEL_TRACES_EXPORTER", *_ENDPOINT}),
            problems=tuple(read.problems),
        )
        return cls(**values)


class _Reader:
    """Turns texts into values, and keeps what was understood and what was not."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.understood: set[str] = set()
        self.problems: dict[str, None] = {}  # each once: a general variable has many readers
        self._texts = {name: self._text(name, env.get(name)) for name in VARIABLES}

    def _text(self, name: str, given: object) -> str:
        if given is None:
            return ""
        if not isinstance(given, str):
            shown = str(given) if isinstance(given, (bool, int, float)) else type(given).__name__
            self.problems[f"{sentence(name, shown, 'a text')}; read as {shown}"] = None
            given = shown
        # A variable's undecodable bytes are surrogates, which no exporter can send.
        return given.encode("utf-8", "replace").decode().strip()

    def first(self, variables: Sequence[Variable], default: object) -> Any:
        """The value of the first variable that is set and understood."""
        value, used = default, variables[0].default if variables else ""
        wrong: list[tuple[Variable, Wrong]] = []
        for variable in variables:
            if not (text := self._texts[variable.name]):
                continue
            try:
                value, used = variable.kind.parse(text), variable.name
            except Wrong as error:
                wrong.append((variable, error))
                if error.is_as_unset:
                    continue
                value, used = error.instead, error.words
            self.understood.add(variable.name)
            break
        for variable, why in wrong:
            self.note(variable, variable.accepts, used, why.detail)
        return value

    def all(self, settings: type, **special: Sequence[Variable]) -> dict[str, Any]:
        """A value for each field that has variables, or that *special* gives other ones."""
        values: dict[str, Any] = {}
        for setting in fields(settings):
            variables = special.get(setting.name, setting.metadata.get("variables"))
            if variables is None:
                continue
            if combine := setting.metadata["combine"]:
                each = [self.first((variable,), setting.default) for variable in variables]
                values[setting.name] = combine(each)
            else:
                values[setting.name] = self.first(variables, setting.default)
        return values

    def note(self, variable: Variable, accepts: str, used: str, detail: str = "") -> None:
        text = variable.kind.show(self._texts[variable.name])
        instead = f"using {used}" if used else "ignored"
        self.problems[f"{sentence(variable.name, text, accepts, detail)}; {instead}"] = None


def _read_otlp(read: _Reader) -> OtlpConfig:
    endpoint = [VARIABLES[name] for name in _ENDPOINT]
    protocols = [VARIABLES[name] for name in _signal("PROTOCOL")]
    if read.first(protocols, None) == "grpc":
        endpoint = [replace(v, kind=GRPC_TARGET, default=_GRPC) for v in endpoint]
    return OtlpConfig(**read.all(OtlpConfig, endpoint=endpoint))


def _read_batch(read: _Reader) -> BatchConfig:
    values = read.all(BatchConfig)
    size, limit = values["max_export_batch_size"], values["max_queue_size"]
    variable = VARIABLES["OTEL_BSP_MAX_EXPORT_BATCH_SIZE"]
    if size > limit and variable.name in read.understood:
        read.note(variable, "no more than OTEL_BSP_MAX_QUEUE_SIZE", str(limit))
    return BatchConfig(**values | {"max_export_batch_size": min(size, limit)})
