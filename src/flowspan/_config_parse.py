"""
The kinds of settings: which values fit, how they are written as text, how they are shown.

`config` says which setting is of which kind. Nothing here knows the name of a variable, reads
the environment, or imports more than the standard library.
"""

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import SplitResult, unquote, urlsplit

MAX_INTEGER = 2**31 - 1  # what the specification asks every SDK to support
_UNSET = object()


class Wrong(ValueError):
    """
    A text that its kind does not accept.

    With *instead*, the kind has a better answer than "as if unset": the good part of a list, the
    careful side of a switch. *words* is how a person would say it.
    """

    def __init__(self, detail: str = "", instead: object = _UNSET, words: str = "") -> None:
        super().__init__(detail)
        self.detail, self.instead, self.words = detail, instead, words

    @property
    def is_as_unset(self) -> bool:
        return self.instead is _UNSET


class FrozenDict(Mapping[str, str]):
    """A mapping that cannot change. Unlike `MappingProxyType` it can be hashed and pickled."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> str:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def show(value: object) -> str:
    """One printable line, without the user and password that a URL may hold."""
    return re.sub(r"//\S*@", "//***@", repr(value))


def _show_url(value: object) -> str:
    if not isinstance(value, str):
        return show(value)
    url = re.sub(r"(?s)^([^/@]*//)?.*@", r"\1***@", value)  # a scheme may be missing
    return repr(re.sub(r"(?s)\?.*", "?***", url))


def _hide(value: object) -> str:
    return "***" if value else "{}"


def sentence(name: str, shown: str, accepts: str, detail: str = "") -> str:
    """What is wrong with a setting, on a line of a bearable length."""
    reason = f" ({_short(detail)})" if detail else ""
    return f"{name}={_short(shown)}: expected {accepts}{reason}"


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """
    *fits* judges a value wherever it comes from; *read* makes one of a stripped, non-empty text,
    or raises `Wrong`. *accepts* says it for texts, *in_code* for values where the two differ.
    """

    accepts: str
    in_code: str = ""
    fits: Callable[[object], bool]
    read: Callable[[str], object] = str
    show: Callable[[object], str] = show

    def parse(self, text: str) -> Any:
        value = self.read(text)
        if not self.fits(value):
            raise Wrong
        return value


def _optional(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


def instance_of(cls: type) -> Kind:
    return Kind(accepts=f"an instance of {cls.__name__}", fits=lambda v: isinstance(v, cls))


# --- text, names, switches


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_texts(value: object) -> bool:
    return isinstance(value, tuple) and all(map(_is_text, cast("tuple[object, ...]", value)))


def _is_file(value: object) -> bool:
    return isinstance(value, str) and os.path.isfile(value) and os.access(value, os.R_OK)


def _is_directory(value: object) -> bool:
    if not _is_text(value) or "\0" in cast("str", value):
        return False
    return value == "none" or not os.path.isfile(os.path.expanduser(cast("str", value)))


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _read_flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise Wrong(instead=False, words="false")  # never true, whatever the default is
    return text.lower() == "true"


_SWITCH = {
    **dict.fromkeys(("true", "1", "yes", "on", "t", "y"), True),
    **dict.fromkeys(("false", "0", "no", "off", "f", "n"), False),
}


def _read_switch(text: str) -> bool:
    """As Langflow's settings read a flag: who has switched its tracing off means ours, too."""
    try:
        return _SWITCH[text.lower()]
    except KeyError:
        raise Wrong(instead=False, words="false") from None


_CONTENT = {
    "true": True,
    "false": False,
    "no_content": False,
    "event_only": False,  # ours is on spans
    "span_only": True,
    "span_and_event": True,
}
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}


def _read_content(text: str) -> bool:
    if text.lower() not in _CONTENT:
        raise Wrong(instead=False, words="NO_CONTENT")  # a mistake must not show more
    return _CONTENT[text.lower()]


def _read_level(text: str) -> int:
    if text.lower() not in _LEVELS:
        raise Wrong
    return _LEVELS[text.lower()]


