"""Wild callers, threads, forks and the garbage collector: what they must not do to a run."""

import asyncio
import base64
import contextvars
import copy
import enum
import fractions
import gc
import json
import logging
import os
import random
import subprocess
import sys
import threading
import types
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import flowspan
from flowspan import _guard, _spans, propagation
from flowspan._payload import Payloads
from flowspan._redaction import Redactor
from flowspan.pipeline import Pipeline
from flowspan.service import TracingService


@pytest.fixture
def reports() -> Iterator[list[str]]:
    """What was reported; a failure of ours is only counted, as in production."""
    kinds: list[str] = []
    previous = _guard.set_handler(lambda kind, error, advice: kinds.append(kind))
    yield kinds
    _guard.set_handler(previous)


def names(spans) -> list[str]:
    return [span.name for span in spans.all()]


def test_a_run_that_fails_to_start_leaves_the_next_one_alone(spans, reports):
    class Tags:
        def __iter__(self):
            raise OSError

    with flowspan.run("first", tags=Tags(), run_id="1"):
        pass
    gc.collect()
    with flowspan.run("second", tags="one"):
        pass
    assert names(spans) == ["first", "second"]
    assert spans.all()[1].attributes["tag.tags"] == ("one",)
    assert reports == ["could not record tags"]


class DriverUUID(uuid.UUID):
    """What database drivers return."""


async def test_ids_of_a_drivers_uuid_class_are_told_apart(spans, service):
    for number in (1, 2):
        await service.start_tracers(DriverUUID(int=number), "f", None, DriverUUID(int=number))
        await service.end_tracers({})
    ids = [span.attributes["flowspan.run.id"] for span in spans.all()]
    assert ids == [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))]
    assert not any(span.links for span in spans.all())


async def test_a_run_id_without_a_text_gets_a_new_one(spans, service, failures):
    for _ in range(2):
        await service.start_tracers(object(), "f", None, object())
        await service.end_tracers({})
    first, second = spans.all()
    assert first.attributes["flowspan.run.id"] != second.attributes["flowspan.run.id"]
    assert "session.id" not in first.attributes
    assert not second.links
    assert failures == ["a run id that is no text"] * 2


async def test_outputs_without_a_truth_value_do_not_cost_the_end(spans, service):
    class Outputs:
        def __bool__(self):
            raise ValueError

    await service.start_tracers("r", "f", None, None)
    await service.end_tracers(Outputs(), ValueError("x"))
    (run,) = spans.all()
    assert run.attributes["flowspan.run.status"] == "error"


@pytest.mark.parametrize("carrier", [None, 5, {"traceparent": 5}, {5: None}])
def test_a_wild_carrier_changes_nothing(spans, reports, carrier: Any):
    with flowspan.run("outer"):
        before = flowspan.current_run()
        with propagation.extract(carrier), flowspan.run("inner"):
            pass
        assert flowspan.current_run() is before
    inner, outer = spans.all()
    assert inner.context.trace_id != outer.context.trace_id


def test_a_wild_carrier_cannot_be_injected_into(spans, reports):
    carrier: Any = None
    with flowspan.run("r"):
        propagation.inject(carrier)
    assert reports == ["could not inject a traceparent"]


def test_a_carrier_may_hold_bytes(spans):
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    carrier: Any = {"traceparent": parent.encode()}
    with propagation.extract(carrier), flowspan.run("r"):
        pass
    assert format(spans.all()[0].parent.span_id, "016x") == "b" * 16


class Headers(dict[str, Any]):
    """Like those of a web framework: a name may come more than once."""

    def items(self) -> Any:
        return self["all"]


