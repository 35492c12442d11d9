"""
What the environment and code can tell flowspan, and what it answers to what it cannot take.
"""

from __future__ import annotations

import copy
import importlib.metadata
import logging
import os
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, asdict, fields, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flowspan._redaction import DEFAULT_KEYS, DEFAULT_PATTERNS
from flowspan.config import (
    VARIABLES,
    BatchConfig,
    Config,
    ConfigError,
    LimitsConfig,
    OtlpConfig,
    SpoolConfig,
)

OTLP = "OTEL_EXPORTER_OTLP_"
HERE = os.path.abspath(__file__)
TRACES = "OTEL_EXPORTER_OTLP_TRACES_"
GENAI = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
GRPC = {f"{OTLP}PROTOCOL": "grpc"}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
URL = "expected an http:// or https:// URL"
TARGET = f"{URL}, host:port, or a target such as dns:///host:port or unix:/path"
TIMEOUT = "expected milliseconds from 1000 on, such as 10000, or seconds below, such as 10"
COMPRESSION = "expected none, gzip, or zstd with flowspan[zstd] installed"
MILLIS = "expected whole milliseconds, more than 0, such as 5000"
COUNT = "expected a whole number from 0 to 2147483647"
SIZE = "expected a whole number from 1 to 2147483647"
PATTERNS = (
    "expected regular expressions that match no empty text, with ; or line ends between them "
    r"(\x3b inside one); a leading + adds them to the defaults"
)


