"""Components that the flows are made of, beside Langflow's own."""

import os
from threading import Lock
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from lfx.base.models.model import LCModelComponent
from lfx.custom.custom_component.component import Component
from lfx.field_typing import LanguageModel
from lfx.io import BoolInput, HandleInput, IntInput, MessageTextInput, Output, SecretStrInput
from lfx.schema.data import Data
from lfx.schema.message import Message
from lfx.schema.properties import Usage
from meetings import meet


class A(Component):
    """Says what it was given, and its own name."""

    display_name = "A"
    name = "A"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(name="out", display_name="Out", method="out")]

    def out(self) -> Message:
        return Message(text=f"{self.text} {self.display_name}")


class B(A):
    display_name = "B"
    name = "B"


class Tells(A):
    """In which process it runs."""

    display_name = "Tells"
    name = "Tells"

    def out(self) -> Message:
        return Message(text=str(os.getpid()))


class Counts(A):
    """Has asked a model that nobody traces."""

    display_name = "Counts"
    name = "Counts"
    model_name = "untraced"

    def out(self) -> Message:
        self._token_usage = Usage(input_tokens=11, output_tokens=4, total_tokens=15)
        return Message(text=self.text)


class Join(Component):
    display_name = "Join"
    name = "Join"
    inputs = [
        MessageTextInput(name="left", display_name="Left"),
        MessageTextInput(name="right", display_name="Right"),
    ]
    outputs = [Output(name="out", display_name="Out", method="out")]

    def out(self) -> Message:
        return Message(text=f"{self.left} + {self.right}")


class Fails(Component):
    """Holds a secret wherever one can be."""

    display_name = "Fails"
    name = "Fails"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        MessageTextInput(
            name="plain", display_name="Plain", value="sk-proj-plain0123456789abcdefghij"
        ),
        SecretStrInput(
            name="password",
            display_name="Password",
            value="planted-in-a-password-field",
            load_from_db=False,
        ),
    ]
    outputs = [Output(name="out", display_name="Out", method="out")]

    def out(self) -> Message:
        self.log("trying with sk-proj-logged0123456789abcdefghij")
        raise ValueError("refused: password=raised0123456789 is wrong")


class Hostile:
    """As bad as Langflow's own service stands it: a key that is no text fails the flow there."""

    def __repr__(self) -> str:
        raise RuntimeError("leave me alone")

    __str__ = __iter__ = __len__ = __hash__ = __repr__


class Broken(A):
    """Its result is that of A; everything else about it is for nobody to read."""

    display_name = "Broken"
    name = "Broken"

    @property
    def flow_name_selected(self) -> Any:
        raise RuntimeError("no flow")

    def get_trace_as_inputs(self) -> dict[Any, Any]:
        return {
            "hostile": Hostile(),
            "never": (number for number in iter(int, 1)),
            "surrogate": "\ud800",
            "many": {str(number): {"bytes": b"\xff"} for number in range(5000)},
        }

    def get_trace_as_metadata(self) -> dict[Any, Any]:
        return {"hostile": Hostile(), "type": type, "lock": Lock()}


class Twice(Component):
    """Says twice what it said before; the first time, what it was given."""

    display_name = "Twice"
    name = "Twice"
    inputs = [
        MessageTextInput(name="text", display_name="Text"),
        MessageTextInput(name="before", display_name="Before"),
    ]
    # Of a cycle's components Langflow begins with one that allows a loop.
    outputs = [Output(name="out", display_name="Out", method="out", allows_loop=True)]

    def out(self) -> Message:
        return Message(text=(self.before or self.text) * 2)


class Waits(Component):
    """Goes on when somebody opens the door at the URL in the text."""

    display_name = "Waits"
    name = "Waits"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(name="out", display_name="Out", method="out")]

    async def out(self) -> Message:
        import httpx

        url = next(word for word in self.text.split() if word.startswith("http"))
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await client.get(url)
        return Message(text=self.text)


class CallsOut(Component):
    """Asks a server, by hand and with an instrumented client, whose span's ids it tells."""

    display_name = "Calls out"
    name = "CallsOut"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(name="out", display_name="Out", method="out")]

    async def out(self) -> Message:
        import httpx
        from opentelemetry import propagate
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        headers: dict[str, str] = {}
        propagate.inject(headers)
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await client.get(self.text + "/injected", headers=headers)

        ids: dict[str, str] = {}

        async def told(span: Any, request: object) -> None:
            ids["span"] = f"{span.get_span_context().span_id:016x}"
            ids["parent"] = f"{span.parent.span_id:016x}" if span.parent else ""

        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            HTTPXClientInstrumentor.instrument_client(client, request_hook=told)
            await client.get(self.text + "/instrumented")
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            await client.get(self.text + "/told", headers=ids)
        return Message(text="asked")