def _or(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"


def one_of(*names: str) -> Kind:
    return Kind(
        accepts=_or(names),
        fits=lambda value: isinstance(value, str) and value in names,
        read=str.lower,
    )


def _is_compression(value: object) -> bool:
    if value == "zstd":
        from importlib.util import find_spec  # seldom needed

        return find_spec("zstandard") is not None
    return value in ("none", "gzip")


COMPRESSION = Kind(
    accepts="none, gzip, or zstd with flowspan[zstd] installed",
    fits=lambda value: isinstance(value, str) and _is_compression(value),
    read=str.lower,
)
TEXT = Kind(accepts="text", fits=_is_text)
OPTIONAL_TEXT = Kind(accepts="text", in_code="text or None", fits=_optional(_is_text))
PATH = Kind(
    accepts="the path of a readable file",
    in_code="the path of a readable file, or None",
    fits=_optional(_is_file),
)
DIRECTORY = Kind(
    accepts="the path of a directory, made if it is missing, or none",
    in_code="the path of a directory, 'none', or None for the user's state directory",
    fits=_optional(_is_directory),
    read=lambda text: "none" if text.lower() == "none" else text,
)
TEXTS = Kind(accepts="a tuple of texts", fits=_is_texts)
FLAG = Kind(accepts="true or false", in_code="True or False", fits=_is_flag, read=_read_flag)
SWITCH = Kind(
    accepts="true, 1, yes, on, false, 0, no or off",
    in_code="True or False",
    fits=_is_flag,
    read=_read_switch,
)
CONTENT = Kind(accepts=_or(name.upper() for name in _CONTENT), fits=_is_flag, read=_read_content)
LEVEL = Kind(
    accepts=_or(_LEVELS),
    in_code="a level of the module logging, or None",
    fits=_optional(lambda value: _is_integer(value, 0)),
    read=_read_level,
)


# --- numbers


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not _is_flag(value) and low <= value <= high


def _is_integer(value: object, low: int) -> bool:
    return isinstance(value, int) and _is_number(value, low, MAX_INTEGER)


def _is_seconds(value: object) -> bool:
    return _is_number(value, 0.001, MAX_INTEGER / 1000)


def _read_integer(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):  # int() also takes 1_000 and other alphabets
        raise Wrong
    return int(text)


def _read_number(text: str) -> float:
    if not re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise Wrong
    return float(text)


def _read_timeout(text: str) -> float:
    number = _read_number(text)
    return number / 1000 if number >= 1000 else number


def _is_ratio(value: object) -> bool:
    try:
        return value is None or (isinstance(value, str) and 0 <= _read_number(value) <= 1)
    except Wrong:
        return False


COUNT = Kind(
    accepts=f"a whole number from 0 to {MAX_INTEGER}",
    fits=lambda value: _is_integer(value, 0),
    read=_read_integer,
)
OPTIONAL_COUNT = Kind(
    accepts=COUNT.accepts,
    in_code=f"{COUNT.accepts}, or None for no limit",
    fits=_optional(COUNT.fits),
    read=_read_integer,
)
SIZE = Kind(
    accepts=f"a whole number from 1 to {MAX_INTEGER}",
    fits=lambda value: _is_integer(value, 1),
    read=_read_integer,
)


def size_up_to(limit: object) -> Kind:
    high = limit if isinstance(limit, int) and SIZE.fits(limit) else MAX_INTEGER
    return Kind(
        accepts=f"a whole number from 1 to {high}",
        fits=lambda value: SIZE.fits(value) and _is_number(value, 1, high),
    )


MILLIS = Kind(
    accepts="whole milliseconds, more than 0, such as 5000",
    in_code="seconds, more than 0, such as 5.0",
    fits=_is_seconds,
    read=lambda text: _read_integer(text) / 1000,
)
TIMEOUT = Kind(
    accepts="milliseconds from 1000 on, such as 10000, or seconds below, such as 10",
    in_code=MILLIS.in_code,
    fits=_is_seconds,
    read=_read_timeout,
)


_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_PERIODS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LEAST_BYTES = 2**20


def _read_with_unit(text: str, units: Mapping[str, int]) -> float:
    found = re.fullmatch(r"([0-9.]+)\s*([a-zA-Z]*)", text)
    if found is None or found[2].lower() not in units:
        raise Wrong
    return _read_number(found[1]) * units[found[2].lower()]


BYTES = Kind(
    accepts=f"bytes, such as 50000000 or 512 MiB, no less than {_LEAST_BYTES}",
    fits=lambda value: isinstance(value, int) and _is_number(value, _LEAST_BYTES, 2**63 - 1),
    read=lambda text: int(min(_read_with_unit(text, _UNITS), 2**63)),
)
PERIOD = Kind(
    accepts="seconds, or a number with s, m, h or d, such as 72h",
    in_code="seconds, more than 0, such as 3600.0",
    fits=_is_seconds,
    read=lambda text: float(_read_with_unit(text, _PERIODS)),
)
RATIO = Kind(
    accepts="a number from 0 to 1, such as 0.25",
    in_code="a number from 0 to 1 as text, such as '0.25', or None",
    fits=_is_ratio,
)


# --- what is built in, or installed as an entry point


def _installed(group: str) -> dict[str, str]:
    from importlib.metadata import entry_points  # slow, and seldom needed

    return {point.name.lower(): point.name for point in entry_points(group=group)}


def _find(text: str, builtin: tuple[str, ...], group: str) -> str | None:
    name = text.lower()
    return name if name in builtin else _installed(group).get(name)


def _read_sampler(text: str) -> str:
    name = _find(text, SAMPLERS, _SAMPLER_GROUP)
    if name is None:
        raise Wrong
    return name


def _read_exporters(text: str) -> tuple[str, ...]:
    texts = [part.strip() for part in text.split(",") if part.strip()]
    found = {part: _find(part, ("none", *_EXPORTERS), _EXPORTER_GROUP) for part in texts}
    good = dict.fromkeys(name for name in found.values() if name)
    wrong = [show(part) for part, name in found.items() if not name]
    if not good:
        raise Wrong
    names = tuple(name for name in good if name != "none")
    if names and "none" in good:
        wrong.append("'none' beside others")
    if wrong:
        raise Wrong("not " + ", ".join(wrong), instead=names, words=",".join(names) or "none")
    return names


def _is_known(value: object, builtin: tuple[str, ...], group: str) -> bool:
    return isinstance(value, str) and _find(value, builtin, group) == value


def _are_exporters(value: object) -> bool:
    return _is_texts(value) and all(
        _is_known(name, _EXPORTERS, _EXPORTER_GROUP) for name in cast("tuple[str, ...]", value)
    )


RATIO_SAMPLERS = ("traceidratio", "parentbased_traceidratio")
SAMPLERS = (
    *("always_on", "always_off", "parentbased_always_on", "parentbased_always_off"),
    *RATIO_SAMPLERS,
)
OTLP_EXPORTERS: Mapping[str, str | None] = {
    "otlp": None,
    "otlp_proto_http": "http/protobuf",
    "otlp_proto_grpc": "grpc",
}
"""The exporters that are ours, and the protocol that a name stands for."""
_EXPORTERS = (*OTLP_EXPORTERS, "console")
_SAMPLER_GROUP, _EXPORTER_GROUP = "opentelemetry_traces_sampler", "opentelemetry_traces_exporter"

SAMPLER = Kind(
    accepts=_or((*SAMPLERS, "an installed sampler")),
    fits=lambda value: _is_known(value, SAMPLERS, _SAMPLER_GROUP),
    read=_read_sampler,
)
EXPORTERS = Kind(
    accepts="none, or otlp, console and installed exporters with commas between them",
    in_code="a tuple of otlp, console and installed exporters, empty for none",
    fits=_are_exporters,
    read=_read_exporters,
)


# --- OTLP endpoints and headers, resource attributes


def _split_url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise Wrong from None
    if url.scheme not in ("http", "https") or not url.hostname or port == 0:
        raise Wrong
    if " " in text or not text.isprintable():
        raise Wrong
    return url


def _read_url(text: str) -> str:
    _split_url(text)
    return text


def _read_base_url(text: str) -> str:
    url = _split_url(text)
    return url._replace(path=url.path.rstrip("/") + "/v1/traces").geturl()


def _read_grpc_target(text: str) -> str:
    if re.match("https?:", text, re.IGNORECASE):
        if "@" in _split_url(text).netloc:  # gRPC would look up the user's name as a host
            raise Wrong
    elif address := re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s/:@\[\]]+):([0-9]{1,5})", text):
        if not 0 < int(address[2]) < 65536:
            raise Wrong
    # Not dns://resolver/host: the exporter takes the resolver for the collector.
    elif not re.fullmatch("(dns|ipv4|ipv6|unix|unix-abstract|xds):(///|/(?!/))?[^/].*", text):
        raise Wrong
    if " " in text or not text.isprintable():
        raise Wrong
    return text


