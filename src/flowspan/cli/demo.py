"""
`flowspan demo`: flows that run at once, seen in Jaeger or, without a collector, here and as a page.

What runs is in `_demo_flows`; `view` draws.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from typing import TypeVar

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

import flowspan
from flowspan._config_parse import TRACE_URL, Wrong, sentence
from flowspan.cli._browser import open_page, save
from flowspan.cli._console import refuse, silence_loggers
from flowspan.cli._demo_flows import run_flows, run_on
from flowspan.cli.view._analysis import summarise
from flowspan.cli.view._collection import Collection
from flowspan.cli.view._model import Trace
from flowspan.cli.view._protobuf import spans_of
from flowspan.cli.view._stored import Store
from flowspan.cli.view._text import ASCII, UNICODE
from flowspan.cli.view._tree import Tree
from flowspan.config import SpoolConfig
from flowspan.delivery._encoder import Encoder
from flowspan.delivery._transport import Verdict, make_transport
from flowspan.pipeline import make_provider

_T = TypeVar("_T")

_PROBE_TIMEOUT = 1.0
_DRAWN = 8  # trees in the terminal
_SHOWN = 20  # links
_KEPT = 20_000  # spans of the page, however long the demo runs
_SAMPLED_OUT = "OTEL_TRACES_SAMPLER, or the flags of TRACEPARENT, let no trace through"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How many runs, or *live*: without an end; and whether a browser may be opened."""

    runs: int
    live: bool
    browser: bool


def show(jaeger: str | None, asked: Asked) -> None:
    """Run the demo and print what became of it. Raises nothing for a wrong configuration."""
    if jaeger is not None:
        try:
            TRACE_URL.read(jaeger)
        except Wrong as why:
            refuse(sentence("--jaeger", TRACE_URL.show(jaeger), TRACE_URL.accepts, why.detail))
    console = Console(highlight=False, markup=False, emoji=False)
    config = flowspan.Config.from_env()
    for problem in config.problems:
        _say(console, problem)
    if config.disabled:
        _say(
            console,
            "Tracing is switched off by OTEL_SDK_DISABLED or LANGFLOW_DEACTIVATE_TRACING: "
            "nothing to show",
        )
        return
    # The demo's spans are its own: whatever else is set up, they go where the demo says.
    # One exporter, or each span would count twice.
    exporters = tuple(name for name in config.exporters if name.startswith("otlp"))[:1]
    ours = replace(
        config,
        problems=(),
        config_file=None,
        export="always",
        log_level=None,
        exporters=exporters or config.exporters,
        spool=SpoolConfig(directory="none"),  # what others have left there is not the demo's
    )
    silence_loggers()

    where = config.otlp.shown_endpoint
    if not any(name.startswith("otlp") for name in config.exporters):
        _say(console, "OTEL_TRACES_EXPORTER names no collector: showing the traces here")
    elif config.export == "never":
        _say(console, "FLOWSPAN_EXPORT is never: showing the traces here")
    elif trouble := _trouble(config):
        _say(console, f"No collector answers at {where} ({trouble}): showing the traces here")
    else:
        ours = replace(ours, trace_url=_trace_url(console, config, jaeger))
        try:
            pipeline = flowspan.configure(ours)
        except flowspan.ConfigError as error:
            _say(console, f"{error}: showing the traces here")
        else:
            _export(console, pipeline, where, asked)
            return
    _draw(console, ours, asked)


def _trace_url(console: Console, config: flowspan.Config, jaeger: str | None) -> str | None:
    """Where links lead: as somebody has said, or to a Jaeger that answers."""
    named = jaeger or config.trace_url
    if named is not None:
        return named
    from flowspan.cli.doctor import _jaeger

    if found := _jaeger.found(config.otlp, _PROBE_TIMEOUT):
        return found.url
    tried = " or ".join(_jaeger.candidates(config.otlp))
    _say(console, f"No Jaeger answers at {tried}: --jaeger URL or FLOWSPAN_TRACE_URL makes links")
    return None


def _export(console: Console, pipeline: flowspan.Pipeline, where: str, asked: Asked) -> None:
    if asked.live:
        _say(console, f"Runs go to {where} until Ctrl-C")
    linked = pipeline.config.trace_url is not None
    traces = _run(asked, lambda trace, name: _say(console, f"  {name:<16}  {trace}"), linked=linked)
    done = pipeline.shutdown(timeout=10.0)
    stats = pipeline.stats()
    if stats.ended == 0:
        _say(console, f"{_SAMPLED_OUT}: nothing was exported")
        return
    if not done or stats.exported < stats.ended:
        lost = stats.ended - stats.exported
        _say(console, f"Export to {where} failed: {lost} of {stats.ended} spans did not arrive")
        raise SystemExit(1)
    _say(console, f"Exported {stats.exported} spans to {where}")
    if not asked.live:
        shown = dict(islice(_in_turn(traces.items(), lambda trace: trace[1]), _SHOWN))
        width = max(len(name) for name in shown.values())
        for trace, name in shown.items():
            _say(console, f"  {name:<{width}}  {trace}")
        _say_rest(console, len(traces))