@pytest.mark.parametrize("several", [False, True])
def test_headers_that_come_more_than_once_are_joined(spans, several: bool):
    """In order, as W3C has it, whichever way a carrier holds them and whatever their case."""
    parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    states: list[tuple[str, Any]] = [("TraceState", b"x=1"), ("tracestate", "y=2,z=3")]
    if several:
        states = [("tracestate", ["x=1", b"y=2,z=3"])]
    carrier = Headers(all=[("Traceparent", parent), *states, (5, "odd"), ("odd", 5)])
    with propagation.extract(carrier), flowspan.run("r") as run:
        state = run.span.get_span_context().trace_state

    assert list(state.items()) == [("x", "1"), ("y", "2"), ("z", "3")]


def test_two_parents_are_none(spans):
    parents = [("traceparent", f"00-{'a' * 32}-{half * 16}-01") for half in "bc"]
    with propagation.extract(Headers(all=parents)), flowspan.run("r"):
        pass
    assert spans.all()[0].parent is None


def test_carried_twice_keeps_the_outer_context(spans):
    def who() -> str:
        run = flowspan.current_run()
        return run.name if run else ""

    with flowspan.run("one"):
        inner = propagation.carry(who)
        with flowspan.run("two"):
            outer = propagation.carry(inner)
            assert inner() == outer() == "one"


def in_memory(*others: SpanProcessor) -> tuple[Pipeline, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    for processor in (SimpleSpanProcessor(exporter), *others):
        provider.add_span_processor(processor)
    return Pipeline(flowspan.Config.from_env({}), provider), exporter


async def test_one_pipelines_shutdown_leaves_the_others_runs_open():
    one, exporter = in_memory()
    other, _ = in_memory()
    service = TracingService(one)
    await service.start_tracers("r", "f", None, None)
    other.shutdown()
    await service.end_tracers({})
    (run,) = exporter.get_finished_spans()
    assert run.attributes["flowspan.run.status"] == "ok"


def test_a_global_provider_that_was_shut_down_is_not_taken_for_the_applications():
    program = """if True:
        import flowspan
        config = flowspan.Config.from_env(
            {"OTEL_TRACES_EXPORTER": "console", "FLOWSPAN_SET_GLOBAL": "true"})
        flowspan.configure(config).shutdown()
        pipeline = flowspan.configure(config)
        with flowspan.run("two"):
            pass
        pipeline.force_flush()
        assert pipeline.stats().exported == 1, pipeline.stats()
        """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, capture_output=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_component_open_across_a_fork_is_exported_once():
    program = """if True:
        import os, sys, flowspan
        flowspan.configure(flowspan.Config.from_env({"OTEL_TRACES_EXPORTER": "console"}))
        with flowspan.run("R"):
            with flowspan.component("forked"):
                pid = os.fork()
                with flowspan.component("child" if pid == 0 else "parent"):
                    pass
                if pid:
                    os.waitpid(pid, 0)
        sys.stdout.flush()
        """
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=60, capture_output=True, text=True
    )
    found = [
        line.split('"')[3] for line in done.stdout.splitlines() if line.startswith('    "name"')
    ]
    assert sorted(found) == ["R", "child", "forked", "parent"]


