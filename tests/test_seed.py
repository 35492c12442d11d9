"""The bug that flowspan exists for: runs that go on at the same time are never mixed up."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import flowspan
from flowspan import propagation, semconv


async def build(service: flowspan.TracingService, run: str, name: str, pause: Any) -> None:
    """One component of *run* that logs and produces what only it could."""
    component_id = f"{run}-{name}"
    trace_name = f"{name} ({component_id})"
    component = flowspan.Component(component_id, name)
    async with service.trace_component(component, trace_name, {"of": component_id}):
        await pause()
        service.add_log(trace_name, component_id)
        service.set_outputs(trace_name, {"from": component_id})


def own(spans: Any, run: str) -> list[Any]:
    return [span for span in spans.all() if span.attributes[semconv.RUN_ID] == run]


def assert_each_has_its_own(spans: Any, run: str) -> None:
    """Inputs, outputs, logs and trace of each component of *run* are its own."""
    (root,) = [span for span in own(spans, run) if span.parent is None]
    for span in own(spans, run):
        assert span.context.trace_id == root.context.trace_id == propagation.trace_id(run)
        if span is not root:
            component_id = span.attributes[semconv.COMPONENT_ID]
            assert component_id.startswith(f"{run}-")
            assert json.loads(span.attributes[semconv.INPUT_VALUE]) == {"of": component_id}
            assert json.loads(span.attributes[semconv.OUTPUT_VALUE]) == {"from": component_id}
            assert [e.attributes[semconv.LOG_MESSAGE] for e in span.events] == [component_id]


async def test_a_run_that_pauses_keeps_its_components(service, spans, failures):
    """Flow 2 starts, runs and ends while flow 1 pauses; flow 1 goes on in its own trace."""
    paused, resume = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        paused.set()
        await resume.wait()

    async def flow(run: str, wait: Any) -> None:
        await service.start_tracers(run, run, "user", f"session of {run}")
        await build(service, run, "A", wait)
        await build(service, run, "B", wait)
        await asyncio.create_task(service.end_tracers({}))

    first = asyncio.create_task(flow("one", pause))
    await paused.wait()
    await asyncio.create_task(flow("two", lambda: asyncio.sleep(0)))
    resume.set()
    await first

    assert spans.trees() == [{"one": {"A": {}, "B": {}}}, {"two": {"A": {}, "B": {}}}]
    for run in ("one", "two"):
        assert_each_has_its_own(spans, run)
        assert {s.attributes[semconv.SESSION_ID] for s in own(spans, run)} == {f"session of {run}"}
    assert failures == []


async def test_five_hundred_runs_at_once(service, spans, failures):
    """
    Eleven components each: in tasks made by tasks, in threads, nested, failing, timed out, called
    off, in a generator that nobody reads on, and one that outlives its run.
    """
    executor = ThreadPoolExecutor(8)
    loop = asyncio.get_running_loop()
    all_over = asyncio.Event()
    outliving: list[asyncio.Task[None]] = []

    async def flow(number: int) -> None:
        run = f"run{number}"
        await service.start_tracers(run, run, None, None)
        pause = lambda: asyncio.sleep(0)  # noqa: E731

        async def chain(names: str) -> None:
            await build(service, run, names[0], pause)
            if len(names) > 1:
                await asyncio.create_task(chain(names[1:]))

        async def failing() -> None:
            component = flowspan.Component(f"{run}-F", "F")
            async with service.trace_component(component, "F", {}):
                raise ValueError(run)

        async def hanging(name: str) -> None:
            component = flowspan.Component(f"{run}-{name}", name)
            async with service.trace_component(component, name, {}):
                await asyncio.Event().wait()

        async def abandoned() -> None:
            @flowspan.component("G", id=f"{run}-G")
            async def items() -> Any:
                yield 1
                yield 2

            await anext(items())

        async def late() -> None:
            component = flowspan.Component(f"{run}-L", "L")
            async with service.trace_component(component, "L", {"of": f"{run}-L"}):
                await all_over.wait()
                service.add_log("L", f"{run}-L")
                service.set_outputs("L", {"from": f"{run}-L"})

        def in_thread(name: str) -> None:
            asyncio.run(build(service, run, name, pause))

        async def nested() -> None:
            component = flowspan.Component(f"{run}-N", "N")
            async with service.trace_component(component, "N", {}):
                await service.start_tracers(f"sub{number}", f"sub{number}", None, None)
                await build(service, f"sub{number}", "S", pause)
                if number % 2:  # the other half is closed by the component
                    await service.end_tracers({})

        await asyncio.gather(
            asyncio.create_task(chain("ABC")),
            asyncio.to_thread(in_thread, "T"),
            loop.run_in_executor(executor, propagation.carry(in_thread), "E"),
            nested(),
            abandoned(),
        )
        called_off = asyncio.create_task(hanging("X"))
        await asyncio.sleep(0)
        called_off.cancel()
        outliving.append(asyncio.create_task(late()))
        with pytest.raises(ValueError, match=run):
            await failing()
        with pytest.raises((TimeoutError, asyncio.TimeoutError)):
            await asyncio.wait_for(hanging("H"), 0.001)
        await asyncio.create_task(service.end_tracers({}, ValueError(run)))

    await asyncio.gather(*(asyncio.create_task(flow(number)) for number in range(500)))
    all_over.set()
    await asyncio.gather(*outliving)
    executor.shutdown()
    while len(spans.all()) < 500 * 14:  # the loop closes abandoned generators
        await asyncio.sleep(0)

    by_root = {next(iter(tree)): tree for tree in spans.trees()}
    assert len(by_root) == 500
    for number in range(500):
        tree = by_root[f"run{number}"][f"run{number}"]
        assert tree.pop("N") == {f"sub{number}": {"S": {}}}
        assert tree == {name: {} for name in "ABCTEFHXGL"}
    for span in spans.all():
        name, attributes = span.name, span.attributes
        run = attributes[semconv.RUN_ID]
        if name in "ABCTESL":
            component_id = f"{run}-{name}"
            assert json.loads(attributes[semconv.OUTPUT_VALUE]) == {"from": component_id}
            assert [e.attributes[semconv.LOG_MESSAGE] for e in span.events] == [component_id]
        elif name == "F":
            assert attributes[semconv.ERROR_TYPE] == "ValueError"
            assert span.status.description == run
        elif name in "HXG":
            assert attributes[semconv.COMPONENT_STATUS] == "cancelled"
            assert not span.status.status_code.value
        elif name.startswith("run"):
            assert attributes[semconv.RUN_STATUS] == "error"
    assert failures == []


async def test_misuse_never_raises_and_is_counted(service, spans, failures):
    """Calls out of order, `None`, wrong types, huge and broken names."""
    wild: list[Any] = [None, 5, object(), "x" * 100_000, "\ud800", {"a": 1}, b"\xff", ""]
    service.add_log("a", "b")
    service.set_outputs("a", {})
    await service.end_tracers({})
    for value in wild:
        await service.start_tracers(value, value, value, value, value, value, value)
        async with service.trace_component(value, value, value, value):
            service.add_log(value, value)
            service.set_outputs(value, value, value)
            service.set_outputs("somebody else", {"a": 1})
        service.record_event_span(span_id=value, name=value, outputs=value, span_type=value)
        await service.end_tracers(value, value if isinstance(value, str) and value else None)
        await service.end_tracers({})
    assert isinstance(service.get_langchain_callbacks(), list)
    assert service.get_tracer("langfuse") is None

    assert len(spans.all()) == 3 * len(wild)
    assert {
        "add_log outside a component",
        "set_outputs outside a component",
        "end_tracers without a run",
        "set_outputs for another component",
        "end_tracers with an error that is none",
        "a run id that is no text",
    } == set(failures)


async def test_whoever_does_not_end_a_run_has_it_ended(service, spans, monkeypatch):
    """The task that started it is done: by return, error or cancellation."""
    monkeypatch.setattr("flowspan._spans.GRACE", 0)

    async def returns() -> None:
        await service.start_tracers("returns", "returns", None, None)

    async def raises() -> None:
        await service.start_tracers("raises", "raises", None, None)
        raise ValueError

    async def hangs() -> None:
        await service.start_tracers("hangs", "hangs", None, None)
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(f()) for f in (returns, raises, hangs)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    while len(spans.all()) < 3:
        await asyncio.sleep(0)

    statuses = {span.name: span.attributes[semconv.RUN_STATUS] for span in spans.all()}
    assert statuses == {"returns": "abandoned", "raises": "error", "hangs": "cancelled"}


async def test_a_resumed_run_joins_its_trace(service, spans):
    """The same run id in another task: the same trace, and a link to the run's earlier span."""

    async def part(name: str) -> None:
        await service.start_tracers("r-1", "flow", None, None)
        await build(service, "r-1", name, lambda: asyncio.sleep(0))
        await service.end_tracers({})

    await asyncio.create_task(part("A"))
    await asyncio.create_task(part("B"))

    first, second = [span for span in spans.all() if span.name == "flow"]
    assert first.context.trace_id == second.context.trace_id
    (link,) = second.links
    assert link.context == first.context
    assert link.attributes[semconv.LINK_TYPE] == "resume"


