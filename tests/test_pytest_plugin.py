"""`flowspan_spans` in suites as users have them: each test here runs a pytest of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

APP = """
import flowspan

def answer(question):
    with flowspan.run("Support bot", inputs=question):
        with flowspan.component("Prompt", type="prompt"):
            pass
"""


# of this environment; they import half of it
WITHOUT_OTHERS = ("-p", "no:hypothesispytest", "-p", "no:langsmith_plugin")


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory with an application in it; warnings are errors there as well."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    pytester.makepyfile(app=APP)
    pytester.makeini(
        "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function"
    )
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_subprocess(*WITHOUT_OTHERS, *arguments, timeout=300)


def test_the_example_of_everyday(suite: pytest.Pytester):
    """Several tests in a process: each begins with nothing, and with the same ids."""
    suite.makepyfile(
        """
        import pytest
        from app import answer

        @pytest.mark.parametrize("again", range(3))
        def test_answer(flowspan_spans, again):
            answer("Where?")
            assert flowspan_spans.tree() == {"Support bot": {"Prompt": {}}}
            assert flowspan_spans.named("Support bot").run_id == "run-1"

        def test_nothing(flowspan_spans):
            assert flowspan_spans.tree() == {}

        def test_without_it():
            pass
        """
    )
    run(suite).assert_outcomes(passed=5)


def test_a_tree_that_differs_is_shown(suite: pytest.Pytester):
    suite.makepyfile(
        """
        from app import answer

        def test_answer(flowspan_spans):
            answer("Where?")
            assert flowspan_spans.tree() == {"Support bot": {"Promt": {}, "Model": {}}}
        """
    )
    result = run(suite)

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *assert recorded (+) is not what is expected (-)",
            "E *   Support bot",
            "E * -   Model",
            "E * -   Promt",
            "E * +   Prompt",
        ]
    )


def test_a_leak_is_an_error_that_names_it(suite: pytest.Pytester):
    """Of the test, at its end; the next one begins with nothing again."""
    suite.makepyfile(
        """
        import asyncio
        import flowspan

        def test_engine(flowspan_spans):
            service = flowspan.TracingService()
            asyncio.run(service.start_tracers("r-1", "Support bot", None, None))

        def test_component(flowspan_spans):
            flowspan.component("Prompt").__enter__()

        def test_next(flowspan_spans):
            assert flowspan.current_component() is None
            assert flowspan_spans.tree() == {}
        """
    )
    result = run(suite)

    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_engine*",
            "run 'Support bot' (r-1) is still open: end it",
            "*ERROR at teardown of test_component*",
            "component 'Prompt' is still open: end it",
            "component 'Prompt' is still the current span: detach it",
        ]
    )


def test_a_test_that_fails_has_no_leak_on_top(suite: pytest.Pytester):
    """It may not have come to where it ends its run."""
    suite.makepyfile(
        """
        import flowspan

        def test_engine(flowspan_spans):
            flowspan.component("Prompt").__enter__()
            assert False
        """
    )
    run(suite).assert_outcomes(failed=1)


def test_with_pytest_asyncio(suite: pytest.Pytester):
    """Fixtures and tests are tasks of their own; what one opens the other may end."""
    suite.makepyfile(
        """
        import asyncio
        import pytest
        import pytest_asyncio
        import flowspan

        @pytest_asyncio.fixture
        async def bot(flowspan_spans):
            async with flowspan.run("Support bot") as run:
                yield run
            assert flowspan_spans.tree() == {"Support bot": {"a": {}, "b": {}}}
            assert flowspan_spans.named("Support bot").status == "ok"

        async def build(service, name):
            async with service.trace_component(flowspan.Component(name), name):
                await asyncio.sleep(0)

        @pytest.mark.asyncio
        async def test_in_the_run_of_the_fixture(bot, flowspan_spans):
            assert flowspan.current_run() is bot
            service = flowspan.TracingService()
            await asyncio.gather(build(service, "a"), build(service, "b"))
            assert {span.name for span in flowspan_spans.all()} == {"a", "b"}

        @pytest.mark.asyncio
        async def test_its_own(flowspan_spans):
            async with flowspan.run("Own"):
                await asyncio.gather(*(build(flowspan.TracingService(), n) for n in "ab"))
            assert flowspan_spans.tree() == {"Own": {"a": {}, "b": {}}}

        @pytest.mark.asyncio
        async def test_leak(flowspan_spans):
            await flowspan.TracingService().start_tracers("r-1", "Left", None, None)
        """
    )
    result = run(suite)

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["run 'Left' (r-1) is still open: end it"])


def test_with_anyio(suite: pytest.Pytester):
    suite.makepyfile(
        """
        import anyio
        import pytest
        import flowspan

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def part(name):
            async with flowspan.component(name):
                await anyio.sleep(0)

        @pytest.fixture
        async def bot(flowspan_spans):
            async with flowspan.run("Support bot") as run:
                yield run
            assert flowspan_spans.tree() == {"Support bot": {"a": {}, "b": {}}}

        async def test_in_the_run_of_the_fixture(bot, flowspan_spans):
            assert flowspan.current_run() is bot
            async with anyio.create_task_group() as group:
                group.start_soon(part, "a")
                group.start_soon(part, "b")

        async def test_task_group(flowspan_spans):
            async with flowspan.run("Own"), anyio.create_task_group() as group:
                group.start_soon(part, "a")
                group.start_soon(part, "b")
            assert flowspan_spans.tree() == {"Own": {"a": {}, "b": {}}}

        async def test_leak(flowspan_spans):
            await flowspan.TracingService().start_tracers("r-1", "Left", None, None)

        async def test_in_a_thread(flowspan_spans):
            def part():
                with flowspan.component("in a thread"):
                    pass
            async with flowspan.run("Support bot"):
                await anyio.to_thread.run_sync(part)
            assert flowspan_spans.tree() == {"Support bot": {"in a thread": {}}}
        """
    )
    result = run(suite)

    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["run 'Left' (r-1) is still open: end it"])


def test_in_parallel_with_xdist(suite: pytest.Pytester):
    """Each worker has its own."""
    suite.makepyfile(
        """
        import pytest
        from app import answer

        @pytest.mark.parametrize("number", range(12))
        def test_answer(flowspan_spans, number, worker_id):
            assert worker_id in ("gw0", "gw1")
            for _ in range(number):
                answer(number)
            assert [run.run_id for run in flowspan_spans.runs()] == [
                f"run-{n}" for n in range(1, number + 1)
            ]
        """
    )
    run(suite, "-n", "2").assert_outcomes(passed=12)


def test_an_application_that_configures_itself_at_import(suite: pytest.Pytester):
    """Its pipeline is in force again between two tests, and after them."""
    suite.makepyfile(
        shop="""
        import flowspan
        config = flowspan.Config(exporters=(), redact_keys=("question",))
        pipeline = flowspan.configure(config)
        service = flowspan.TracingService(pipeline)
        """,
        test_shop="""
        import flowspan
        import shop
        from app import answer

        async def flow():
            await shop.service.start_tracers("r-1", "Support bot", None, None)
            await shop.service.end_tracers({})

        def test_service(flowspan_spans):
            import asyncio
            asyncio.run(flow())
            assert flowspan_spans.tree() == {"Support bot": {}}

        def test_between():
            assert flowspan.configure() is shop.pipeline

        def test_again(flowspan_spans):
            assert flowspan.configure(shop.config) is not shop.pipeline
            answer("Where?")
            assert flowspan_spans.tree() == {"Support bot": {"Prompt": {}}}
        """,
    )
    run(suite).assert_outcomes(passed=3)


def test_a_suite_that_does_not_use_it_does_not_pay_for_it(suite: pytest.Pytester):
    """Neither flowspan nor OpenTelemetry is imported at pytest's start, nor for a test."""
    suite.makepyfile(
        """
        import sys

        def test_nothing_is_imported():
            assert "pytest_flowspan" in sys.modules
            heavy = ("flowspan", "opentelemetry", "orjson")
            assert [m for m in sys.modules if m.partition(".")[0] in heavy] == []

        def test_fails():
            assert {"a": {}} == {"b": {}}
        """
    )
    result = run(suite)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: assert {'a': {}} == {'b': {}}"])


def test_it_can_be_switched_off(suite: pytest.Pytester):
    suite.makepyfile(
        """
        import sys

        def test_it_is_not_here():
            assert "pytest_flowspan" not in sys.modules

        def test_uses_it(flowspan_spans):
            pass
        """
    )
    result = run(suite, "-p", "no:flowspan")

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E *fixture 'flowspan_spans' not found"])


def test_flowspan_may_be_there_before_pytest_starts(suite: pytest.Pytester):
    """No warning, which would be an error here; pytest looks at what a wheel has installed."""
    suite.makepyfile(
        test_it="""
        from app import answer

        def test_answer(flowspan_spans):
            answer("Where?")
            assert flowspan_spans.tree() == {"Support bot": {"Prompt": {}}}
        """,
        nothing="",
    )
    installed = suite.mkdir("wheel-1.dist-info")
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: wheel\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[pytest11]\nnothing = nothing\n")
    (installed / "RECORD").write_text("flowspan/__init__.py,,\nnothing.py,,\n")
    code = "import flowspan, pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"

    done = subprocess.run(
        [sys.executable, "-c", code, "-q", *WITHOUT_OTHERS],
        cwd=suite.path,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr
