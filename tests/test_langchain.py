"""LangChain's and LangGraph's calls as spans: the real packages, models that answer from a list."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import json
import os
import pickle
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackManager
from langchain_core.documents import Document
from langchain_core.language_models import FakeListLLM
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import ToolException, tool
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

import flowspan
from flowspan import _calls
from flowspan.langchain import HANDLER, CallbackHandler

CONFIG: Any = {"callbacks": [HANDLER]}


@pytest.fixture(autouse=True)
def no_call_left_open() -> Iterator[None]:
    yield
    assert not _calls._open
    assert not flowspan._spans._lone_calls


class Model(GenericFakeChatModel):
    """Answers from a list; knows its name."""

    model: str = "fake-1"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def usage(given: int, made: int, **details: Any) -> dict[str, Any]:
    tokens = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    return {**tokens, **details}


def answer(text: str = "hello world", given: int = 7, made: int = 3, **more: Any) -> AIMessage:
    return AIMessage(text, usage_metadata=usage(given, made), **more)


def model(*answers: Any, **fields: Any) -> Model:
    return Model(messages=iter(answers or (answer(),)), **fields)


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


class Retriever(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(f"about {query}", metadata={"source": "book"})]

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        await asyncio.sleep(60)
        return []


# ---- what a span carries


def test_a_chat_model_is_a_client_span_below_its_component(spans):
    """Names and attributes are the conventions'; the run has the sum of the tokens."""
    chat = model(
        AIMessage(
            "hello",
            id="answer-1",
            usage_metadata=usage(
                7,
                3,
                input_token_details={"cache_read": 2},
                output_token_details={"reasoning": 1},
            ),
            response_metadata={"finish_reason": "stop", "model_name": "fake-1-2026"},
        )
    )
    with flowspan.run("flow", session_id="s-1", user_id="u-1", run_id="r-1"):
        with flowspan.component("LLM", type="llm"):
            chat.invoke([("system", "be kind"), ("user", "hi")], CONFIG, stop=["END"])

    assert spans.tree() == {"flow": {"LLM": {"chat fake-1": {}}}}
    span = spans.named("chat fake-1")
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    asked = [
        {"role": "system", "parts": [{"type": "text", "content": "be kind"}]},
        {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
    ]
    said = [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "hello"}],
            "finish_reason": "stop",
        }
    ]
    attributes = dict(span.attributes)
    assert json.loads(attributes.pop("gen_ai.input.messages")) == asked
    assert json.loads(attributes.pop("gen_ai.output.messages")) == said
    assert json.loads(attributes.pop("input.value")) == asked
    assert json.loads(attributes.pop("output.value")) == said
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "model",
        "gen_ai.conversation.id": "s-1",
        "gen_ai.request.model": "fake-1",
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.id": "answer-1",
        "gen_ai.response.model": "fake-1-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "openinference.span.kind": "LLM",
        "langwatch.span.type": "llm",
        "traceloop.span.kind": "task",
        "input.mime_type": "application/json",
        "output.mime_type": "application/json",
        "session.id": "s-1",
        "user.id": "u-1",
        "flowspan.run.id": "r-1",
        "flowspan.flow.name": "flow",
    }
    run = spans.named("flow").attributes
    assert run["flowspan.usage.total_tokens"] == 10
    assert "gen_ai.usage.input_tokens" not in spans.named("LLM").attributes


def test_a_text_model_and_what_it_was_asked(spans):
    with flowspan.run("flow"):
        FakeListLLM(responses=["yes"]).invoke("really?", CONFIG)

    assert spans.tree() == {"flow": {"text_completion": {}}}
    attributes = spans.named("text_completion").attributes
    assert json.loads(attributes["gen_ai.input.messages"])[0]["parts"] == [
        {"type": "text", "content": "really?"}
    ]
    assert json.loads(attributes["gen_ai.output.messages"])[0]["parts"] == [
        {"type": "text", "content": "yes"}
    ]