def test_a_consumer_is_not_below_the_generator(spans):
    """What is done between two items is filed below the run, not below the generator."""

    @flowspan.component
    def chunks():
        yield "a"
        yield "b"

    @flowspan.run("flow")
    def consume() -> None:
        for chunk in chunks():
            with flowspan.component(f"use {chunk}"):
                pass

    consume()

    assert spans.tree() == {"flow": {"chunks": {}, "use a": {}, "use b": {}}}
    assert spans.named("chunks").attributes[semconv.OUTPUT_VALUE] == "ab"


def test_what_a_generator_has_open_is_its_own(spans):
    """A scope that is open across a `yield` is current in the generator, not in its consumer."""

    @flowspan.component
    def stream():
        with flowspan.component("inner"):
            yield 1
            assert flowspan.current_component().name == "inner"
            yield 2

    with flowspan.run("flow"):
        for item in stream():
            assert flowspan.current_component() is None
            with flowspan.component(f"use {item}"):
                pass
        with flowspan.component("next"):
            pass

    assert spans.tree() == {"flow": {"stream": {"inner": {}}, "use 1": {}, "use 2": {}, "next": {}}}


async def test_what_an_async_generator_has_open_is_its_own(spans):
    """The same for runs and `async for`, and for one that nobody reads on."""

    @flowspan.run
    async def stream():
        with flowspan.run("inner"):
            yield 1
            yield 2

    with flowspan.run("flow"):
        async for item in stream():
            with flowspan.component(f"use {item}"):
                pass
        abandoned = stream()
        await anext(abandoned)
        await asyncio.create_task(abandoned.aclose())
        with flowspan.component("next"):
            pass

    assert spans.tree() == {
        "flow": {
            "stream": {"inner": {}},
            "use 1": {},
            "use 2": {},
            "stream#2": {"inner": {}},
            "next": {},
        }
    }