def _is_read_by(read: Callable[[str], object]) -> Callable[[object], bool]:
    def fits(value: object) -> bool:
        try:
            return isinstance(value, str) and read(value) == value
        except Wrong:
            return False

    return fits


def _is_header(name: object, value: object) -> bool:
    # What HTTP and gRPC can both carry; a line end would start another header.
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    return bool(
        re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) and re.fullmatch("[ -~]*", value)
    )


def _read_headers(text: str) -> FrozenDict:
    # Not opentelemetry.util.re.parse_env_headers: it logs the pair it does not understand.
    good: dict[str, str] = {}
    wrong: list[str] = []
    for position, pair in enumerate(text.split(","), start=1):
        name, equals, value = pair.partition("=")
        name, value = unquote(name).strip().lower(), unquote(value).strip()
        if equals and _is_header(name, value):
            good[name] = value
        elif pair.strip():
            wrong.append(f"pair {position}")
    if wrong or not good:
        instead = FrozenDict(good) if good else _UNSET
        raise Wrong("not " + ", ".join(wrong) if wrong else "", instead, "the other pairs")
    return FrozenDict(good)


def _is_mapping(value: object, fits: Callable[[object, object], bool]) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(fits(*item) for item in cast("Mapping[object, object]", value).items())


def _read_attributes(text: str) -> FrozenDict:
    attributes: dict[str, str] = {}
    for pair in filter(str.strip, text.split(",")):
        key, _, value = (part.strip() for part in pair.partition("="))
        try:
            attributes[unquote(key, errors="strict")] = unquote(value, errors="strict")
        except UnicodeDecodeError:
            raise Wrong(f"not {show(pair)}") from None
        if "=" not in pair or not key:  # the specification: then none of it counts
            raise Wrong(f"not {show(pair)}")
    return FrozenDict(attributes)


_HTTP_URL = "an http:// or https:// URL"
URL = Kind(accepts=_HTTP_URL, fits=_is_read_by(_read_url), read=_read_url, show=_show_url)
BASE_URL = Kind(accepts=_HTTP_URL, fits=URL.fits, read=_read_base_url, show=_show_url)
GRPC_TARGET = Kind(
    accepts=f"{_HTTP_URL}, host:port, or a target such as dns:///host:port or unix:/path",
    fits=_is_read_by(_read_grpc_target),
    read=_read_grpc_target,
    show=_show_url,
)
HEADERS = Kind(
    accepts="name=value pairs of printable ASCII, percent-encoded, with commas between them",
    in_code="a mapping of header names to values, both printable ASCII",
    fits=lambda value: _is_mapping(value, _is_header),
    read=_read_headers,
    show=_hide,
)
ATTRIBUTES = Kind(
    accepts="key=value pairs, percent-encoded, with commas between them",
    in_code="a mapping of texts to texts",
    fits=lambda value: _is_mapping(value, lambda k, v: _is_text(k) and isinstance(v, str)),
    read=_read_attributes,
)


TRACE_URL_FIELDS = ("trace_id", "run_id")


def _read_trace_url(text: str) -> str:
    names: list[str] = re.findall(r"\{([^{}]*)\}", text)
    wrong = next((name for name in names if name not in TRACE_URL_FIELDS), None)
    if wrong is not None:
        raise Wrong(f"not {show('{' + wrong + '}')}")
    plain = re.sub(r"\{[^{}]*\}", "0", text)
    url = _split_url(plain)
    if "{" in plain or "}" in plain:
        raise Wrong("not a single brace")
    if "@" in url.netloc:
        raise Wrong("not one with a user: it would be in every log line")
    if not names and (url.query or url.fragment):
        raise Wrong("no {trace_id} in it")
    return text