def test_the_parameters_of_a_request(spans, failures):
    """As the call gives them, or as LangSmith's parameters do; what is of another type is not."""
    run_id = uuid.uuid4()
    HANDLER.on_chat_model_start(
        None,
        [[HumanMessage("hi")]],
        run_id=run_id,
        metadata={"ls_provider": "azure", "ls_model_name": "gpt", "ls_max_tokens": 100},
        invocation_params={
            "temperature": 1,
            "top_p": 0.5,
            "top_k": "many",
            "seed": 42,
            "n": 2,
            "frequency_penalty": 0.1,
            "stop": "END",
        },
    )
    HANDLER.on_llm_end(SimpleNamespace(generations=[], llm_output=None), run_id=run_id)

    attributes = spans.named("chat gpt").attributes
    assert attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert {
        name.removeprefix("gen_ai.request."): value
        for name, value in attributes.items()
        if name.startswith("gen_ai.request.")
    } == {
        "model": "gpt",
        "temperature": 1.0,
        "max_tokens": 100,
        "top_p": 0.5,
        "seed": 42,
        "choice.count": 2,
        "frequency_penalty": 0.1,
        "stop_sequences": ("END",),
    }


def test_tokens_where_older_models_have_them(spans):
    run_id = uuid.uuid4()
    with flowspan.run("flow"):
        HANDLER.on_llm_start({"name": "Old"}, ["hi"], run_id=run_id)
        totals = {"token_usage": {"prompt_tokens": 5, "completion_tokens": 2}, "model_name": "old"}
        HANDLER.on_llm_end(SimpleNamespace(generations=[], llm_output=totals), run_id=run_id)

    assert spans.named("flow").attributes["flowspan.usage.total_tokens"] == 7


def test_messages_with_tool_calls_and_pictures(spans):
    """Tool calls and their answers are parts; a picture is named, not carried along."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
    call = {"name": "add", "args": {"a": 1}, "id": "c-1", "type": "tool_call"}
    with flowspan.run("flow"):
        model(AIMessage("", tool_calls=[call])).invoke(
            [
                HumanMessage([{"type": "text", "text": "see"}, picture]),
                AIMessage("", tool_calls=[call]),
                ToolMessage("1", tool_call_id="c-1"),
            ],
            CONFIG,
        )

    attributes = spans.named("chat fake-1").attributes
    asked = {"type": "tool_call", "id": "c-1", "name": "add", "arguments": {"a": 1}}
    messages = json.loads(attributes["gen_ai.input.messages"])
    assert messages == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "see"},
                {
                    "type": "image_url",
                    "content": {"type": "image_url", "image_url": {"url": "<5022 characters>"}},
                },
            ],
        },
        {"role": "assistant", "parts": [asked]},
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c-1", "response": "1"}],
        },
    ]
    assert json.loads(attributes["gen_ai.output.messages"])[0]["parts"] == [asked]


def test_a_tool_and_a_retriever(spans):
    with flowspan.run("flow"), flowspan.component("Agent", type="agent"):
        call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "c-1", "type": "tool_call"}
        add.invoke(call, CONFIG)
        Retriever().invoke("cats", CONFIG)

    assert spans.tree() == {"flow": {"Agent": {"execute_tool add": {}, "retrieval Retriever": {}}}}
    attributes = spans.named("execute_tool add").attributes
    assert attributes["gen_ai.operation.name"] == "execute_tool"
    assert attributes["gen_ai.tool.name"] == "add"
    assert attributes["gen_ai.tool.call.id"] == "c-1"
    assert json.loads(attributes["gen_ai.tool.call.arguments"]) == {"a": 1, "b": 2}
    assert attributes["gen_ai.tool.call.result"] == "3"
    attributes = spans.named("retrieval Retriever").attributes
    assert attributes["gen_ai.retrieval.query.text"] == "cats"
    assert json.loads(attributes["output.value"])[0]["page_content"] == "about cats"


def test_no_secret_in_the_arguments_of_a_tool(spans):
    """Neither under a telling key nor in running text, of the tool or of the model's request."""
    secret = "sk-proj-" + "a1B2" * 10

    @tool
    def login(password: str, text: str) -> str:
        """Logs in."""
        return f"token {secret}"

    arguments = {"password": "hunter2!", "text": f"use {secret}"}
    call = {"name": "login", "args": arguments, "id": "c-1", "type": "tool_call"}
    with flowspan.run("flow"):
        model(AIMessage("", tool_calls=[call])).invoke(f"with {secret}", CONFIG)
        login.invoke(call, CONFIG)

    wire = "".join(span.to_json() for span in spans.all())
    assert secret not in wire
    assert "hunter2" not in wire
    assert spans.named("execute_tool login").attributes["flowspan.redacted"] == 3