async def test_a_run_begun_in_a_generator_is_its_own(service, spans):
    """Its consumer stays in the run around it, and can end that."""

    @flowspan.component
    async def stream():
        await service.start_tracers("sub", "sub", None, None)
        yield 1
        await service.end_tracers({})

    await service.start_tracers("outer", "outer", None, None)
    async for _ in stream():
        await build(service, "outer", "use", lambda: asyncio.sleep(0))
    await service.end_tracers({"of": "outer"})

    assert spans.tree() == {"outer": {"stream": {"sub": {}}, "use": {}}}
    assert spans.named("outer").attributes[semconv.OUTPUT_VALUE] == '{"of":"outer"}'


async def test_after_a_run_inside_a_with_comes_the_run_of_the_with(service, spans):
    """Started and ended by the methods, with no component between; ended in a task of its own."""
    async with flowspan.run("outer"):
        await service.start_tracers("inner", "inner", None, None)
        await asyncio.create_task(service.end_tracers({}))
        assert flowspan.current_run().name == "outer"
        with flowspan.component("next"):
            pass

    assert spans.tree() == {"outer": {"inner": {}, "next": {}}}


async def test_runs_given_to_tasks_do_not_end_each_other(service, spans):
    """One task starts them all, a task of its own ends each: with its outputs, when it is done."""
    go_on = asyncio.Event()

    async def flow(run: str) -> None:
        await go_on.wait()
        await build(service, run, "A", lambda: asyncio.sleep(0))
        await service.end_tracers({"of": run})

    tasks = []
    for run in "012":
        await service.start_tracers(run, run, None, None)
        tasks.append(asyncio.create_task(flow(run)))
    go_on.set()
    await asyncio.gather(*tasks)

    assert spans.trees() == [{run: {"A": {}}} for run in "012"]
    for run in "012":
        assert spans.named(run).attributes[semconv.RUN_STATUS] == "ok"
        assert json.loads(spans.named(run).attributes[semconv.OUTPUT_VALUE]) == {"of": run}


async def test_nested_runs_given_to_tasks_do_not_end_each_other(service, spans):
    """In a component; those that nobody ends, end with it, or when nobody holds them any more."""

    async def flow(run: str) -> None:
        await asyncio.sleep(0)
        await service.end_tracers({"of": run})

    async with service.trace_component(None, "loop", {}):
        tasks = []
        for run in "012":
            await service.start_tracers(run, run, None, None)
            tasks.append(asyncio.create_task(flow(run)))
        await service.start_tracers("nobody", "nobody", None, None)
        await service.start_tracers("last", "last", None, None)
        assert [span.name for span in spans.all()] == ["nobody"]
        await asyncio.gather(*tasks)

    assert {span.name: span.attributes.get(semconv.RUN_STATUS) for span in spans.all()} == {
        **dict.fromkeys(("0", "1", "2", "nobody", "last"), "ok"),
        "loop": None,
    }
    assert json.loads(spans.named("1").attributes[semconv.OUTPUT_VALUE]) == {"of": "1"}


