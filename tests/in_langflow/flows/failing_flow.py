"""A component that works, one that does not, one that is never reached."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import A, Fails

question = ChatInput(_id="ChatInput-1")
a = A(_id="A-1").set(text=question.message_response)
fails = Fails(_id="Fails-1").set(text=a.out)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=fails.out)
graph = Graph(question, answer)
