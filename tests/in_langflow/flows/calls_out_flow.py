"""A component that calls a server outside."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import CallsOut

question = ChatInput(_id="ChatInput-1")
calls = CallsOut(_id="CallsOut-1").set(text=question.message_response)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=calls.out)
graph = Graph(question, answer)