def test_hidden_content_leaves_sizes_and_tokens(configured):
    spans = configured(capture_content=False)
    with flowspan.run("flow"):
        model().invoke("hush", CONFIG)
        with pytest.raises(ValueError, match="hush"):
            RunnableLambda(fails).with_config(run_name="fails").invoke("hush", CONFIG)

    assert "hush" not in "".join(span.to_json() for span in spans.all())
    attributes = spans.named("chat fake-1").attributes
    assert attributes["flowspan.input.bytes"] > 0
    assert attributes["gen_ai.usage.input_tokens"] == 7
    assert not [name for name in attributes if name.endswith((".messages", ".value"))]


def test_what_is_cut_says_so(configured):
    spans = configured(max_payload_bytes=200)
    with flowspan.run("flow"):
        model(answer("y" * 500)).invoke("x" * 500, CONFIG)

    attributes = spans.named("chat fake-1").attributes
    assert set(attributes["flowspan.truncated"]) == {
        *("input.value", "gen_ai.input.messages", "output.value", "gen_ai.output.messages"),
    }
    json.loads(attributes["gen_ai.output.messages"])


# ---- streaming


class Streaming(Model):
    """Streams its chunks; the last has the tokens."""

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for text in ("hel", "lo"):
            yield ChatGenerationChunk(message=AIMessageChunk(text))
        yield ChatGenerationChunk(message=AIMessageChunk("", usage_metadata=usage(7, 3)))


async def test_a_stream_has_its_time_to_the_first_chunk(spans):
    with flowspan.run("flow"):
        assert "".join(chunk.text for chunk in Streaming(messages=iter(())).stream("hi", CONFIG))
        async for _ in Streaming(messages=iter(())).astream("hi", CONFIG):
            pass

    assert spans.tree() == {"flow": {"chat fake-1": {}, "chat fake-1#2": {}}}
    for span in spans.all()[:2]:
        assert span.attributes["gen_ai.request.stream"] is True
        seconds = (span.end_time - span.start_time) / 1e9
        assert 0 < span.attributes["gen_ai.response.time_to_first_chunk"] <= seconds
        assert span.attributes["gen_ai.usage.output_tokens"] == 3
    assert spans.named("flow").attributes["flowspan.usage.total_tokens"] == 20


def test_an_abandoned_stream_is_cancelled(spans):
    """What had come until then is there."""
    with flowspan.run("flow"):
        stream = Streaming(messages=iter(())).stream("hi", CONFIG)
        next(stream)
        stream.close()

    span = spans.named("chat fake-1")
    assert span.attributes["flowspan.call.status"] == "cancelled"
    assert span.status.status_code is StatusCode.UNSET
    assert [event.name for event in span.events] == ["flowspan.cancelled"]
    assert "hel" in span.attributes["output.value"]


def test_a_stream_that_nobody_ends_ends_with_its_component(spans):
    with flowspan.run("flow"):
        with flowspan.component("LLM"):
            stream = Streaming(messages=iter(())).stream("hi", CONFIG)
            next(stream)
        assert not _calls._open
        assert [span.name for span in spans.all()] == ["chat fake-1", "LLM"]
        stream.close()

    assert spans.named("chat fake-1").attributes["flowspan.call.status"] == "abandoned"


# ---- errors, cancellations, retries


def fails(value: Any) -> Any:
    raise ValueError(f"no {value}")


@tool
def broken() -> str:
    """Fails."""
    raise ValueError("no luck")


def test_an_error_is_shown_once_where_it_was_raised(spans):
    with pytest.raises(ValueError, match="no luck"):
        with flowspan.run("flow"), flowspan.component("Agent"):
            (RunnableLambda(lambda _: {}) | broken).with_config(run_name="steps").invoke(1, CONFIG)

    assert spans.tree() == {"flow": {"Agent": {"steps": {"execute_tool broken": {}}}}}
    for span in spans.all():
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == "ValueError"
    assert [span.name for span in spans.all() if span.events] == ["execute_tool broken"]


def test_a_tool_error_that_the_model_gets_as_an_answer(spans):
    @tool
    def picky() -> str:
        """Refuses."""
        raise ToolException("not today")

    picky.handle_tool_error = True
    with flowspan.run("flow"):
        picky.invoke({"name": "picky", "args": {}, "id": "c-1", "type": "tool_call"}, CONFIG)

    span = spans.named("execute_tool picky")
    assert span.status.description == "not today"
    assert span.attributes["error.type"] == "tool_error"
    assert spans.named("flow").status.status_code is StatusCode.UNSET


def test_a_model_that_is_tried_again_is_a_second_span(spans):
    class Flaky(Model):
        def _generate(self, *args: Any, **kwargs: Any) -> Any:
            answers.pop(0)()
            return super()._generate(*args, **kwargs)

    def refuse() -> None:
        raise ConnectionError("busy")

    answers = [refuse, lambda: None]
    with flowspan.run("flow"):
        chat = Flaky(messages=iter([answer()]))
        chat.with_retry(wait_exponential_jitter=False).invoke("hi", CONFIG)

    assert spans.tree() == {"flow": {"Flaky": {"chat fake-1": {}, "chat fake-1#2": {}}}}
    first, second, _, flow = spans.all()
    assert first.attributes["error.type"] == "ConnectionError"
    assert second.status.status_code is StatusCode.UNSET
    assert flow.attributes["flowspan.usage.total_tokens"] == 10


def test_a_retry_inside_a_call_is_an_event(spans):
    run_id = uuid.uuid4()
    outcome: Any = SimpleNamespace(done=lambda: True, exception=lambda: ConnectionError("busy"))
    with flowspan.run("flow"):
        HANDLER.on_llm_start(None, ["hi"], run_id=run_id)
        HANDLER.on_retry(SimpleNamespace(attempt_number=1, outcome=outcome), run_id=run_id)
        HANDLER.on_llm_error(ConnectionError("busy"), run_id=run_id)

    retry, exception = spans.named("text_completion").events
    assert retry.name == "flowspan.retry"
    assert dict(retry.attributes) == {"flowspan.retry.attempt": 1, "error.type": "ConnectionError"}
    assert exception.name == "exception"


class Slow(Model):
    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(60)


async def cancelled(coroutine: Any) -> None:
    task = asyncio.ensure_future(coroutine)
    while not _calls._open:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_call_is_cancelled_not_failed(spans):
    @tool
    async def sleepy() -> None:
        """Sleeps."""
        await asyncio.sleep(60)

    async def build() -> None:
        with flowspan.component("LLM"):
            await Slow(messages=iter(())).ainvoke("hi", CONFIG)  # LangChain says nothing of it

    with flowspan.run("flow"):
        await cancelled(build())
        await cancelled(sleepy.ainvoke({}, CONFIG))

    assert spans.tree() == {"flow": {"LLM": {"chat fake-1": {}}, "execute_tool sleepy": {}}}
    for name in ("chat fake-1", "execute_tool sleepy"):
        span = spans.named(name)
        assert span.attributes["flowspan.call.status"] == "cancelled"
        assert span.status.status_code is StatusCode.UNSET
        assert [event.name for event in span.events] == ["flowspan.cancelled"]


async def test_a_cancelled_retriever_of_which_langchain_says_nothing(spans):
    """It ends with the chain around it, or with its component."""
    with flowspan.run("flow"):
        chain = (RunnableLambda(lambda x: x) | Retriever()).with_config(run_name="search")

        async def search() -> None:
            await chain.ainvoke("cats", CONFIG)

        task = asyncio.ensure_future(search())
        while len(_calls._open) < 2 or not any(
            c.kind == "retriever" for c in _calls._open.values()
        ):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not _calls._open
        with flowspan.component("Search"):
            await cancelled(Retriever().ainvoke("cats", CONFIG))

    statuses = [span.attributes.get("flowspan.call.status") for span in spans.all()]
    assert statuses == ["cancelled", "cancelled", "abandoned", None, None]


# ---- isolation


