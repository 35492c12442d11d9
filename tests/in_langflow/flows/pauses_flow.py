"""A, a pause as long as the test wants it, B."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import A, B, Waits

question = ChatInput(_id="ChatInput-1")
a = A(_id="A-1").set(text=question.message_response)
waits = Waits(_id="Waits-1").set(text=a.out)
b = B(_id="B-1").set(text=waits.out)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=b.out)
graph = Graph(question, answer)