def test_outputs_from_many_threads_all_arrive(spans):
    keys = [f"k{i}" for i in range(16)]
    with flowspan.run("r"), flowspan.component("c") as component:
        ready = threading.Barrier(len(keys))

        def give(key: str) -> None:
            ready.wait()
            component.set_outputs({key: 1})

        threads = [threading.Thread(target=give, args=(key,)) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = spans.all()[0].attributes["output.value"]
    assert sorted(tree(found)) == sorted(keys)


def tree(text: str) -> Any:
    return json.loads(text)


async def test_a_with_inside_a_started_run_does_not_end_it(spans, service):
    await service.start_tracers("r", "outer", None, None)
    with flowspan.run("helper"):
        pass
    await service.end_tracers({"o": 1})
    outer = spans.all()[-1]
    assert outer.attributes["flowspan.run.status"] == "ok"
    assert outer.attributes["output.value"] == '{"o":1}'


async def test_a_late_component_is_ended_at_shutdown():
    pipeline, exporter = in_memory()
    service = TracingService(pipeline)
    await service.start_tracers("r", "f", None, None)
    await service.end_tracers({})
    late = service.trace_component(None, "late", {})
    await late.__aenter__()
    pipeline.shutdown()
    assert [span.name for span in exporter.get_finished_spans()] == ["f", "late"]
    await late.__aexit__(None, None, None)


async def test_runs_ended_elsewhere_are_not_kept_by_their_task(service, spans):
    seen = []
    for number in range(5):
        await service.start_tracers(str(number), "f", None, None)
        run: Any = flowspan.current_run()
        seen.append(weakref.ref(run))
        await asyncio.to_thread(run.end)
        del run
    gc.collect()
    assert sum(reference() is not None for reference in seen) <= 1


def test_a_handled_error_does_not_keep_what_its_frames_held(spans):
    class Big:
        pass

    def fails() -> None:
        big = Big()
        seen.append(weakref.ref(big))
        raise ValueError(big.__class__.__name__)

    seen: list[weakref.ref[Big]] = []
    with flowspan.run("r"):
        try:
            with flowspan.component("c"):
                fails()
        except ValueError:
            pass
        gc.collect()
        assert seen[0]() is None


def test_an_error_is_shown_once_through_components_and_nested_runs(spans):
    with pytest.raises(ValueError, match="x"), flowspan.run("outer"):
        with flowspan.component("c"), flowspan.run("nested"):
            raise ValueError("x")
    shown = {span.name: [event.name for event in span.events] for span in spans.all()}
    assert shown == {"nested": ["exception"], "c": [], "outer": []}


async def test_of_two_errors_each_is_shown_once(spans, service):
    async def build(name: str) -> None:
        async with service.trace_component(None, name, {}):
            raise ValueError(name)

    await service.start_tracers("r", "f", None, None)
    errors = await asyncio.gather(build("a"), build("b"), return_exceptions=True)
    await service.end_tracers({}, errors[0])
    assert [len(span.events) for span in spans.all()] == [1, 1, 0]


def test_what_a_generator_yields_is_frozen_then(spans):
    @flowspan.component
    def items():
        found: dict[str, int] = {}
        for i in range(2):
            found["i"] = i
            yield found

    with flowspan.run("r"):
        list(items())
    assert spans.all()[0].attributes["output.value"] == '[{"i":0},{"i":1}]'


def test_class_and_static_methods_are_decorated_either_way(spans):
    class Tool:
        @flowspan.component
        @classmethod
        def above(cls, x: int) -> int:
            return x + 1

        @flowspan.component("named")
        @staticmethod
        def static(x: int) -> int:
            return x + 2

    with flowspan.run("r"):
        assert (Tool.above(1), Tool.static(1)) == (2, 3)
    assert names(spans) == ["above", "named", "r"]


def test_an_error_with_wild_notes_still_fails_its_component(spans, reports):
    class Wild(Exception):
        @property
        def __notes__(self):
            raise OSError

    try:
        with flowspan.run("r"), flowspan.component("c"):
            raise Wild
    except Wild:
        assert set(reports) <= {"could not record a stack trace"}  # Python 3.13 passes over it
    component = spans.all()[0]
    assert not component.status.is_ok
    assert component.attributes["error.type"].endswith("Wild")


def test_usage_that_no_wire_can_carry_is_left_out(spans):
    with flowspan.run("r"), flowspan.component("c") as component:
        component.set_usage(input_tokens=2**70, output_tokens=-1)
    assert not any("usage" in name for name in spans.all()[0].attributes)


def test_the_collector_may_end_a_generator_under_our_lock():
    """An abandoned generator in a cycle is closed by the collector, which runs anywhere."""
    program = """if True:
        import contextvars, gc, faulthandler, threading
        import flowspan
        from flowspan import _guard, _spans
        from opentelemetry.sdk.trace import TracerProvider
        faulthandler.dump_traceback_later(30, exit=True)
        flowspan.configure(flowspan.Config.from_env({}), tracer_provider=TracerProvider())
        def generator():
            with flowspan.component("inner"):
                yield
        def abandon():
            cycle = {"generator": generator()}
            next(cycle["generator"])
            cycle["cycle"] = cycle
        with flowspan.run("r"):
            contextvars.copy_context().run(abandon)
            with _spans._lock, _guard._lock:
                assert gc.collect()
        """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_logging_that_raises_does_not_reach_the_application(reports):
    _guard.set_handler(None)

    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError

    handler = Raises()
    logger = logging.getLogger("flowspan")
    logger.addHandler(handler)
    try:
        _guard.reset()
        _guard.report("a test", "nothing")
    finally:
        logger.removeHandler(handler)
        _guard.reset()


class Key(enum.Enum):
    PASSWORD = "password"


PAYLOADS = Payloads(Redactor(), 32_768)

STRUCTURES: list[Any] = [
    {b"password": b"hunter2"},
    {Key.PASSWORD: "hunter2"},
    {"x" * 300 + "_password": "hunter2"},
    [("x-api-key", "hunter2"), (b"authorization", b"hunter2")],
    [["x-api-key", "hunter2"]],
    *({key: "hunter2"} for key in ("pass", "db_pass", "SMTP_PASS", "auth", "session_key")),
    *({key: "hunter2"} for key in ("Ocp-Apim-Subscription-Key", "connection_string")),
    {"auth_tokens": ["hunter2"]},
    {"lines": ["-----BEGIN RSA PRIVATE KEY-----", "Proc-Type: 4", "", "hunter2" * 9, "ab=="]},
]

TEXTS = [
    "DB_PASSWORD: hunter2",
    'password: "hunter2"',
    "password   = hunter2",
    "password =  hunter2",
    'password := "hunter2"',
    "connect(password=b'hunter2')",
    repr({"password": b"hunter2"}),
    "Authorization: ApiKey hunter2abc==",
    'Authorization: Digest username="u", response="hunter2"',
    "Authorization: AWS4-HMAC-SHA256 Credential=AK/x, Signature=hunter2",
    '{"a":"key:\\npassword: hunter2"}',
    '{"token":"hunter2"}',
    '{"jwt": "hunter2", "cookie": "hunter2"}',
    '{"a":"{\\"b\\":\\"{\\\\\\"password\\\\\\":\\\\\\"hunter2\\\\\\"}\\"}"}',
    "password='a\\'hunter2'",
    "Cookie: session=hunter2",
    "client_secret: hunter2",
    "retry with token=hunter2",
    "DB_PASS=hunter2",
    '{"db_pass": "hunter2"}',
    "<password>hunter2</password>",
    '<db:Password type="text"> <![CDATA[hunter2]]></db:Password>',
    "bot:hunter2@tcp(db.example.com:3306)/flows",
    "Server=db;PWD=/hunter2",
    "?code=hunter2",
]

HARMLESS = [
    {"next_token": "x", "nextPageToken": "x", "eos_token": "</s>", "sep_token": "|"},
    "connect(user, password=None)",
    "password=None, token=null",
    "/login?code=404&next=/",
    "PWD=/home/bob",
    "OLDPWD=/home/bob",
    '{"next_token": "x", "eos_token": "</s>"}',
    "the compass=north, bypass=1",
    "<p>password</p>",
]


@pytest.mark.parametrize("value", [*STRUCTURES, *TEXTS], ids=repr)
def test_no_secret_gets_through(value: Any):
    payload = PAYLOADS.freeze(value)
    assert "hunter2" not in payload.text
    assert payload.redacted


@pytest.mark.parametrize("value", HARMLESS, ids=repr)
def test_what_only_looks_like_a_secret_stays(value: Any):
    assert PAYLOADS.freeze(value).redacted == 0


def test_a_basic_password_may_be_in_any_language():
    credentials = base64.b64encode("user:pässwörd".encode()).decode()
    assert credentials not in PAYLOADS.freeze(f"Authorization header was Basic {credentials}").text


def test_rows_of_numbers_are_no_cards():
    """A card may begin a row of groups, not stand in the middle of one."""
    rng = random.Random(7)
    rows = [" ".join(str(rng.randrange(1000, 10_000)) for _ in range(40)) for _ in range(300)]
    hit = sum(PAYLOADS.freeze(row).redacted for row in rows)
    assert hit < 0.1 * len(rows)
    assert PAYLOADS.freeze("12 4111 1111 1111 1111 1225").redacted == 1
    assert PAYLOADS.freeze("1 2024 4111111111111111").redacted == 1


@pytest.mark.parametrize("before", ["\\n", "%20", '"', " ", "="])
def test_a_key_is_found_behind_an_escape(before: str):
    key = "sk-proj-" + "aB3" * 12
    assert key not in PAYLOADS.freeze(f"key:{before}{key}").text


def test_a_series_hides_by_its_labels():
    pandas = pytest.importorskip("pandas")
    assert "hunter2" not in PAYLOADS.freeze(pandas.Series({"password": "hunter2"})).text


def test_names_of_logs_and_tags_hold_no_secret(spans):
    with flowspan.run("r", tags=["password=hunter2"]), flowspan.component("c") as component:
        component.add_log("x", name="password=hunter2", type="pwd=hunter2")
    seen = [dict(span.attributes) for span in spans.all()]
    seen += [dict(event.attributes) for span in spans.all() for event in span.events]
    assert "hunter2" not in str(seen)


SECRET = "postgres://bob:hunter2@db"


def test_no_name_and_no_id_holds_a_secret(spans):
    edges = [flowspan.Edge(SECRET)]
    with flowspan.run(SECRET, run_id=SECRET, session_id=SECRET, user_id=SECRET, flow_id=SECRET):
        with flowspan.component(SECRET, id=SECRET, type="tool") as first:
            first.set_usage(model=SECRET)
            with flowspan.component("below"):
                pass
        with flowspan.component("next", edges=edges):
            pass
    seen = [(span.name, dict(span.attributes)) for span in spans.all()]
    seen += [("", dict(link.attributes)) for span in spans.all() for link in span.links]
    assert len(seen) == 5
    assert "hunter2" not in str(seen)


@pytest.mark.parametrize("where", [230, 256, 1_000, 1_024])
def test_a_name_is_searched_before_it_is_cut(spans, where: int):
    """A secret that the cut would halve is found: names are cut at 256, ids at 1,024."""
    long = "x" * (where - len(SECRET) // 2) + " " + SECRET
    edges = [flowspan.Edge("a", long, long)]
    with flowspan.run(long, run_id=long, session_id=long, flow_id=long, tags=[long]):
        with flowspan.component(long, id="a", type=long):
            pass
        with flowspan.component(long, id=long, type="tool", edges=edges) as component:
            component.set_usage(model=long)
            component.add_log("x", name=long, type=long)
    seen = [(span.name, dict(span.attributes)) for span in spans.all()]
    assert all(len(name) <= 256 for name, _ in seen)
    assert all(len(str(text)) <= 1_024 for _, known in seen for text in known.values())
    seen += [("", dict(link.attributes)) for span in spans.all() for link in span.links]
    seen += [("", dict(event.attributes)) for span in spans.all() for event in span.events]
    assert "hunter2" not in str(seen)


class Lazy:
    """A proxy that would evaluate what it stands for; that may take long, or end the process."""

    @property
    def __dict__(self):  # type: ignore[override]
        raise SystemExit

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit


def test_a_log_runs_nothing_of_its_value(spans, service):
    with flowspan.run("r"), flowspan.component("c"):
        service.add_log("c", Lazy())
    (event,) = spans.all()[0].events
    assert event.attributes["log.message"] == f'"<{__name__}.Lazy>"'


@pytest.mark.parametrize("end", ["\n-----END PRIVATE KEY-----", ""])
@pytest.mark.parametrize("size", [1_000, 40_000, 80_000])
def test_a_long_private_key_is_hidden_where_the_end_is_kept(size: int, end: str):
    text = "start\n-----BEGIN PRIVATE KEY-----\n" + "abcdefgh" * (size // 8) + end
    payload = PAYLOADS.text(text, keep_end=True)
    assert "abcdefgh" not in payload.text


def test_a_private_key_that_ended_hides_nothing_behind_it():
    key = "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n"
    text = key + "x" * 80_000 + " the end"
    assert PAYLOADS.text(text, keep_end=True).text.endswith("x the end")


@pytest.mark.parametrize("wrong", [None, 5, object(), []])
def test_a_trace_id_of_something_else_is_refused(wrong: Any):
    with pytest.raises(TypeError, match="expected a text or a UUID"):
        propagation.trace_id(wrong)


def test_a_file_that_is_not_there_is_named():
    (problem,) = flowspan.Config.from_env(
        {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/no/such/ca.pem"}
    ).problems
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in problem
    assert "/no/such/ca.pem" in problem


def test_a_variable_that_is_no_text_is_a_problem():
    """Read as what it says, so that a switch that is meant to be off is off; None is unset."""
    env: Any = {"OTEL_SDK_DISABLED": True, "FLOWSPAN_CAPTURE_CONTENT": False}
    env |= {"OTEL_SERVICE_NAME": None, "FLOWSPAN_MAX_PAYLOAD_BYTES": {}}
    config = flowspan.Config.from_env(env)
    assert config.disabled
    assert not config.capture_content
    assert config.service_name is None
    assert config.max_payload_bytes == 32_768
    assert "OTEL_SDK_DISABLED=True: expected a text; read as True" in config.problems
    assert len(config.problems) == 4


def test_one_long_text_does_not_empty_the_next():
    payload = PAYLOADS.freeze({"big": "x" * 1_000_000, "small": "y" * 100})
    assert tree(payload.text)["small"] == "y" * 100


def test_numbers_that_python_does_not_print_cost_only_themselves():
    payload = PAYLOADS.freeze({"a": fractions.Fraction(1, 10**5000), "b": 1})
    assert tree(payload.text) == {"a": "<fractions.Fraction>", "b": 1}


def test_an_abandoned_run_ends_with_its_components(spans):
    def abandon() -> None:
        flowspan.run("gone").__enter__()
        flowspan.component("open").__enter__()

    contextvars.copy_context().run(abandon)
    gc.collect()
    with flowspan.run("next"):
        pass
    assert sorted(names(spans)) == ["gone", "next", "open"]


class Broken(SpanProcessor):
    """A span processor of the application's that raises when a span named `broken` starts, ends."""

    def __init__(self, when: str) -> None:
        self.when = when

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.when == "start" and span.name == "broken":
            raise OSError

    def on_end(self, span: Any) -> None:
        if self.when == "end" and span.name == "broken":
            raise OSError


def in_broken(when: str) -> tuple[TracingService, InMemorySpanExporter]:
    pipeline, exporter = in_memory(Broken(when))
    return TracingService(pipeline), exporter


async def test_a_run_that_cannot_start_leaves_the_one_around_it_alone(reports):
    """Neither it nor what is in it is recorded; what its tasks say does not go to the outer run."""
    service, exporter = in_broken("start")
    await service.start_tracers("outer", "outer", None, None)

    async def flow() -> None:
        await service.start_tracers("broken", "broken", None, None)
        async with service.trace_component(None, "inside", {}):
            service.add_log("inside", "a log")
        await service.end_tracers({"of": "broken"}, ValueError("x"))

    await asyncio.create_task(flow())
    async with service.trace_component(None, "A", {}):
        await asyncio.create_task(flow())
    await service.end_tracers({"of": "outer"})

    component, run = exporter.get_finished_spans()
    assert (component.name, run.name) == ("A", "outer")
    assert not component.events
    assert run.attributes["output.value"] == '{"of":"outer"}'
    assert run.attributes["flowspan.run.status"] == "ok"
    assert reports == ["could not start a run's span"] * 2


def test_a_with_that_cannot_start_leaves_what_is_around_it_alone(configured, reports):
    spans = configured()
    provider: Any = flowspan.configure()._given
    provider.add_span_processor(Broken("start"))
    with flowspan.run("outer"), flowspan.component("A"):
        with flowspan.run("broken") as run:
            run.set_outputs("x")
            with flowspan.component("inside"):
                pass
        with flowspan.component("broken"):
            component = flowspan.current_component()
            assert component is not None
            component.add_log("a log")
            with flowspan.component("below"):
                pass
    assert spans.tree() == {"outer": {"A": {"below": {}}}}
    assert not spans.named("A").events
    assert reports == ["could not start a run's span", "could not start a component's span"]


@pytest.mark.parametrize("what", ["run", "component"])
async def test_a_processor_that_raises_does_not_keep_a_run_open(what: str, reports):
    service, exporter = in_broken("end")
    await service.start_tracers("r", "broken" if what == "run" else "outer", None, None)
    run = flowspan.current_run()
    async with service.trace_component(None, "broken" if what == "component" else "A", {}):
        pass
    await service.end_tracers({})
    assert run not in _spans._open_runs
    assert len(exporter.get_finished_spans()) == 2
    assert len(reports) == 1


def events(spans) -> dict[str, list[str]]:
    return {span.name: [event.name for event in span.events] for span in spans.all()}


def test_an_error_that_is_set_and_raised_is_shown_once(spans):
    with pytest.raises(ValueError, match="x"), flowspan.run("r"), flowspan.component("outer"):
        with flowspan.component("c") as component:
            try:
                raise ValueError("x")
            except ValueError as error:
                component.set_error(error)
                raise
    assert events(spans) == {"c": ["exception"], "outer": [], "r": []}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs asyncio.TaskGroup")
async def test_a_group_of_errors_that_were_shown_is_not_shown_again(spans):
    async def build(name: str) -> None:
        with flowspan.component(name):
            await asyncio.sleep(0)
            raise ValueError(name)

    with pytest.raises(BaseException) as raised, flowspan.run("r"), flowspan.component("outer"):  # noqa: PT011
        async with asyncio.TaskGroup() as group:
            group.create_task(build("a"))
            group.create_task(build("b"))
    assert type(raised.value).__name__ == "ExceptionGroup"
    assert events(spans) == {"a": ["exception"], "b": ["exception"], "outer": [], "r": []}


def test_what_set_error_takes(spans, reports):
    """An exception, a cancellation, a text; nothing else, which is counted."""
    wild: Any
    with flowspan.run("r"):
        with flowspan.component("cancelled") as component:
            component.set_error(asyncio.CancelledError())
        with flowspan.component("text") as component:
            component.set_error("no answer for password=hunter2")
        for wild in (None, "", 5):
            with flowspan.component("nothing") as component:
                component.set_error(wild)
    cancelled, text, *nothing, _ = spans.all()
    assert cancelled.attributes["flowspan.component.status"] == "cancelled"
    assert [event.name for event in cancelled.events] == ["flowspan.cancelled"]
    assert cancelled.status.is_unset
    assert text.attributes["error.type"] == "_OTHER"
    assert text.status.description == "no answer for password=[REDACTED]"
    assert all(span.status.is_unset for span in nothing)
    assert reports == ["set_error without an error"] * 3


def test_a_cancellation_that_is_set_and_raised_is_shown_once(spans):
    with pytest.raises(asyncio.CancelledError), flowspan.run("r"):
        with flowspan.component("c") as component:
            try:
                raise asyncio.CancelledError
            except asyncio.CancelledError as error:
                component.set_error(error)
                raise
    assert events(spans)["c"] == ["flowspan.cancelled"]


def test_usage_is_whole_numbers_of_any_kind(spans, reports):
    numpy = pytest.importorskip("numpy")
    wild: Any = ("12", 3.0)
    with flowspan.run("r"):
        with flowspan.component("counted") as component:
            component.set_usage(input_tokens=numpy.int64(7), output_tokens=wild[1])
        with flowspan.component("not") as component:
            component.set_usage(input_tokens=wild[0], output_tokens=True)
    counted, left_out, run = spans.all()
    assert counted.attributes["gen_ai.usage.input_tokens"] == 7
    assert counted.attributes["gen_ai.usage.output_tokens"] == 3
    assert run.attributes["flowspan.usage.total_tokens"] == 10
    assert not any("usage" in name for name in left_out.attributes)
    assert reports == ["usage that is no count of tokens"] * 2


async def test_one_scope_in_many_tasks(spans):
    """Each `with` has a span of its own, closed by that `with`."""
    scope = flowspan.component("c")

    async def build(number: int) -> None:
        async with scope as component:
            await asyncio.sleep(0)
            component.set_outputs(number)
            with scope:
                await asyncio.sleep(0)
            assert flowspan.current_component() is component

    with flowspan.run("r"):
        await asyncio.gather(*(asyncio.create_task(build(number)) for number in range(4)))
        with scope:
            pass

    tree = spans.tree()["r"]
    assert list(tree.values()) == [*[{"c": {}}] * 4, {}]
    found = [
        span.attributes["output.value"] for span in spans.all() if "output.value" in span.attributes
    ]
    assert sorted(found) == ["0", "1", "2", "3"]


async def test_whatever_is_awaited_is_measured_until_it_is_done(spans):
    """An object with `async __call__`, a function that gives a coroutine, a `types.coroutine`."""

    class Tool:
        async def __call__(self) -> str:
            return await work()

    async def work() -> str:
        await asyncio.sleep(0)
        with flowspan.component("inside"):
            return "done"

    @types.coroutine
    def old() -> Any:
        yield
        return "done"

    def fails() -> Any:
        async def failing() -> None:
            raise ValueError("x")

        return failing()

    with flowspan.run("r"):
        pending = flowspan.component(lambda: work())()
        assert flowspan.current_component() is None
        assert await pending == "done"
        assert await flowspan.component(Tool())() == "done"
        assert await flowspan.component(old)() == "done"
        with pytest.raises(ValueError, match="x"):
            await flowspan.component(fails)()

    assert spans.tree() == {
        "r": {"<lambda>": {"inside": {}}, "Tool": {"inside": {}}, "old": {}, "fails": {}}
    }
    for name in ("<lambda>", "Tool", "old"):
        assert spans.named(name).attributes["output.value"] == "done"
    assert events(spans)["fails"] == ["exception"]


def test_a_class_is_not_decorated():
    with pytest.raises(TypeError, match="expected a function"):

        @flowspan.component
        class Tool:
            pass


async def test_generators_and_coroutines_are_carried(spans):
    def items() -> Any:
        for _ in range(2):
            yield flowspan.current_run()

    async def work() -> Any:
        await asyncio.sleep(0)
        return flowspan.current_run()

    with flowspan.run("r") as run:
        carried = [propagation.carry(items), propagation.carry(lambda: work())]
        carried.append(copy.copy(carried[0]))
        with flowspan.run("other") as other:
            assert list(carried[0]()) == list(carried[2]()) == [run, run]
            assert await carried[1]() is run
            assert flowspan.current_run() is other


def test_a_component_below_a_span_needs_no_run(spans, failures):
    """With a parent it is no trace of its own, as in a process pool; without one it is counted."""
    with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=True))):
        with flowspan.component("below"):
            pass
    assert failures == []
    with flowspan.component("alone"):
        pass
    assert failures == ["component outside a run"]