@pytest.mark.parametrize("way", ["gather", "batch", "abatch"])
async def test_parallel_models_keep_their_tokens_apart(spans, way):
    """70/30 on the one, 7/3 on the other, whatever runs beside it."""

    async def build(name: str, given: int, made: int) -> None:
        chat = model(answer(name, given, made), model=name)
        with flowspan.component(name, type="llm"):
            if way == "gather":
                await chat.ainvoke("hi", CONFIG)
            elif way == "batch":
                await asyncio.to_thread(chat.batch, ["hi"], CONFIG)
            else:
                await chat.abatch(["hi"], CONFIG)

    with flowspan.run("flow"):
        await asyncio.gather(build("large", 70, 30), build("small", 7, 3))

    assert spans.tree() == {"flow": {"large": {"chat large": {}}, "small": {"chat small": {}}}}
    for name, tokens in (("chat large", (70, 30)), ("chat small", (7, 3))):
        attributes = spans.named(name).attributes
        found = (attributes[f"gen_ai.usage.{kind}_tokens"] for kind in ("input", "output"))
        assert tuple(found) == tokens
    run = spans.named("flow").attributes
    assert run["flowspan.usage.input_tokens"] == 77
    assert run["flowspan.usage.output_tokens"] == 33


def test_a_component_knows_that_a_call_below_it_carries_tokens(spans):
    """So a bridge that has them as well does not count them twice."""
    with flowspan.run("flow"):
        with flowspan.component("outer") as outer, flowspan.component("inner") as inner:
            assert not inner.usage_below
            model().invoke("hi", CONFIG)
            assert inner.usage_below
            assert outer.usage_below
        with flowspan.component("other") as other:
            pass
    assert not other.usage_below


def test_an_answer_from_langchains_cache_costs_no_tokens(spans):
    from langchain_core.caches import InMemoryCache

    chat = model(answer("once"), cache=InMemoryCache())
    with flowspan.run("flow"):
        chat.invoke("hi", CONFIG)
        chat.invoke("hi", CONFIG)

    assert spans.named("flow").attributes["flowspan.usage.total_tokens"] == 10


def test_a_handler_that_was_kept_finds_the_component_of_the_call(spans):
    """The toolset was built in one component and is used in another; copied on the way."""
    with flowspan.run("flow"):
        with flowspan.component("Toolset"):
            kept = copy.deepcopy({"callbacks": flowspan.TracingService().get_langchain_callbacks()})
        with flowspan.component("Agent"):
            add.invoke({"a": 1, "b": 2}, kept)

    assert spans.tree() == {"flow": {"Toolset": {}, "Agent": {"execute_tool add": {}}}}


def test_all_handlers_are_one():
    made = CallbackHandler()
    for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made)), HANDLER):
        assert other == made
        assert hash(other) == hash(made)


def test_two_handlers_make_one_span(spans):
    with flowspan.run("flow"):
        model().invoke("hi", {"callbacks": [HANDLER, CallbackHandler()]})

    assert spans.tree() == {"flow": {"chat fake-1": {}}}


def test_threads_with_and_without_a_context(spans):
    """A thread that knows nothing finds its parent by LangChain's own id."""
    chat = model(answer(), answer())

    def step(value: Any, config: Any) -> Any:
        thread = threading.Thread(target=chat.invoke, args=("hi", config))
        thread.start()
        thread.join()
        copied = contextvars.copy_context()
        thread = threading.Thread(target=copied.run, args=(chat.invoke, "hi", CONFIG))
        thread.start()
        thread.join()

    with flowspan.run("flow"), flowspan.component("Code"):
        RunnableLambda(step).with_config(run_name="step").invoke(1, CONFIG)

    assert spans.tree() == {"flow": {"Code": {"step": {"chat fake-1": {}, "chat fake-1#2": {}}}}}
    assert spans.named("flow").attributes["flowspan.usage.total_tokens"] == 20


def test_a_run_inside_a_tool_keeps_its_own_calls(spans):
    """LangChain's parent is the tool; the component that was opened since is nearer."""

    @tool
    def flow_as_tool() -> str:
        """A flow."""
        with flowspan.run("sub-flow"), flowspan.component("LLM"):
            return model().invoke("hi", CONFIG).text

    with flowspan.run("flow"), flowspan.component("Agent"):
        flow_as_tool.invoke({}, CONFIG)

    below = {"sub-flow": {"LLM": {"chat fake-1": {}}}}
    assert spans.tree() == {"flow": {"Agent": {"execute_tool flow_as_tool": below}}}


# ---- what is shown


def test_plumbing_is_not_shown_and_passes_parentage_on(spans):
    prompt = ChatPromptTemplate.from_template("say {x}")
    query = RunnableLambda(lambda prompt: prompt.to_string())
    chain = prompt | RunnableParallel(a=model() | StrOutputParser(), b=query | Retriever())
    named = (RunnableLambda(lambda x: {"x": str(x)}) | chain).with_config(run_name="My chain")
    with flowspan.run("flow"), flowspan.component("Code"):
        named.invoke(1, CONFIG)

    below = spans.tree()["flow"]["Code"]["My chain"]
    assert sorted(below) == ["chat fake-1", "retrieval Retriever"]