class CallsHello(Component):
    """A sub-flow as custom components have it: Langflow's helper."""

    display_name = "Calls Hello"
    name = "CallsHello"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(name="out", display_name="Out", method="out")]

    async def out(self) -> Message:
        from langflow.helpers.flow import run_flow

        inputs = {"input_value": self.text, "type": "chat"}
        await run_flow(inputs=inputs, flow_name="Hello", user_id=str(self.user_id))
        return Message(text="called")


class Tries(Component):
    """Runs a flow that fails, and goes on without it."""

    display_name = "Tries"
    name = "Tries"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(name="out", display_name="Out", method="out")]

    async def out(self) -> Message:
        from langflow.helpers.flow import run_flow

        inputs = {"input_value": self.text, "type": "chat"}
        try:
            await run_flow(inputs=inputs, flow_name="Failing", user_id=str(self.user_id))
        except ValueError:
            return Message(text="without it")
        raise AssertionError("the flow did not fail")


class Items(Component):
    display_name = "Items"
    name = "Items"
    inputs = [MessageTextInput(name="text", display_name="Text")]
    outputs = [Output(name="rows", display_name="Rows", method="rows")]

    def rows(self) -> list[Data]:
        return [Data(text=f"{self.text} {number}") for number in (1, 2, 3)]


class Body(Component):
    display_name = "Body"
    name = "Body"
    inputs = [HandleInput(name="row", display_name="Row", input_types=["Data", "JSON"])]
    outputs = [Output(name="out", display_name="Out", method="out")]

    def out(self) -> Data:
        return Data(text=f"did {self.row.get_text()}")


class Tail(Component):
    display_name = "Tail"
    name = "Tail"
    inputs = [
        HandleInput(
            name="rows", display_name="Rows", input_types=["DataFrame", "Table", "Data", "JSON"]
        )
    ]
    outputs = [Output(name="out", display_name="Out", method="out")]

    def out(self) -> Message:
        return Message(text=f"{len(self.rows)} rows")


class Scripted(BaseChatModel):
    """Calls the first tool that it has once, then says what it was asked."""

    model: str = "scripted"
    tokens: tuple[int, int] = (70, 30)
    tools: list = []
    meets: bool = False

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self.model_copy(update={"tools": [convert_to_openai_tool(tool) for tool in tools]})

    def _generate(self, messages: Any, *given: Any, **options: Any) -> ChatResult:
        asked = next(m.content for m in reversed(messages) if isinstance(m, HumanMessage))
        if self.meets:
            meet(asked)
        answer = AIMessage(content=f"Indeed: {asked}")
        if self.tools and not any(isinstance(message, ToolMessage) for message in messages):
            described = self.tools[0]["function"]
            what = asked if "sk-" in asked else "42"
            arguments = dict.fromkeys(described["parameters"]["properties"], what)
            answer = AIMessage(
                content="", tool_calls=[{"name": described["name"], "args": arguments, "id": "c-1"}]
            )
        given_tokens, made_tokens = self.tokens
        answer.usage_metadata = {
            "input_tokens": given_tokens,
            "output_tokens": made_tokens,
            "total_tokens": given_tokens + made_tokens,
        }
        return ChatResult(generations=[ChatGeneration(message=answer)])


class Model(LCModelComponent):
    """A model that needs no network, as Langflow's model components are made."""

    display_name = "Model"
    name = "Model"
    inputs = [
        *LCModelComponent.get_base_inputs(),
        IntInput(name="given_tokens", display_name="Given", value=70),
        IntInput(name="made_tokens", display_name="Made", value=30),
        BoolInput(name="meets", display_name="Meets", value=False),
    ]

    def build_model(self) -> LanguageModel:
        return Scripted(tokens=(self.given_tokens, self.made_tokens), meets=self.meets)


class Looks(Component):
    """A component that an agent uses as its tool."""

    display_name = "Looks"
    name = "Looks"
    inputs = [MessageTextInput(name="what", display_name="What", tool_mode=True)]
    outputs = [
        Output(name="seen", display_name="Seen", method="seen"),
        Output(
            name="component_as_tool", display_name="Toolset", method="to_toolkit", types=["Tool"]
        ),
    ]

    def seen(self) -> Message:
        """What is to be seen there."""
        self.log("looked")
        return Message(text=f"{self.what} is green")