def setting(config: Config, path: str) -> Any:
    value: Any = config
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    Stands for the packages that are installed, and says for which groups they were searched.
    """
    searched: list[str] = []
    names = {
        "opentelemetry_traces_exporter": ["Zipkin_json", "otlp"],
        "opentelemetry_traces_sampler": ["my_sampler"],
    }

    def entry_points(*, group: str) -> list[importlib.metadata.EntryPoint]:
        searched.append(group)
        return [importlib.metadata.EntryPoint(name, "m:o", group) for name in names[group]]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    return searched


# --- what is understood


def test_nothing_set_is_the_defaults_without_a_problem():
    """
    An empty environment gives what `Config()` gives.
    """
    assert Config.from_env({}) == Config()
    assert Config().problems == ()
    assert Config().exporter_configured is False


@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("text", ["", "  \t\n"])
def test_empty_is_unset(name: str, text: str):
    """
    A variable that is empty or blank is as one that is not there, and nobody is told.
    """
    assert Config.from_env({name: text}) == Config()


def test_the_defaults_in_the_reference_are_the_defaults():
    """
    Writing each variable's documented default into the environment changes nothing.
    """
    in_words = ("a built-in", "the user's", "Jaeger on localhost")
    env = {v.name: v.default for v in VARIABLES.values() if not v.default.startswith(in_words)}

    assert replace(Config.from_env(env), exporter_configured=False) == Config()


def test_the_reference_has_every_variable_with_every_column():
    """
    The page in the documentation is compared with this table.
    """
    assert all(v.accepts and v.meaning for v in VARIABLES.values())
    assert all(name == v.name for name, v in VARIABLES.items())
    assert not [name for name in VARIABLES if "PROPAGATORS" in name]
    read = {
        variable.name
        for part in (Config, OtlpConfig, BatchConfig, SpoolConfig, LimitsConfig)
        for f in fields(part)
        for variable in f.metadata.get("variables", ())
    }
    assert read == set(VARIABLES)


UNDERSTOOD: list[tuple[dict[str, str], str, object]] = [
    ({"OTEL_SDK_DISABLED": "true"}, "disabled", True),
    ({"OTEL_SDK_DISABLED": " TRUE "}, "disabled", True),
    ({"OTEL_SDK_DISABLED": "False"}, "disabled", False),
    ({"LANGFLOW_DEACTIVATE_TRACING": "true"}, "disabled", True),
    ({"LANGFLOW_DEACTIVATE_TRACING": "1"}, "disabled", True),
    ({"LANGFLOW_DEACTIVATE_TRACING": "Off"}, "disabled", False),
    ({"OTEL_SDK_DISABLED": "false", "LANGFLOW_DEACTIVATE_TRACING": "true"}, "disabled", True),
    ({"OTEL_SDK_DISABLED": "true", "LANGFLOW_DEACTIVATE_TRACING": "false"}, "disabled", True),
    ({"OTEL_SERVICE_NAME": "bot"}, "service_name", "bot"),
    ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=bot"}, "service_name", "bot"),
    (
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=no", "OTEL_SERVICE_NAME": "bot"},
        "service_name",
        "bot",
    ),
    ({"OTEL_RESOURCE_ATTRIBUTES": "service.name="}, "service_name", None),
    (
        {"OTEL_RESOURCE_ATTRIBUTES": " a = b%2Cc ,d%3D=e=f,,k="},
        "resource_attributes",
        {"a": "b,c", "d=": "e=f", "k": ""},
    ),
    ({"OTEL_TRACES_SAMPLER": " Always_Off"}, "sampler", "always_off"),
    ({"OTEL_TRACES_SAMPLER": "MY_sampler"}, "sampler", "my_sampler"),
    (
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
        "sampler_arg",
        "0.25",
    ),
    (
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1e-3"},
        "sampler_arg",
        "1e-3",
    ),
    (
        {"OTEL_TRACES_SAMPLER": "my_sampler", "OTEL_TRACES_SAMPLER_ARG": "endpoint=x"},
        "sampler_arg",
        "endpoint=x",
    ),
    ({"OTEL_TRACES_SAMPLER_ARG": "nonsense"}, "sampler_arg", None),
    ({"OTEL_TRACES_EXPORTER": "OTLP"}, "exporters", ("otlp",)),
    (
        {"OTEL_TRACES_EXPORTER": "console, otlp,,console,zipkin_JSON"},
        "exporters",
        ("console", "otlp", "Zipkin_json"),
    ),
    ({"OTEL_TRACES_EXPORTER": "None"}, "exporters", ()),
    ({"OTEL_TRACES_EXPORTER": "otlp"}, "exporter_configured", True),
    ({"OTEL_TRACES_EXPORTER": "none"}, "exporter_configured", True),
    ({f"{OTLP}ENDPOINT": "http://c:4318"}, "exporter_configured", True),
    ({f"{TRACES}ENDPOINT": "http://c:4318"}, "exporter_configured", True),
    ({f"{OTLP}PROTOCOL": "grpc"}, "exporter_configured", False),
    ({f"{OTLP}PROTOCOL": " GRPC "}, "otlp.protocol", "grpc"),
    ({**GRPC, f"{TRACES}PROTOCOL": "http/protobuf"}, "otlp.protocol", "http/protobuf"),
    (GRPC, "otlp.endpoint", "http://localhost:4317"),
    ({f"{OTLP}ENDPOINT": "http://c:4318"}, "otlp.endpoint", "http://c:4318/v1/traces"),
    ({f"{OTLP}ENDPOINT": "https://c//"}, "otlp.endpoint", "https://c/v1/traces"),
    ({f"{OTLP}ENDPOINT": "http://c/base/"}, "otlp.endpoint", "http://c/base/v1/traces"),
    ({f"{OTLP}ENDPOINT": "http://c?a=b"}, "otlp.endpoint", "http://c/v1/traces?a=b"),
    ({f"{OTLP}ENDPOINT": "http://[::1]:4318"}, "otlp.endpoint", "http://[::1]:4318/v1/traces"),
    ({f"{TRACES}ENDPOINT": "http://c:4318"}, "otlp.endpoint", "http://c:4318"),
    (
        {f"{OTLP}ENDPOINT": "http://general", f"{TRACES}ENDPOINT": "http://own/"},
        "otlp.endpoint",
        "http://own/",
    ),
    *[
        ({**GRPC, f"{OTLP}ENDPOINT": target}, "otlp.endpoint", target)
        for target in (
            "http://c:4317",
            "https://c",
            "c:4317",
            "10.0.0.1:4317",
            "[::1]:4317",
            "dns:///c:4317",
            "dns:c:4317",
            "unix:/run/c.sock",
            "unix:///run/c.sock",
            "unix:c.sock",
            "unix-abstract:c",
            "ipv4:10.0.0.1:4317,10.0.0.2:4317",
            "ipv6:[::1]:4317",
        )
    ],
    ({**GRPC, f"{OTLP}ENDPOINT": "c:4317"}, "otlp.insecure", False),
    ({**GRPC, f"{OTLP}ENDPOINT": "c:4317", f"{OTLP}INSECURE": "true"}, "otlp.insecure", True),
    (
        {**GRPC, f"{OTLP}ENDPOINT": "c:1", f"{OTLP}INSECURE": "true", f"{TRACES}INSECURE": "false"},
        "otlp.insecure",
        False,
    ),
    ({**GRPC, f"{OTLP}ENDPOINT": "http://c:4317"}, "otlp.insecure", True),
    (
        {**GRPC, f"{OTLP}ENDPOINT": "http://c:4317", f"{OTLP}INSECURE": "false"},
        "otlp.insecure",
        True,
    ),
    (
        {**GRPC, f"{OTLP}ENDPOINT": "HTTPS://c:4317", f"{OTLP}INSECURE": "true"},
        "otlp.insecure",
        False,
    ),
    (
        {f"{OTLP}HEADERS": " Authorization = Basic%20QQ== ,x-a=b c, y=,"},
        "otlp.headers",
        {"authorization": "Basic QQ==", "x-a": "b c", "y": ""},
    ),
    ({f"{OTLP}HEADERS": "a=1", f"{TRACES}HEADERS": "b=2"}, "otlp.headers", {"b": "2"}),
    ({f"{OTLP}TIMEOUT": "5"}, "otlp.timeout", 5.0),
    ({f"{OTLP}TIMEOUT": ".5"}, "otlp.timeout", 0.5),
    ({f"{OTLP}TIMEOUT": "999"}, "otlp.timeout", 999.0),
    ({f"{OTLP}TIMEOUT": "1000"}, "otlp.timeout", 1.0),
    ({f"{OTLP}TIMEOUT": "1500", f"{TRACES}TIMEOUT": "2500"}, "otlp.timeout", 2.5),
    ({f"{OTLP}COMPRESSION": "GZIP"}, "otlp.compression", "gzip"),
    ({f"{OTLP}COMPRESSION": " Zstd"}, "otlp.compression", "zstd"),
    ({f"{OTLP}COMPRESSION": "gzip", f"{TRACES}COMPRESSION": "none"}, "otlp.compression", "none"),
    ({f"{OTLP}CERTIFICATE": os.devnull, f"{TRACES}CERTIFICATE": HERE}, "otlp.certificate", HERE),
    ({f"{OTLP}CLIENT_KEY": HERE}, "otlp.client_key", HERE),
    ({f"{OTLP}CLIENT_KEY": "/k", f"{TRACES}CLIENT_KEY": HERE}, "otlp.client_key", HERE),
    ({f"{OTLP}CLIENT_CERTIFICATE": HERE}, "otlp.client_certificate", HERE),
    ({f"{TRACES}CLIENT_CERTIFICATE": HERE}, "otlp.client_certificate", HERE),
    ({"OTEL_BSP_SCHEDULE_DELAY": "250"}, "batch.schedule_delay", 0.25),
    ({"OTEL_BSP_SCHEDULE_DELAY": "1"}, "batch.schedule_delay", 0.001),
    ({"OTEL_BSP_EXPORT_TIMEOUT": "10"}, "batch.export_timeout", 0.01),
    ({"OTEL_BSP_MAX_QUEUE_SIZE": "4096"}, "batch.max_queue_size", 4096),
    ({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, "batch.max_export_batch_size", 100),
    ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2048"}, "batch.max_export_batch_size", 2048),
    ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "7"}, "limits.max_attributes", 7),
    ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "7"}, "limits.max_span_attributes", 7),
    ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "7"}, "limits.max_event_attributes", 7),
    ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "7"}, "limits.max_link_attributes", 7),
    ({"OTEL_ATTRIBUTE_COUNT_LIMIT": "7"}, "limits.max_events", 128),
    (
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "7", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0"},
        "limits.max_span_attributes",
        0,
    ),
    ({"OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "6"}, "limits.max_event_attributes", 6),
    ({"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "6"}, "limits.max_link_attributes", 6),
    ({"OTEL_SPAN_EVENT_COUNT_LIMIT": "6"}, "limits.max_events", 6),
    ({"OTEL_SPAN_LINK_COUNT_LIMIT": "6"}, "limits.max_links", 6),
    ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "90"}, "limits.max_attribute_length", 90),
    ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "90"}, "limits.max_span_attribute_length", 90),
    ({"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9"}, "limits.max_span_attribute_length", 9),
    ({"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "9"}, "limits.max_attribute_length", None),
    ({"OTEL_CONFIG_FILE": HERE}, "config_file", HERE),
    ({"OTEL_LOG_LEVEL": "DEBUG"}, "log_level", logging.DEBUG),
    ({"OTEL_LOG_LEVEL": "warn"}, "log_level", logging.WARNING),
    ({"OTEL_LOG_LEVEL": "Warning"}, "log_level", logging.WARNING),
    ({"OTEL_LOG_LEVEL": "fatal"}, "log_level", logging.CRITICAL),
    ({"OTEL_LOG_LEVEL": "none"}, "log_level", logging.CRITICAL + 10),
    ({"FLOWSPAN_CAPTURE_CONTENT": "false"}, "capture_content", False),
    ({GENAI: "no_content"}, "capture_content", False),
    ({GENAI: "EVENT_ONLY"}, "capture_content", False),
    ({GENAI: "False"}, "capture_content", False),
    ({GENAI: "SPAN_ONLY"}, "capture_content", True),
    ({GENAI: "SPAN_AND_EVENT"}, "capture_content", True),
    ({GENAI: "true", "FLOWSPAN_CAPTURE_CONTENT": "false"}, "capture_content", False),
    ({GENAI: "NO_CONTENT", "FLOWSPAN_CAPTURE_CONTENT": "true"}, "capture_content", False),
    ({"OPENINFERENCE_HIDE_INPUTS": "true"}, "hide_inputs", True),
    ({"OPENINFERENCE_HIDE_OUTPUTS": "true"}, "hide_outputs", True),
    ({"FLOWSPAN_REDACT_KEYS": "a, b ,a"}, "redact_keys", ("a", "b")),
    ({"FLOWSPAN_REDACT_KEYS": "+ a,b"}, "redact_keys", (*DEFAULT_KEYS, "a", "b")),
    ({"FLOWSPAN_REDACT_KEYS": f"+{DEFAULT_KEYS[0]}"}, "redact_keys", DEFAULT_KEYS),
    (
        {"FLOWSPAN_REDACT_PATTERNS": "A{3,5} [b,c]; d\n e ;"},
        "redact_patterns",
        ("A{3,5} [b,c]", "d", "e"),
    ),
    ({"FLOWSPAN_REDACT_PATTERNS": "+x"}, "redact_patterns", (*DEFAULT_PATTERNS, "x")),
    ({"FLOWSPAN_MAX_PAYLOAD_BYTES": "1024"}, "max_payload_bytes", 1024),
    ({"FLOWSPAN_PARENTING": " Edge"}, "parenting", "edge"),
    ({"FLOWSPAN_SPOOL_DIR": "~/spool"}, "spool.directory", "~/spool"),
    ({"FLOWSPAN_SPOOL_DIR": "None"}, "spool.directory", "none"),
    ({"FLOWSPAN_SPOOL_MAX_BYTES": "50000000"}, "spool.max_bytes", 50_000_000),
    ({"FLOWSPAN_SPOOL_MAX_BYTES": "1.5 GiB"}, "spool.max_bytes", 3 * 2**29),
    ({"FLOWSPAN_SPOOL_MAX_BYTES": "50MB"}, "spool.max_bytes", 50_000_000),
    ({"FLOWSPAN_SPOOL_MAX_AGE": "90"}, "spool.max_age", 90.0),
    ({"FLOWSPAN_SPOOL_MAX_AGE": "1.5h"}, "spool.max_age", 5400.0),
    ({"FLOWSPAN_SPOOL_MAX_AGE": "7 D"}, "spool.max_age", 604800.0),
    ({"FLOWSPAN_DURABILITY": "Strict"}, "spool.durability", "strict"),
    ({"FLOWSPAN_EXPORT": "ALWAYS"}, "export", "always"),
    ({"FLOWSPAN_EXPORT": "never"}, "export", "never"),
    ({"FLOWSPAN_TRACE_URL": "http://jaeger:16686"}, "trace_url", "http://jaeger:16686"),
    ({"FLOWSPAN_SET_GLOBAL": "true"}, "set_global", True),
    ({"TRACEPARENT": TRACEPARENT}, "traceparent", TRACEPARENT),
    ({"TRACEPARENT": f"cc{TRACEPARENT[2:]}-more"}, "traceparent", f"cc{TRACEPARENT[2:]}-more"),
    ({"TRACEPARENT": TRACEPARENT, "TRACESTATE": "a=1,b@c=2"}, "tracestate", "a=1,b@c=2"),
    ({"TRACESTATE": "a=1"}, "tracestate", None),
    ({"LANGCHAIN_PROJECT": "Support"}, "project_name", "Support"),
]


@pytest.mark.parametrize(("env", "path", "value"), UNDERSTOOD, ids=lambda value: str(value)[:60])
def test_what_is_understood(env: dict[str, str], path: str, value: object):
    """
    The value arrives as the pipeline needs it, and there is nothing to complain about.
    """
    config = Config.from_env(env)

    assert setting(config, path) == value
    assert config.problems == ()


def test_every_variable_has_an_example_above():
    """
    A variable that is added without a test is found here.
    """
    assert set(VARIABLES) - {name for env, _, _ in UNDERSTOOD for name in env} == set()


# --- what is not

WRONG: list[tuple[dict[str, str], str, object, str]] = [
    (
        {"LANGFLOW_DEACTIVATE_TRACING": "maybe"},
        "disabled",
        False,
        "LANGFLOW_DEACTIVATE_TRACING='maybe': "
        "expected true, 1, yes, on, false, 0, no or off; using false",
    ),
    *[
        ({name: "yes"}, path, False, f"{name}='yes': expected true or false; using false")
        for name, path in {
            "OTEL_SDK_DISABLED": "disabled",
            "FLOWSPAN_CAPTURE_CONTENT": "capture_content",
            "OPENINFERENCE_HIDE_INPUTS": "hide_inputs",
            "OPENINFERENCE_HIDE_OUTPUTS": "hide_outputs",
            "FLOWSPAN_SET_GLOBAL": "set_global",
        }.items()
    ],
    (
        {**GRPC, f"{OTLP}ENDPOINT": "c:1", f"{OTLP}INSECURE": "true", f"{TRACES}INSECURE": "1"},
        "otlp.insecure",
        False,
        f"{TRACES}INSECURE='1': expected true or false; using false",
    ),
    (
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=bot,oops"},
        "service_name",
        None,
        "OTEL_RESOURCE_ATTRIBUTES='service.name=bot,oops': expected key=value pairs, "
        "percent-encoded, with commas between them (not 'oops'); ignored",
    ),
    (
        {"OTEL_RESOURCE_ATTRIBUTES": "a=%ff"},
        "resource_attributes",
        {},
        "OTEL_RESOURCE_ATTRIBUTES='a=%ff': expected key=value pairs, percent-encoded, with commas "
        "between them (not 'a=%ff'); ignored",
    ),
    (
        {"OTEL_TRACES_SAMPLER": "sometimes", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
        "sampler",
        "parentbased_always_on",
        "OTEL_TRACES_SAMPLER='sometimes': expected always_on, always_off, parentbased_always_on, "
        "parentbased_always_off, traceidratio, parentbased_traceidratio or an installed sampler; "
        "using parentbased_always_on",
    ),
    *[
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": text},
            "sampler_arg",
            None,
            f"OTEL_TRACES_SAMPLER_ARG='{text}': expected a number from 0 to 1, such as 0.25; "
            "using 1",
        )
        for text in ("2", "-0.1", "half", "nan", "inf", "1_0", "\u0660")
    ],
    (
        {"OTEL_TRACES_EXPORTER": "oltp"},
        "exporters",
        ("otlp",),
        "OTEL_TRACES_EXPORTER='oltp': expected none, or otlp, console and installed exporters "
        "with commas between them; using otlp",
    ),
    (
        {"OTEL_TRACES_EXPORTER": "console,oltp"},
        "exporters",
        ("console",),
        "OTEL_TRACES_EXPORTER='console,oltp': expected none, or otlp, console and installed "
        "exporters with commas between them (not 'oltp'); using console",
    ),
    (
        {"OTEL_TRACES_EXPORTER": "none,console"},
        "exporters",
        ("console",),
        "OTEL_TRACES_EXPORTER='none,console': expected none, or otlp, console and installed "
        "exporters with commas between them (not 'none' beside others); using console",
    ),
    (
        {"OTEL_TRACES_EXPORTER": "none,oltp"},
        "exporters",
        (),
        "OTEL_TRACES_EXPORTER='none,oltp': expected none, or otlp, console and installed "
        "exporters with commas between them (not 'oltp'); using none",
    ),
    (
        {f"{OTLP}PROTOCOL": "http/json"},
        "otlp.protocol",
        "http/protobuf",
        f"{OTLP}PROTOCOL='http/json': expected http/protobuf or grpc; using http/protobuf",
    ),
    (
        {**GRPC, f"{TRACES}PROTOCOL": "http"},
        "otlp.protocol",
        "grpc",
        f"{TRACES}PROTOCOL='http': expected http/protobuf or grpc; using {OTLP}PROTOCOL",
    ),
    *[
        (
            {f"{OTLP}ENDPOINT": text},
            "otlp.endpoint",
            "http://localhost:4318/v1/traces",
            f"{OTLP}ENDPOINT={text!r}: {URL}; using http://localhost:4318/v1/traces",
        )
        for text in (
            "c:4318",
            "localhost",
            "ftp://c",
            "unix:/run/c.sock",
            "http://",
            "http://:4318",
            "http:c",
            "http://c:0",
            "http://c:99999",
            "http://c:x",
            "http://[::1",
            "http://a b",
            "http://c\x00",
        )
    ],
    (
        {f"{OTLP}ENDPOINT": "http://general", f"{TRACES}ENDPOINT": "own:4318"},
        "otlp.endpoint",
        "http://general/v1/traces",
        f"{TRACES}ENDPOINT='own:4318': {URL}; using {OTLP}ENDPOINT",
    ),
    *[
        (
            {**GRPC, f"{OTLP}ENDPOINT": text},
            "otlp.endpoint",
            "http://localhost:4317",
            f"{OTLP}ENDPOINT={text!r}: {TARGET}; using http://localhost:4317",
        )
        for text in (
            "collector",
            "c:0",
            "c:65536",
            "c:x",
            ":4317",
            "grpc://c:4317",
            "http://",
            "a b:1",
            "dns://8.8.8.8/c:4317",
            "unix://c.sock",
            "unix:",
            "c:4317/v1/traces",
        )
    ],
    *[
        (
            {f"{OTLP}HEADERS": text},
            "otlp.headers",
            kept,
            f"{OTLP}HEADERS=***: expected name=value pairs of printable ASCII, percent-encoded, "
            f"with commas between them{detail}",
        )
        for text, kept, detail in (
            ("sesame", {}, " (not pair 1); ignored"),
            (",", {}, "; ignored"),
            ("=sesame", {}, " (not pair 1); ignored"),
            ("na me=sesame", {}, " (not pair 1); ignored"),
            ("a=sesame%0d%0ab:c", {}, " (not pair 1); ignored"),
            ("a=%C3%A9sesame", {}, " (not pair 1); ignored"),
            ("a=1,sesame,b=2", {"a": "1", "b": "2"}, " (not pair 2); using the other pairs"),
        )
    ],
    *[
        (
            {f"{OTLP}TIMEOUT": text},
            "otlp.timeout",
            10.0,
            f"{OTLP}TIMEOUT={text!r}: {TIMEOUT}; using 10",
        )
        for text in ("soon", "0", "-5", "nan", "inf", "1e999", "10s", "1_000", "9" * 30)
    ],
    (
        {f"{OTLP}TIMEOUT": "20", f"{TRACES}TIMEOUT": "soon"},
        "otlp.timeout",
        20.0,
        f"{TRACES}TIMEOUT='soon': {TIMEOUT}; using {OTLP}TIMEOUT",
    ),
    (
        {f"{OTLP}COMPRESSION": "deflate"},
        "otlp.compression",
        "none",
        f"{OTLP}COMPRESSION='deflate': {COMPRESSION}; using none",
    ),
    *[
        (
            {name: text},
            path,
            default,
            f"{name}='{text}': {MILLIS}; using {default * 1000:.0f}",
        )
        for name, path, default in (
            ("OTEL_BSP_SCHEDULE_DELAY", "batch.schedule_delay", 5.0),
            ("OTEL_BSP_EXPORT_TIMEOUT", "batch.export_timeout", 30.0),
        )
        for text in ("0", "-1", "1.5", "5s", "2147483648")
    ],
    *[
        ({name: text}, path, default, f"{name}='{text}': {SIZE}; using {default}")
        for name, path, default in (
            ("OTEL_BSP_MAX_QUEUE_SIZE", "batch.max_queue_size", 2048),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "batch.max_export_batch_size", 512),
            ("FLOWSPAN_MAX_PAYLOAD_BYTES", "max_payload_bytes", 32768),
        )
        for text in ("0", "-1", "1e3", "many", "1_0", "\u0661", "2147483648")
    ],
    (
        {"OTEL_BSP_MAX_QUEUE_SIZE": "100", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "0200"},
        "batch.max_export_batch_size",
        100,
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE='0200': expected no more than OTEL_BSP_MAX_QUEUE_SIZE; "
        "using 100",
    ),
    *[
        ({name: "-1"}, f"limits.{path}", 128, f"{name}='-1': {COUNT}; using 128")
        for name, path in {
            "OTEL_ATTRIBUTE_COUNT_LIMIT": "max_attributes",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "max_span_attributes",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "max_event_attributes",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "max_link_attributes",
            "OTEL_SPAN_EVENT_COUNT_LIMIT": "max_events",
            "OTEL_SPAN_LINK_COUNT_LIMIT": "max_links",
        }.items()
    ],
    *[
        ({name: "none"}, f"limits.{path}", None, f"{name}='none': {COUNT}; ignored")
        for name, path in {
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "max_attribute_length",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "max_span_attribute_length",
        }.items()
    ],
    (
        {"OTEL_LOG_LEVEL": "loud"},
        "log_level",
        None,
        "OTEL_LOG_LEVEL='loud': expected trace, debug, info, warn, warning, error, fatal, critical "
        "or none; ignored",
    ),
    (
        {GENAI: "nothing"},
        "capture_content",
        False,
        f"{GENAI}='nothing': expected TRUE, FALSE, NO_CONTENT, EVENT_ONLY, SPAN_ONLY or "
        "SPAN_AND_EVENT; using NO_CONTENT",
    ),
    (
        {"FLOWSPAN_REDACT_KEYS": "+,"},
        "redact_keys",
        DEFAULT_KEYS,
        "FLOWSPAN_REDACT_KEYS='+,': expected names with commas between them; a leading + adds "
        "them to the defaults; using a built-in list",
    ),
    (
        {"FLOWSPAN_REDACT_PATTERNS": "[a; good ;x*"},
        "redact_patterns",
        (*DEFAULT_PATTERNS, "good"),
        f"FLOWSPAN_REDACT_PATTERNS='[a; good ;x*': {PATTERNS} (not '[a', unterminated character "
        "set at position 0; 'x*', it matches the empty text); using the defaults and the other "
        "patterns",
    ),
    (
        {"FLOWSPAN_REDACT_PATTERNS": "x{99999999999}"},
        "redact_patterns",
        DEFAULT_PATTERNS,
        f"FLOWSPAN_REDACT_PATTERNS='x{{99999999999}}': {PATTERNS} (not 'x{{99999999999}}', "
        "the repetition number is too large); using the defaults and the other patterns",
    ),
    *(
        (
            {"FLOWSPAN_SPOOL_MAX_BYTES": text},
            "spool.max_bytes",
            512 * 2**20,
            f"FLOWSPAN_SPOOL_MAX_BYTES={text!r}: expected bytes, such as 50000000 or 512 MiB, "
            "no less than 1048576; using 512 MiB",
        )
        for text in ("lots", "-1", "0", "1000", "5 parsecs", "1..5MB", "9" * 40, "٣٣٣٣٣٣٣٣")
    ),
    *(
        (
            {"FLOWSPAN_SPOOL_MAX_AGE": text},
            "spool.max_age",
            72 * 3600.0,
            f"FLOWSPAN_SPOOL_MAX_AGE={text!r}: expected seconds, or a number with s, m, h or d, "
            "such as 72h; using 72h",
        )
        for text in ("forever", "0", "-5m", "3 weeks", "1e300d")
    ),
    *(
        (
            {"FLOWSPAN_SPOOL_DIR": text},
            "spool.directory",
            None,
            f"FLOWSPAN_SPOOL_DIR={text!r}: expected the path of a directory, made if it is "
            "missing, or none; using the user's state directory",
        )
        for text in (HERE, "spool\0dir")
    ),
    (
        {"FLOWSPAN_DURABILITY": "paranoid"},
        "spool.durability",
        "normal",
        "FLOWSPAN_DURABILITY='paranoid': expected normal or strict; using normal",
    ),
    (
        {"FLOWSPAN_PARENTING": "tree"},
        "parenting",
        "run",
        "FLOWSPAN_PARENTING='tree': expected run or edge; using run",
    ),
    (
        {"FLOWSPAN_EXPORT": "true"},
        "export",
        "auto",
        "FLOWSPAN_EXPORT='true': expected auto, always or never; using auto",
    ),
    *[
        (
            {"TRACEPARENT": text, "TRACESTATE": "a=1"},
            "traceparent",
            None,
            f"TRACEPARENT='{text}': expected a W3C traceparent, such as {TRACEPARENT}; ignored",
        )
        for text in (
            "x",
            TRACEPARENT.upper(),
            TRACEPARENT[:-1],
            f"{TRACEPARENT}-more",
            f"ff{TRACEPARENT[2:]}",
            f"00-{'0' * 32}-b7ad6b7169203331-01",
            f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        )
    ],
    *[
        (
            {"TRACEPARENT": TRACEPARENT, "TRACESTATE": text},
            "tracestate",
            None,
            f"TRACESTATE='{text}': expected a W3C tracestate, such as vendor=value; ignored",
        )
        for text in (",", "a", "a=", "A=1", "a=1,a=2", "a=b=c", "é=1")
    ],
]


@pytest.mark.parametrize(
    ("env", "path", "value", "problem"), WRONG, ids=lambda value: str(value)[:60]
)
def test_what_is_not_understood(env: dict[str, str], path: str, value: object, problem: str):
    """
    One sentence names the variable, the value, what is accepted and what is used instead.
    """
    config = Config.from_env(env)

    assert setting(config, path) == value
    assert config.problems == (problem,)


def test_a_wrong_exporter_or_endpoint_does_not_configure_an_exporter():
    """
    Wrong is as unset: nobody asked for spans to be sent to localhost.
    """
    env = {"OTEL_TRACES_EXPORTER": "oltp", f"{OTLP}ENDPOINT": "c", f"{TRACES}ENDPOINT": "c"}

    assert Config.from_env(env).exporter_configured is False


def test_all_problems_are_found_at_once():
    """
    Who mends one variable is not told of the next one after the next start.
    """
    env: dict[str, str] = {}
    expected = 0
    for one, _, _, _ in WRONG:
        if len(one) == 1 and not env.keys() & one.keys():
            env |= one
            expected += 1

    problems = Config.from_env(env).problems

    assert len(problems) == expected > 25
    assert {problem.partition("=")[0] for problem in problems} == set(env)


def test_a_variable_that_many_settings_fall_back_to_is_complained_about_once():
    """
    OTEL_ATTRIBUTE_COUNT_LIMIT stands behind four limits.
    """
    env = {"OTEL_ATTRIBUTE_COUNT_LIMIT": "x", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "y"}

    assert [problem[:34] for problem in Config.from_env(env).problems] == [
        "OTEL_ATTRIBUTE_COUNT_LIMIT='x': ex",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT='y",
    ]


def test_a_general_variable_that_is_not_consulted_is_not_judged():
    """
    `c:4317` is right for the metrics of an application that sends its spans over HTTP.
    """
    env = {f"{OTLP}ENDPOINT": "c:4317", f"{TRACES}ENDPOINT": "http://c/v1/traces"}

    assert Config.from_env(env).problems == ()


def test_a_long_value_is_cut_in_the_sentence():
    """
    A file pasted into a variable does not fill the log.
    """
    (problem,) = Config.from_env({"FLOWSPAN_EXPORT": "x" * 100_000}).problems

    assert len(problem) < 400
    assert "x" * 100 in problem


# --- secrets

SECRETS = [
    {f"{OTLP}HEADERS": "authorization=sesame"},
    {f"{OTLP}HEADERS": "authorization sesame"},
    {f"{TRACES}HEADERS": "a=b,Bearer sesame"},
    {f"{OTLP}ENDPOINT": "http://me:sesame@c:4318"},
    {f"{OTLP}ENDPOINT": "http://me:se/same@sesame@c:4318/@x"},
    {f"{OTLP}ENDPOINT": "http://c:4318/?key=sesame"},
    {f"{OTLP}ENDPOINT": "me:sesame@c:4318"},
    {f"{OTLP}ENDPOINT": "htp://me:sesame/@c:4318"},
    {f"{TRACES}ENDPOINT": "http://me:sesame@c:x"},
    {f"{TRACES}ENDPOINT": "http://me:sesame\n@c"},
    {f"{TRACES}ENDPOINT": f"http://me:sesame{'x' * 300}@c d"},
    {**GRPC, f"{OTLP}ENDPOINT": "http://me:sesame@c:4317"},
    {**GRPC, f"{OTLP}ENDPOINT": "me:sesame@c:4317"},
    {f"{OTLP}PROTOCOL": "http://me:sesame@c:4317"},
    {"OTEL_TRACES_EXPORTER": "otlp,http://me:sesame@c:4317"},
]


@pytest.mark.parametrize("env", SECRETS, ids=str)
def test_secrets_are_in_no_repr_and_no_problem(env: dict[str, str]):
    """
    What goes into logs and bug reports holds no header and no password.
    """
    config = Config.from_env(env)

    assert "sesame" not in repr(config)
    assert "sesame" not in "".join(config.problems)


def test_secrets_are_in_no_error():
    """
    The same for values in code.
    """
    with pytest.raises(ConfigError) as caught:
        OtlpConfig(endpoint="htp://me:sesame@c", headers={"a b": "sesame"})

    assert "sesame" not in str(caught.value)
    assert len(caught.value.problems) == 2


# --- any environment at all

texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.text("()[]{}?*+|\\^$<>=!:.-,;#%@/ 0aAiLx\n", max_size=20),
    st.from_regex(r"\A(http|https|dns|unix)?:?/{0,3}[\[\]a:@0-9.?#%/]{0,12}\Z"),
    st.sampled_from([text for env, *_ in (*UNDERSTOOD, *WRONG) for text in env.values()]),
)


# The first drawing of text takes Hypothesis two seconds: it builds its table of characters.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), texts, max_size=12))
@example({"FLOWSPAN_REDACT_PATTERNS": "(" * 5000})
@example({"FLOWSPAN_REDACT_PATTERNS": "[[a]"})  # a FutureWarning, which is an error here
@example({"OTEL_EXPORTER_OTLP_TIMEOUT": "9" * 5000})
@example({"OTEL_BSP_MAX_QUEUE_SIZE": "9" * 5000})
@example({"OTEL_SERVICE_NAME": "\udcff", f"{OTLP}ENDPOINT": "http://\udcff"})
def test_no_environment_breaks_the_application(env: dict[str, str]):
    """
    Whatever is in the variables: a Config, and one that its own checks accept.
    """
    config = Config.from_env(env)

    assert replace(config) == config
    for part in (config.otlp, config.batch, config.limits):
        assert replace(part) == part
    assert all(problem.partition("=")[0] in env for problem in config.problems)
    assert all(len(problem.splitlines()) == 1 for problem in config.problems)


# --- frozen, and read once


def test_the_environment_is_read_once():
    """
    What happens to the mapping later does not matter.
    """
    env = {"OTEL_SERVICE_NAME": "before", "OTEL_RESOURCE_ATTRIBUTES": "a=b"}
    config = Config.from_env(env)
    env.update(OTEL_SERVICE_NAME="after", OTEL_RESOURCE_ATTRIBUTES="a=c")

    assert (config.service_name, config.resource_attributes) == ("before", {"a": "b"})


def test_no_mapping_is_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch):
    """
    `from_env()` is `from_env(os.environ)`.
    """
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")

    assert Config.from_env() == Config.from_env(os.environ)
    assert Config.from_env().service_name == "mine"


def test_a_mapping_given_in_code_is_copied():
    """
    The caller's dictionary stays the caller's; names of headers become lower case.
    """
    headers = {"Authorization": "x"}
    otlp = OtlpConfig(headers=headers)
    headers["Authorization"] = "y"

    assert otlp.headers == {"authorization": "x"}


def test_config_is_frozen_and_travels():
    """
    It can be compared, hashed, copied and sent to another process.
    """
    config = Config.from_env({"OTEL_RESOURCE_ATTRIBUTES": "a=b", f"{OTLP}HEADERS": "c=d"})

    with pytest.raises(FrozenInstanceError):
        config.disabled = True  # type: ignore[misc]
    with pytest.raises(TypeError):
        config.otlp.headers["c"] = "e"  # type: ignore[index]
    assert pickle.loads(pickle.dumps(config)) == config == copy.deepcopy(config)
    assert hash(config) == hash(copy.deepcopy(config)) != hash(Config())
    assert asdict(config)["otlp"]["headers"] == {"c": "d"}


def test_only_names_that_are_not_built_in_are_searched_among_packages(installed: list[str]):
    """
    The search reads the metadata of every installed package.
    """
    env = {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_TRACES_EXPORTER": "otlp,console"}
    Config.from_env(env)
    assert installed == []

    Config.from_env(env | {"OTEL_TRACES_SAMPLER": "my_sampler"})
    assert set(installed) == {"opentelemetry_traces_sampler"}


def test_importing_it_is_light():
    """
    `import flowspan` imports it, in every process, whether it traces or not.
    """
    heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "requests", "grpc")
    code = f"import sys, flowspan.config; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


# --- in code


MISUSE: list[tuple[type, dict[str, Any], list[str]]] = [
    (Config, {"disabled": "yes"}, ["Config.disabled='yes': expected True or False"]),
    (Config, {"disabled": 1}, ["Config.disabled=1: expected True or False"]),
    (Config, {"service_name": ""}, ["Config.service_name='': expected text or None"]),
    (
        Config,
        {"resource_attributes": {"a": 1}},
        ["Config.resource_attributes={'a': 1}: expected a mapping of texts to texts"],
    ),
    (
        Config,
        {"resource_attributes": None},
        ["Config.resource_attributes=None: expected a mapping of texts to texts"],
    ),
    (
        Config,
        {"sampler": "sometimes"},
        [
            "Config.sampler='sometimes': expected always_on, always_off, parentbased_always_on, "
            "parentbased_always_off, traceidratio, parentbased_traceidratio or an installed sampler"
        ],
    ),
    (
        Config,
        {"sampler": "traceidratio", "sampler_arg": "2"},
        ["Config.sampler_arg='2': expected a number from 0 to 1 as text, such as '0.25', or None"],
    ),
    (
        Config,
        {"exporters": "otlp"},
        [
            "Config.exporters='otlp': expected a tuple of otlp, console and installed exporters, "
            "empty for none"
        ],
    ),
    (
        Config,
        {"exporters": ("none",)},
        [
            "Config.exporters=('none',): expected a tuple of otlp, console and installed "
            "exporters, empty for none"
        ],
    ),
    (Config, {"otlp": {}}, ["Config.otlp={}: expected an instance of OtlpConfig"]),
    (Config, {"batch": None}, ["Config.batch=None: expected an instance of BatchConfig"]),
    (Config, {"limits": 1}, ["Config.limits=1: expected an instance of LimitsConfig"]),
    (
        Config,
        {"log_level": "info"},
        ["Config.log_level='info': expected a level of the module logging, or None"],
    ),
    (
        Config,
        {"redact_keys": ["a"]},
        ["Config.redact_keys=['a']: expected a tuple of texts"],
    ),
    (
        Config,
        {"redact_patterns": ("[",)},
        [
            "Config.redact_patterns=('[',): expected a tuple of regular expressions that match no "
            "empty text"
        ],
    ),
    (
        Config,
        {"max_payload_bytes": 10.0},
        [f"Config.max_payload_bytes=10.0: {SIZE}"],
    ),
    (Config, {"max_payload_bytes": True}, [f"Config.max_payload_bytes=True: {SIZE}"]),
    (
        Config,
        {"parenting": "Edge", "export": None, "traceparent": "x", "problems": "x"},
        [
            "Config.parenting='Edge': expected run or edge",
            "Config.export=None: expected auto, always or never",
            f"Config.traceparent='x': expected a W3C traceparent, such as {TRACEPARENT}",
            "Config.problems='x': expected a tuple of texts",
        ],
    ),
    (
        OtlpConfig,
        {"protocol": "http"},
        ["OtlpConfig.protocol='http': expected http/protobuf or grpc"],
    ),
    (OtlpConfig, {"endpoint": "c:4317"}, [f"OtlpConfig.endpoint='c:4317': {URL}"]),
    (OtlpConfig, {"endpoint": None}, [f"OtlpConfig.endpoint=None: {URL}"]),
    (
        OtlpConfig,
        {"protocol": "grpc", "endpoint": "c"},
        [f"OtlpConfig.endpoint='c': {TARGET}"],
    ),
    (
        OtlpConfig,
        {"headers": {"a": "line\nend"}},
        [
            "OtlpConfig.headers=***: expected a mapping of header names to values, both printable "
            "ASCII"
        ],
    ),
    *[
        (
            OtlpConfig,
            {"timeout": value},
            [f"OtlpConfig.timeout={value!r}: expected seconds, more than 0, such as 5.0"],
        )
        for value in (0, -1.0, float("nan"), float("inf"), "5", None, True)
    ],
    (
        BatchConfig,
        {"max_queue_size": 100, "max_export_batch_size": 200, "schedule_delay": 0},
        [
            "BatchConfig.schedule_delay=0: expected seconds, more than 0, such as 5.0",
            "BatchConfig.max_export_batch_size=200: expected a whole number from 1 to 100",
        ],
    ),
    (
        LimitsConfig,
        {"max_attributes": None, "max_attribute_length": -1},
        [
            f"LimitsConfig.max_attributes=None: {COUNT}",
            f"LimitsConfig.max_attribute_length=-1: {COUNT}, or None for no limit",
        ],
    ),
]


@pytest.mark.parametrize(
    ("cls", "arguments", "problems"), MISUSE, ids=lambda value: str(value)[:50]
)
def test_wrong_values_in_code_raise_at_once(
    cls: type, arguments: dict[str, Any], problems: list[str]
):
    """
    Bad configuration fails at setup: one error, which names all that is wrong in the call.
    """
    with pytest.raises(ConfigError) as caught:
        cls(**arguments)

    assert list(caught.value.problems) == problems
    assert str(caught.value) == "\n".join(problems)
    assert isinstance(caught.value, ValueError)


def test_right_values_in_code():
    """
    What the fields document can be given.
    """
    assert OtlpConfig(protocol="grpc").endpoint == "http://localhost:4317"
    assert OtlpConfig(timeout=5).timeout == 5
    assert BatchConfig(max_queue_size=100).max_export_batch_size == 100
    assert LimitsConfig(max_attribute_length=0).max_attribute_length == 0
    assert Config(resource_attributes={"service.name": "bot"}).service_name == "bot"
    assert Config(exporters=()).exporters == ()
    assert Config(exporters=("Zipkin_json",), sampler="my_sampler").problems == ()


def test_zstd_needs_its_package(monkeypatch: pytest.MonkeyPatch):
    """
    Without it the warning names what to install, and requests are sent as they are.
    """
    monkeypatch.setitem(sys.modules, "zstandard", None)

    config = Config.from_env({f"{OTLP}COMPRESSION": "zstd"})

    assert config.otlp.compression == "none"
    assert config.problems == (f"{OTLP}COMPRESSION='zstd': {COMPRESSION}; using none",)
    with pytest.raises(ConfigError, match=r"flowspan\[zstd\] installed"):
        OtlpConfig(compression="zstd")


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("https://me:sesame@c:4318/v1/traces?key=sesame", "https://c:4318/v1/traces"),
        ("http://c/a@b", "http://c/a@b"),
        ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
    ],
)
def test_an_endpoint_is_shown_without_its_secrets(endpoint: str, shown: str):
    """
    User, password and query are left out.
    """
    assert OtlpConfig(endpoint=endpoint).shown_endpoint == shown


def test_limits_are_what_the_sdk_takes():
    """
    The names are those of `SpanLimits`, so a pipeline need not spell them again.
    """
    from opentelemetry.sdk.trace import SpanLimits

    values = asdict(LimitsConfig(max_attributes=7, max_events=3))
    limits = SpanLimits(**{k: SpanLimits.UNSET if v is None else v for k, v in values.items()})

    assert {name: getattr(limits, name) for name in values} == values