def test_without_a_run_a_chain_is_a_trace(spans):
    """A chain is shown if it is the root: its calls stay together."""
    chain = ChatPromptTemplate.from_template("say {x}") | model() | StrOutputParser()

    list(chain.stream({"x": "1"}, CONFIG))

    assert spans.tree() == {"RunnableSequence": {"chat fake-1": {}}}
    attributes = spans.named("RunnableSequence").attributes
    assert json.loads(attributes["input.value"]) == {"x": "1"}
    assert attributes["output.value"] == "hello world"


def test_without_a_run_it_nests_below_the_active_span(spans):
    """And does not if that one has ended: a task may inherit it."""
    tracer = flowspan.configure().tracer()
    with tracer.start_as_current_span("request") as request:
        (ChatPromptTemplate.from_template("say {x}") | model()).invoke({"x": "1"}, CONFIG)
        request.end()
        add.invoke({"a": 1, "b": 2}, CONFIG)

    assert spans.trees() == [{"request": {"chat fake-1": {}}}, {"execute_tool add": {}}]


def test_an_agent_of_langchain(spans):
    from langchain.agents import create_agent

    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "c-1", "type": "tool_call"}
    chat = model(AIMessage("", tool_calls=[call], usage_metadata=usage(70, 30)), answer("3"))
    agent = create_agent(chat, tools=[add], name="calculator")
    with flowspan.run("flow", session_id="s-1"), flowspan.component("Agent", type="agent"):
        agent.invoke({"messages": [("user", "1+2?")]}, CONFIG)

    assert spans.tree() == {
        "flow": {
            "Agent": {
                "invoke_agent calculator": {
                    "model": {"chat fake-1": {}},
                    "tools": {"execute_tool add": {}},
                    "model#2": {"chat fake-1": {}},
                }
            }
        }
    }
    attributes = spans.named("invoke_agent calculator").attributes
    assert attributes["gen_ai.operation.name"] == "invoke_agent"
    assert attributes["gen_ai.agent.name"] == "calculator"
    assert attributes["gen_ai.conversation.id"] == "s-1"
    assert attributes["openinference.span.kind"] == "AGENT"
    run = spans.named("flow").attributes
    assert run["flowspan.usage.input_tokens"] == 77
    assert run["flowspan.usage.output_tokens"] == 33


class State(TypedDict):
    number: int


def graph(node: Any, **options: Any) -> Any:
    from langgraph.graph import START, StateGraph

    builder = StateGraph(State)
    builder.add_node("step", node)
    builder.add_edge(START, "step")
    return builder.compile(**options)


async def test_a_graph_and_its_nodes(spans):
    """One span a node, below the graph's; a graph inside a node below the node."""
    inner = graph(lambda state: {"number": state["number"] + 1}, name="inner")
    outer = graph(lambda state: inner.invoke(state), name="outer")
    with flowspan.run("flow"), flowspan.component("Graph"):
        assert outer.invoke({"number": 1}, CONFIG) == {"number": 2}
        assert [step async for step in inner.astream({"number": 1}, CONFIG)]

    assert spans.tree()["flow"]["Graph"] == {
        "outer": {"step": {"inner": {"step": {}}}},
        "inner": {"step": {}},
    }
    span = next(span for span in spans.all() if span.name == "outer")
    assert json.loads(span.attributes["input.value"]) == {"number": 1}
    assert json.loads(span.attributes["output.value"]) == {"number": 2}


def test_a_graph_that_waits_for_somebody_is_paused_not_failed(spans):
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command, interrupt

    asking = graph(lambda state: {"number": interrupt("how many?")}, checkpointer=InMemorySaver())
    config = {**CONFIG, "configurable": {"thread_id": "t-1"}}
    with flowspan.run("flow"):
        asking.invoke({"number": 1}, config)
        assert asking.invoke(Command(resume=5), config) == {"number": 5}

    assert spans.tree() == {"flow": {"LangGraph": {"step": {}}, "LangGraph#2": {"step": {}}}}
    first, *others = spans.all()
    assert first.attributes["flowspan.call.status"] == "paused"
    assert not [span for span in others if "flowspan.call.status" in span.attributes]
    assert not [span for span in spans.all() if span.status.status_code is StatusCode.ERROR]


