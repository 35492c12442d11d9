"""A custom component that runs the flow Hello, and one that follows it."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import A, CallsHello

question = ChatInput(_id="ChatInput-1")
calls = CallsHello(_id="CallsHello-1").set(text=question.message_response)
a = A(_id="A-1").set(text=calls.out)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=a.out)
graph = Graph(question, answer)