TRACE_URL = Kind(
    accepts="an http:// or https:// URL with {trace_id} or {run_id} in it, or without any that of "
    "a Jaeger; other braces are written %7B and %7D",
    in_code="an http:// or https:// URL with {trace_id} or {run_id} in it, that of a Jaeger, "
    "or None",
    fits=_optional(_is_read_by(_read_trace_url)),
    read=_read_trace_url,
    show=_show_url,
)


# --- redaction


def _flaw(pattern: str) -> str:
    try:
        matches_nothing = re.compile(pattern).search("") is not None
    # Warning: what Python says of a doubtful pattern is an error under -W error.
    except (re.error, RecursionError, OverflowError, Warning) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return "it matches the empty text" if matches_nothing else ""


def _split_list(text: str, separators: str, defaults: tuple[str, ...]) -> tuple[str, ...]:
    parts = [part.strip() for part in re.split(separators, text.removeprefix("+"))]
    names = tuple(filter(None, parts))
    if not names:
        raise Wrong
    return tuple(dict.fromkeys((*defaults, *names) if text.startswith("+") else names))


def keys(defaults: tuple[str, ...]) -> Kind:
    return Kind(
        accepts="names with commas between them; a leading + adds them to the defaults",
        in_code="a tuple of texts",
        fits=_is_texts,
        read=lambda text: _split_list(text, ",", defaults),
    )


def patterns(defaults: tuple[str, ...]) -> Kind:
    # Commas and spaces are common in patterns, a semicolon is not, and can be written \x3b.
    def read(text: str) -> tuple[str, ...]:
        found = _split_list(text, "[;\n]", defaults)
        wrong = [f"{show(p)}, {flaw}" for p in found if (flaw := _flaw(p))]
        if wrong:  # fewer patterns than meant would show more
            good = tuple(p for p in dict.fromkeys((*defaults, *found)) if not _flaw(p))
            raise Wrong("not " + "; ".join(wrong), good, "the defaults and the other patterns")
        return found

    def fits(value: object) -> bool:
        return _is_texts(value) and not any(map(_flaw, cast("tuple[str, ...]", value)))

    return Kind(
        accepts="regular expressions that match no empty text, with ; or line ends between them "
        r"(\x3b inside one); a leading + adds them to the defaults",
        in_code="a tuple of regular expressions that match no empty text",
        fits=fits,
        read=read,
    )


# --- W3C trace context


def _is_traceparent(value: object) -> bool:
    if not isinstance(value, str):
        return False
    found = re.fullmatch("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", value)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[4]):
        return False
    return bool(found[2].strip("0") and found[3].strip("0"))


def _is_tracestate(value: object) -> bool:
    if not isinstance(value, str):
        return False
    members = [member.strip() for member in value.split(",") if member.strip()]
    names = {member.partition("=")[0] for member in members}
    return 0 < len(members) == len(names) <= 32 and all(
        re.fullmatch(_MEMBER, member) for member in members
    )


_MEMBER = (
    r"([a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
TRACEPARENT = Kind(
    accepts="a W3C traceparent, such as 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    fits=_optional(_is_traceparent),
)
TRACESTATE = Kind(accepts="a W3C tracestate, such as vendor=value", fits=_optional(_is_tracestate))