def test_a_command_to_the_graph_around_is_no_error(spans):
    from langgraph.graph import START, StateGraph
    from langgraph.types import Command

    inner = graph(lambda state: Command(graph=Command.PARENT, goto="last", update={"number": 7}))
    builder = StateGraph(State)
    builder.add_node("first", inner, destinations=("last",))
    builder.add_node("last", lambda state: {"number": state["number"] + 1})
    builder.add_edge(START, "first")
    with flowspan.run("flow"):
        assert builder.compile().invoke({"number": 1}, CONFIG) == {"number": 8}

    assert not [span for span in spans.all() if span.status.status_code is StatusCode.ERROR]


def test_an_agent_that_says_so_while_it_runs(spans):
    """LangChain's executor under a name of one's own, and LangGraph's prebuilt agent."""
    executor, graph, node = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
    with flowspan.run("flow"):
        HANDLER.on_chain_start(None, {}, run_id=executor, name="Helper")
        HANDLER.on_agent_action(object(), run_id=executor)
        HANDLER.on_chain_end({}, run_id=executor)
        HANDLER.on_chain_start(None, {}, run_id=graph, name="LangGraph")
        about = {"name": "agent", "metadata": {"langgraph_node": "agent"}}
        HANDLER.on_chain_start(None, {}, run_id=node, parent_run_id=graph, **about)
        HANDLER.on_chain_end({}, run_id=node)
        HANDLER.on_chain_end({}, run_id=graph)

    assert spans.tree() == {"flow": {"invoke_agent Helper": {}, "invoke_agent": {"agent": {}}}}
    assert spans.named("invoke_agent Helper").attributes["gen_ai.agent.name"] == "Helper"


def test_a_call_after_its_run_is_still_of_its_trace(spans):
    """As a component that opens late; it is in nobody's way."""

    def late() -> None:
        model().invoke("hi", CONFIG)

    with flowspan.run("flow"):
        copied = contextvars.copy_context()
    copied.run(late)

    assert spans.tree() == {"flow": {"chat fake-1": {}}}


def test_a_shutdown_ends_what_is_open(spans):
    run_id = uuid.uuid4()
    HANDLER.on_tool_start({"name": "t"}, "x", run_id=run_id)
    flowspan.configure().shutdown()

    assert not _calls._open
    assert spans.named("execute_tool t").attributes["flowspan.call.status"] == "abandoned"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_calls_of_its_parent_alone(spans):
    run_id = uuid.uuid4()
    with flowspan.run("flow"):
        HANDLER.on_tool_start({"name": "t"}, "x", run_id=run_id)
        child = os.fork()
        if child == 0:
            HANDLER.on_tool_end("of the child", run_id=run_id)
            os._exit(len(spans.all()))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        HANDLER.on_tool_end("y", run_id=run_id)

    assert spans.named("execute_tool t").attributes["output.value"] == "y"


# ---- others who trace LangChain


@pytest.fixture(params=["openinference", "traceloop"])
def instrumentor(request, monkeypatch):
    # OpenLLMetry's `uninstrument` leaves its handler in place (0.62)
    monkeypatch.setattr(BaseCallbackManager, "__init__", BaseCallbackManager.__init__)
    if request.param == "openinference":
        module = pytest.importorskip("openinference.instrumentation.langchain")
        made = module.LangChainInstrumentor()
    else:
        module = pytest.importorskip("opentelemetry.instrumentation.langchain")
        made = module.LangchainInstrumentor()
    yield made
    if made.is_instrumented_by_opentelemetry:
        made.uninstrument()


def model_spans(spans: Any) -> list[Any]:
    return [span for span in spans.all() if "Model" in span.name or "chat" in span.name.lower()]


def test_another_instrumentation_of_the_same_provider_is_left_to_it(spans, instrumentor):
    """One span a model call, and still its tokens in the run's sum."""
    provider = flowspan.configure()._provider()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    with flowspan.run("flow"), flowspan.component("LLM") as component:
        model().invoke("hi", CONFIG)
        assert component.usage_below

    (span,) = model_spans(spans)
    assert span.instrumentation_scope.name != "flowspan"
    assert span.parent.span_id == spans.named("LLM").context.span_id
    assert spans.named("flow").attributes["flowspan.usage.total_tokens"] == 10


