"""Uses flowspan while the flow is read: before Langflow asks for its tracing service."""

import sys

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph

import flowspan

first = "flowspan.langflow" not in sys.modules
with flowspan.run("Early", session_id="early", metadata={"first": first}):
    with flowspan.component("Reads", id="Reads-1"):
        pass

question = ChatInput(_id="ChatInput-1")
answer = ChatOutput(_id="ChatOutput-1").set(input_value=question.message_response)
graph = Graph(question, answer)
