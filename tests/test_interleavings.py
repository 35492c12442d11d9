"""
Any interleaving: the tree that comes out is the tree that the program meant.

Programs are generated: runs of components in tasks made by tasks, in threads, with failures,
cancellations from outside, nested runs, abandoned generators and work that outlives its component
and its run. The interpreter hands down who is around a step as an argument, so what it expects
does not depend on any context variable.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flowspan
from flowspan import _spans, propagation, semconv
from flowspan.context import COMPONENT, RUN

# ---- programs


@dataclass(frozen=True)
class Pause:
    turns: int


@dataclass(frozen=True)
class Log:
    pass


@dataclass(frozen=True)
class Build:
    """A component around *steps*."""

    how: str
    outcome: str
    steps: tuple[Any, ...]


@dataclass(frozen=True)
class Spawn:
    """A task, awaited when the program is over; called off after *cancel_after* turns."""

    steps: tuple[Any, ...]
    cancel_after: int | None


@dataclass(frozen=True)
class Thread:
    carried: bool
    steps: tuple[Any, ...]


@dataclass(frozen=True)
class Nested:
    """A run inside the component; if not *ended*, the component ends it."""

    ended: bool
    steps: tuple[Any, ...]


@dataclass(frozen=True)
class Abandon:
    """A decorated generator of which only the first item is taken; a component is open in it."""


@dataclass(frozen=True)
class Consume:
    """*steps* between two items of a decorated generator that has a component or a run open."""

    how: str
    steps: tuple[Any, ...]


def programs(leaves: Any, inner: Any) -> Any:
    steps = st.lists(inner, max_size=4).map(tuple)
    outcomes = st.sampled_from(["ok", "ok", "error"])
    return st.one_of(
        leaves,
        st.builds(Build, st.sampled_from(["five", "with", "decorated"]), outcomes, steps),
        st.builds(Spawn, steps, st.none() | st.integers(0, 5)),
        st.builds(Thread, st.booleans(), steps),
        st.builds(Nested, st.booleans(), steps),
        st.builds(Consume, st.sampled_from(["component", "run"]), steps),
    )


LEAVES = st.one_of(st.builds(Pause, st.integers(1, 4)), st.builds(Log), st.builds(Abandon))
STEP = st.recursive(LEAVES, lambda inner: programs(LEAVES, inner), max_leaves=12)
RUNS = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.lists(STEP, min_size=1, max_size=5)),
    min_size=1,
    max_size=4,
)


# ---- what is expected


@dataclass(eq=False)
class Node:
    """A run or a component as the program means it."""

    name: str
    parent: Node | None
    run: Node | None = None  # of a component
    outer: Node | None = None  # of a nested run: the component around it
    ended: bool = False
    outcome: str = "ok"
    logs: list[str] = field(default_factory=list)
    nested: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Around:
    """Who is around a step: lexically, whatever became of it."""

    run: Node
    components: tuple[Node, ...] = ()

    def open_component(self) -> Node | None:
        return next((node for node in reversed(self.components) if not node.ended), None)

    def open_run(self) -> Node:
        run = self.run
        while run.ended and run.outer is not None:
            assert run.outer.run is not None
            run = run.outer.run
        return run


class Boom(Exception):
    pass


class Interpreter:
    def __init__(self) -> None:
        self.service = flowspan.TracingService()
        self.numbers = itertools.count()
        self.nodes: list[Node] = []
        self.tasks: list[asyncio.Task[None]] = []

    def node(self, kind: str, **known: Any) -> Node:
        node = Node(f"{kind}{next(self.numbers)}", **known)
        self.nodes.append(node)
        return node

    # ---- runs

    async def run(self, by_methods: bool, ended: bool, steps: list[Any]) -> None:
        node = self.node("run", parent=None)
        if by_methods:
            await self.service.start_tracers(node.name, node.name, None, None)
            await self.steps(steps, Around(node))
            if ended:
                node.ended = True
                await asyncio.create_task(self.service.end_tracers({"of": node.name}))
            else:
                node.outcome = "whatever its components and its task say"
        else:
            with flowspan.run(node.name, run_id=node.name):
                await self.steps(steps, Around(node))
                node.ended = True

    # ---- steps

    async def steps(self, steps: Any, around: Around) -> None:
        for step in steps:
            if isinstance(step, Pause):
                for _ in range(step.turns):
                    await asyncio.sleep(0)
            elif isinstance(step, Log):
                self.log(around)
            elif isinstance(step, Build):
                await self.build(step, around)
            elif isinstance(step, Spawn):
                task = asyncio.create_task(self.steps(step.steps, around))
                self.tasks.append(task)
                if step.cancel_after is not None:
                    self.tasks.append(asyncio.create_task(self.cancel(task, step.cancel_after)))
            elif isinstance(step, Thread):
                work = propagation.carry(self.in_thread) if step.carried else self.in_thread
                if step.carried:
                    await asyncio.get_running_loop().run_in_executor(None, work, step.steps, around)
                else:
                    await asyncio.to_thread(work, step.steps, around)
            elif isinstance(step, Abandon):
                await self.abandon(around)
            elif isinstance(step, Consume):
                await self.consume(step, around)
            # a nested run stands only in a component: `body` takes it

    async def cancel(self, task: asyncio.Task[None], turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()

    def log(self, around: Around) -> None:
        component = around.open_component()
        if component is not None:
            component.logs.append(f"log {next(self.numbers)}")
            self.service.add_log("", {"name": "n", "message": component.logs[-1], "type": "text"})

    def opened(self, around: Around, how: str) -> Node:
        run, outer = around.open_run(), around.open_component()
        below = outer is not None and outer.run is run and how != "five"
        return self.node("component", parent=outer if below else run, run=run)

    async def build(self, step: Build, around: Around) -> None:
        node = self.opened(around, step.how)
        inside = Around(node.run or around.run, (*around.components, node))
        try:
            if step.how == "five":
                component = flowspan.Component(node.name, node.name)
                async with self.service.trace_component(component, node.name, {}):
                    await self.body(step, node, inside)
            elif step.how == "with":
                with flowspan.component(node.name):
                    await self.body(step, node, inside)
            else:
                await flowspan.component(node.name)(self.body)(step, node, inside)
        except Boom:
            pass

    async def body(self, step: Build, node: Node, inside: Around) -> None:
        try:
            left_open = False
            for inner in step.steps:
                if isinstance(inner, Nested):
                    if not left_open:
                        left_open = not inner.ended
                        inside = await self.nested(inner, node, inside)
                else:
                    await self.steps((inner,), inside)
            if step.how != "decorated":
                self.outputs(node)
            if step.outcome == "error":
                node.outcome = "error"
                raise Boom(node.name)
        except asyncio.CancelledError:
            node.outcome = "cancelled"
            raise
        finally:
            node.ended = True
            for run in node.nested:
                run.ended = True

    async def nested(self, step: Nested, node: Node, around: Around) -> Around:
        run = self.node("run", parent=node, outer=node)
        node.nested.append(run)
        await self.service.start_tracers(run.name, run.name, None, None)
        inside = Around(run, around.components)
        run.outcome = "whatever its components say, or a cancellation meanwhile"
        await self.steps(step.steps, inside)
        if not step.ended:
            return inside
        run.outcome = "ok"
        run.ended = True
        await self.service.end_tracers({"of": run.name})
        return around

    def outputs(self, node: Node) -> None:
        component = flowspan.current_component()
        assert component is not None
        assert component.name == node.name
        component.set_outputs({"of": node.name})

    async def abandon(self, around: Around) -> None:
        node = self.opened(around, "with")
        node.outcome = "cancelled"

        inner = self.node("component", parent=node, run=node.run, outcome="cancelled")

        @flowspan.component(node.name)
        async def items() -> Any:
            with flowspan.component(inner.name):
                yield 1
                yield 2

        generator = items()
        await anext(generator)

    async def consume(self, step: Consume, around: Around) -> None:
        node = self.opened(around, "with")
        own = [node]

        @flowspan.component(node.name)
        async def items() -> Any:
            if step.how == "component":
                own.append(self.node("component", parent=node, run=node.run))
                with flowspan.component(own[1].name):
                    yield json.dumps({"of": node.name})
            else:
                run = self.node("run", parent=node, outer=node)
                run.outcome = "ok, or a cancellation meanwhile"
                await self.service.start_tracers(run.name, run.name, None, None)
                yield json.dumps({"of": node.name})
                await self.service.end_tracers({"of": run.name})

        try:
            async with contextlib.aclosing(items()) as generator:
                await anext(generator)
                await self.steps(step.steps, around)
                async for _ in generator:
                    pass
        except asyncio.CancelledError:
            for left in own:
                left.outcome = "cancelled"
            raise

    def in_thread(self, steps: Any, around: Around) -> None:
        for step in steps:
            if isinstance(step, Log):
                self.log(around)
            elif isinstance(step, Build):
                node = self.opened(around, "with")
                inside = Around(node.run or around.run, (*around.components, node))
                with flowspan.component(node.name):
                    self.in_thread(step.steps, inside)
                    self.outputs(node)
                    node.ended = True


async def play(runs: list[Any], spans: Any) -> Interpreter:
    interpreter = Interpreter()
    roots = [asyncio.create_task(interpreter.run(*run)) for run in runs]
    await asyncio.gather(*roots)
    while any(not task.done() for task in interpreter.tasks):
        await asyncio.gather(*interpreter.tasks, return_exceptions=True)
    for task in interpreter.tasks:
        if not task.cancelled():
            task.result()
    gc.collect()  # abandoned generators are closed by the loop, runs nobody ends by it too
    for _ in range(1000):
        if len(spans.all()) >= len(interpreter.nodes):
            break
        await asyncio.sleep(0)
    assert RUN.get() is None
    assert COMPONENT.get() is None
    return interpreter


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(RUNS)
def test_the_tree_is_what_the_program_meant(spans, failures, runs):
    """Parents, traces, logs, outputs and outcomes, for every component of every run."""
    spans.clear()
    failures.clear()
    threads = set(threading.enumerate())
    grace, _spans.GRACE = _spans.GRACE, 0  # type: ignore[misc]
    try:
        interpreter = asyncio.run(play(runs, spans))
    finally:
        _spans.GRACE = grace  # type: ignore[misc]
    found = {span.name: span for span in spans.all()}

    assert len(found) == len(spans.all())
    assert sorted(found) == sorted(node.name for node in interpreter.nodes)
    for node in interpreter.nodes:
        span = found[node.name]
        if node.parent is None:
            assert span.parent is None
            assert span.context.trace_id == propagation.trace_id(node.name)
        else:
            assert span.parent is not None
            assert span.parent.span_id == found[node.parent.name].context.span_id
            assert span.context.trace_id == found[node.parent.name].context.trace_id
        if node.run is None:
            if node.outcome == "ok":
                assert span.attributes[semconv.RUN_STATUS] == "ok"
            continue
        attributes = span.attributes
        assert attributes[semconv.RUN_ID] == node.run.name
        logs = [e.attributes[semconv.LOG_MESSAGE] for e in span.events if e.name == semconv.LOG]
        assert logs == node.logs
        if semconv.OUTPUT_MIME_TYPE in attributes and node.outcome == "ok":
            assert json.loads(attributes[semconv.OUTPUT_VALUE]) in ({"of": node.name}, None)
        outcome = attributes.get(semconv.COMPONENT_STATUS, "ok")
        assert ("error" if semconv.ERROR_TYPE in attributes else outcome) == node.outcome
    assert not [run for run in _spans._open_runs if not run.ended or run._open]
    assert not failures
    left = set(threading.enumerate()) - threads
    for thread in left:  # one that is just ending is none that was left
        thread.join(10)
    assert not [thread for thread in left if thread.is_alive()]


@pytest.mark.parametrize("how", ["with", "five"])
async def test_a_component_that_outlives_its_run(how: str, service, spans):
    """It ends where its work ends, in its run's trace, and its run is over before it."""
    go_on = asyncio.Event()

    async def late() -> None:
        scope: Any = (
            flowspan.component("late")
            if how == "with"
            else service.trace_component(None, "late", {})
        )
        async with scope:
            await go_on.wait()

    async def flow() -> asyncio.Task[None]:
        await service.start_tracers("r-1", "flow", None, None)
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
        await service.end_tracers({})
        return task

    task = await asyncio.create_task(flow())
    assert [span.name for span in spans.all()] == ["flow"]
    go_on.set()
    await task

    assert spans.tree() == {"flow": {"late": {}}}
    assert spans.named("late").end_time > spans.named("flow").end_time