def test_another_instrumentation_that_sends_elsewhere_does_not_count(spans, instrumentor):
    """As Langflow's vendor tracers do: our trace would lack the model."""
    from opentelemetry.sdk.trace import TracerProvider

    instrumentor.instrument(tracer_provider=TracerProvider(), skip_dep_check=True)
    with flowspan.run("flow"):
        model().invoke("hi", CONFIG)

    assert spans.tree() == {"flow": {"chat fake-1": {}}}


def test_another_instrumentation_without_a_provider_does_not_count(spans, instrumentor):
    """It makes no span at all: the model's call would be nowhere."""
    instrumentor.instrument(tracer_provider=trace.ProxyTracerProvider(), skip_dep_check=True)
    with flowspan.run("flow"):
        model().invoke("hi", CONFIG)

    assert spans.tree() == {"flow": {"chat fake-1": {}}}


# ---- nothing breaks LangChain


WILD = (None, 1, "text", [], {}, [None], [[None]], object(), {"id": 7}, ["x"], b"\xff")


@pytest.fixture
def counted():
    """Failures of ours are counted as in production."""
    from flowspan import _guard

    previous = _guard.set_handler(lambda kind, error, advice: None)
    yield
    _guard.set_handler(previous)


@pytest.mark.parametrize("wild", WILD, ids=lambda value: type(value).__name__)
def test_wild_input_raises_nothing(spans, counted, wild):
    for start in ("chat_model", "llm", "tool", "retriever", "chain"):
        end = "llm" if start == "chat_model" else start
        run_id = uuid.uuid4()
        kwargs = {"run_id": run_id, "parent_run_id": wild, "tags": wild, "metadata": wild}
        begin: Any = getattr(HANDLER, f"on_{start}_start")
        if start != "chain":
            kwargs["inputs"] = wild
        begin(wild, wild, invocation_params=wild, name=wild, **kwargs)
        begin(wild, wild, run_id=run_id)
        begin(wild, wild)
        HANDLER.on_llm_new_token(wild, run_id=run_id)
        HANDLER.on_retry(wild, run_id=run_id)
        HANDLER.on_agent_action(wild, run_id=run_id)
        for _ in range(2):
            getattr(HANDLER, f"on_{end}_end")(wild, run_id=run_id)
        getattr(HANDLER, f"on_{end}_error")(ValueError(), run_id=run_id)
        getattr(HANDLER, f"on_{end}_error")(ValueError(), run_id=wild)


def test_a_full_table_ends_the_oldest(spans, failures, monkeypatch):
    monkeypatch.setattr(_calls, "MAX_OPEN", 2)
    ids = [uuid.uuid4() for _ in range(3)]
    with flowspan.run("flow"):
        for run_id in ids:
            HANDLER.on_tool_start({"name": "t"}, "x", run_id=run_id)
        assert len(_calls._open) == 2
        assert failures == ["too many open calls"]
        for run_id in ids:
            HANDLER.on_tool_end("y", run_id=run_id)

    statuses = [span.attributes.get("flowspan.call.status") for span in spans.all()]
    assert statuses == ["abandoned", None, None, None]


@pytest.mark.parametrize("settings", [{"sampler": "always_off"}, {"disabled": True}])
def test_what_is_not_recorded_is_not_looked_at(configured, monkeypatch, settings):
    spans = configured(**settings)
    monkeypatch.setattr("flowspan.langchain.message", fails)
    with flowspan.run("flow"), flowspan.component("LLM"):
        model().invoke("hi", CONFIG)
        assert not _calls._open
        found = flowspan.TracingService().get_langchain_callbacks()
        assert found == ([] if "disabled" in settings else [HANDLER])
    model().invoke("hi", CONFIG)

    assert spans.all() == []


def test_without_langchain_one_sentence_says_what_is_missing():
    program = "import sys; sys.modules['langchain_core'] = None; import flowspan.langchain"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: flowspan.langchain traces LangChain, and langchain-core is not installed "
        "here: pip install 'flowspan[langchain]'"
    )


def test_importing_flowspan_imports_no_langchain():
    program = "import sys, flowspan; assert not [m for m in sys.modules if m.startswith('lang')]"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