def _draw(console: Console, config: flowspan.Config, asked: Asked) -> None:
    seen = _Seen()
    processors = [SimpleSpanProcessor(seen)]
    try:
        provider = make_provider(config, processors)
    except flowspan.ConfigError as error:
        _say(console, f"{error}; the demo takes every trace")
        config = replace(config, sampler="always_on", sampler_arg=None)
        provider = make_provider(config, processors)
    pipeline = flowspan.configure(config, tracer_provider=provider)
    if asked.live:
        _say(console, "Runs until Ctrl-C; their traces come then")
    _run(asked, lambda trace, name: _say(console, f"  {name}"))
    pipeline.shutdown()
    traces = seen.collection.traces()
    if not traces:
        _say(console, f"{_SAMPLED_OUT}: nothing to show")
        return
    width = max(60, min(console.width, 100))
    signs = ASCII if console.options.ascii_only else UNICODE
    for trace in islice(_in_turn(traces, lambda trace: trace.root.name), _DRAWN):
        console.print()
        for line in Tree(summarise(trace), width, signs, figures=False).lines():
            console.print(line, soft_wrap=True)
    console.print()
    _say_rest(console, len(traces), _DRAWN)
    _page(console, traces, asked)


def _page(console: Console, traces: Sequence[Trace], asked: Asked) -> None:
    try:
        page = save(traces)
    except OSError as error:
        where = error.filename or "the directory for temporary files"
        _say(console, f"{where}: expected a place for a page ({error.strerror}); set TMPDIR to one")
        raise SystemExit(1) from None
    opened = asked.browser and open_page(page)
    _say(console, f"As a page{', opened in the browser' if opened else ''}: {page.as_uri()}")


def _run(
    asked: Asked, say: Callable[[str, str], None], *, linked: bool = False
) -> Mapping[str, str]:
    """
    Runs the flows; trace -> name, by start. A trace is its link, or its id where none leads there.

    *say* is told of each run as it begins, where they have no end but Ctrl-C.
    """
    traces: dict[str, str] = {}

    def begun() -> None:
        run = flowspan.current_run()
        if run is None or not run.span.get_span_context().trace_flags.sampled:
            return
        trace_id = run.span.get_span_context().trace_id
        trace = (linked and flowspan.trace_url()) or f"{trace_id:032x}"
        if asked.live:
            say(trace, run.name)
        else:
            traces[trace] = run.name

    if asked.live:
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            asyncio.run(_until_interrupted(run_on(begun)))
    else:
        with _progress(asked.runs) as ended:
            asyncio.run(run_flows(asked.runs, begun, ended))
    return traces


async def _until_interrupted(work: Coroutine[None, None, None]) -> None:
    """Cancels *work* at Ctrl-C: until Python 3.10 it would strike whichever task is running."""
    task = asyncio.current_task()
    if task is not None:
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    await work


class _Seen(SpanExporter):
    """Keeps the newest of what ends, as the views want it."""

    def __init__(self) -> None:
        self.collection = Collection(_KEPT)
        self._encoder = Encoder()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for batch in self._encoder.encode(spans):
            for span in spans_of(batch.body, Store()):
                self.collection.add(span)
        return SpanExportResult.SUCCESS


@contextmanager
def _progress(runs: int) -> Iterator[Callable[[], None]]:
    """A bar on the terminal while it works, to be told of each run that ended; else nothing."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("Running"), BarColumn(), MofNCompleteColumn(), TextColumn("runs"))
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=runs)
        yield lambda: bar.advance(task)


def _in_turn(items: Iterable[_T], name: Callable[[_T], str]) -> Iterator[_T]:
    """One of each name, then the next of each: what is cut off then, is more of the same."""
    by_name: dict[str, list[_T]] = {}
    for item in items:
        by_name.setdefault(name(item), []).append(item)
    for each in zip_longest(*by_name.values()):
        yield from (item for item in each if item is not None)


def _say_rest(console: Console, traces: int, shown: int = _SHOWN) -> None:
    if traces > shown:
        _say(console, f"  and {traces - shown:,} more")


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)  # one line, however long: a link stays a link


# ---- does a collector answer?


def _trouble(config: flowspan.Config) -> str:
    """Why no collector takes our spans there; nothing if one does."""
    grpc = "otlp_proto_grpc" in config.exporters
    otlp = config.otlp.speaking("grpc" if grpc else None)
    transport = make_transport(otlp)
    try:
        answer = transport.send(b"", _PROBE_TIMEOUT)  # a request with no span in it
    finally:
        transport.close()
    if answer.verdict not in (Verdict.UNAVAILABLE, Verdict.MISCONFIGURED):
        return ""
    return answer.message.removeprefix(f"{otlp.shown_endpoint}: ")