def test_an_abandoned_generator_ends_its_component(spans):
    """Nobody reads on: the component is cancelled, and what comes after is not below it."""

    @flowspan.component
    def chunks():
        yield "a"
        yield "b"

    with flowspan.run("flow"):
        items = chunks()
        next(items)
        del items
        with flowspan.component("after"):
            pass

    assert spans.tree() == {"flow": {"chunks": {}, "after": {}}}
    assert spans.named("chunks").attributes[semconv.COMPONENT_STATUS] == "cancelled"


def test_what_is_thrown_into_a_generator_reaches_it(spans):
    """A decorated generator handles what its consumer throws, as it would undecorated."""

    @flowspan.component
    def chunks():
        try:
            yield "a"
        except ValueError:
            yield "b"

    with flowspan.run("flow"):
        items = chunks()
        assert [next(items), items.throw(ValueError()), *items] == ["a", "b"]

    assert spans.named("chunks").attributes[semconv.OUTPUT_VALUE] == "ab"
    assert semconv.ERROR_TYPE not in spans.named("chunks").attributes


async def test_an_async_generator_works_decorated(spans):
    """Items, what is thrown in, and closing; its span is current only in its own code."""

    @flowspan.component
    async def chunks():
        try:
            yield "a"
        except ValueError:
            yield "b"
        yield "c"

    with flowspan.run("flow"):
        items = chunks()
        assert await anext(items) == "a"
        with flowspan.component("between"):
            pass
        assert await items.athrow(ValueError()) == "b"
        await items.aclose()

    assert spans.tree() == {"flow": {"chunks": {}, "between": {}}}


def test_generators_that_take_turns(spans):
    """Scopes that close out of order restore only what is still open."""

    def work(name: str):
        with flowspan.component(name):
            yield

    with flowspan.run("flow"):
        one, two = work("one"), work("two")
        next(one)
        next(two)
        one.close()
        assert flowspan.current_component().name == "two"
        two.close()
        assert flowspan.current_component() is None
        with flowspan.component("after"):
            pass

    assert spans.tree() == {"flow": {"one": {"two": {}}, "after": {}}}


def test_an_error_is_shown_where_it_was_raised(spans):
    """One `exception` event, on the innermost span; status and type on those around it."""
    with pytest.raises(ZeroDivisionError), flowspan.run("flow"), flowspan.component("outer"):
        with flowspan.component("inner"):
            raise ZeroDivisionError("by sk-abcdefgh12345678")

    events = {span.name: [event.name for event in span.events] for span in spans.all()}
    assert events == {"inner": ["exception"], "outer": [], "flow": []}
    for span in spans.all():
        assert span.attributes[semconv.ERROR_TYPE] == "ZeroDivisionError"
        assert span.status.description == "by [REDACTED]"
    stack = spans.named("inner").events[0].attributes[semconv.EXCEPTION_STACKTRACE]
    assert "sk-abc" not in stack.replace('raise ZeroDivisionError("by sk-abcdefgh12345678")', "")


def test_edges_are_links(configured):
    """Each incoming edge links to the predecessor; `parenting="edge"` makes it the parent."""
    for parenting, tree in (("run", {"A": {}, "B": {}}), ("edge", {"A": {"B": {}}})):
        spans = configured(parenting=parenting)
        with flowspan.run("flow"):
            with flowspan.component("A", id="a-1"):
                pass
            with flowspan.component("B", edges=[flowspan.Edge("a-1", "text", "prompt")]):
                pass
        assert spans.tree() == {"flow": tree}
        (link,) = spans.named("B").links
        assert link.context == spans.named("A").context
        assert dict(link.attributes) == {
            semconv.LINK_TYPE: "edge",
            semconv.EDGE_SOURCE: "a-1.text",
            semconv.EDGE_TARGET: "B.prompt",
        }


def test_without_content_only_sizes_and_types(configured):
    """`capture_content=False`: no input, output, log, message or stack trace leaves."""
    spans = configured(capture_content=False)

    with pytest.raises(ValueError, match="hush"), flowspan.run("flow", inputs="hush"):
        with flowspan.component("A", inputs={"a": "hush"}) as component:
            component.add_log("hush")
            component.set_outputs("hush")
            raise ValueError("hush")

    for span in spans.all():
        told = [*span.attributes.values(), span.status.description]
        told += [value for event in span.events for value in event.attributes.values()]
        assert "hush" not in str(told)
    assert spans.named("A").attributes[semconv.INPUT_BYTES] == len('{"a":"hush"}')


def test_messages_carry_the_parent(spans):
    """`inject` here, `extract` there: a run picked up from a queue is a CONSUMER below."""
    headers: dict[str, str] = {}
    with flowspan.run("sender"), flowspan.component("send"):
        propagation.inject(headers)
    with propagation.extract(headers), flowspan.run("receiver"):
        pass

    assert spans.tree() == {"sender": {"send": {"receiver": {}}}}
    assert spans.named("receiver").kind.name == "CONSUMER"
