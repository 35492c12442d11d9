"""A component that tells which process it runs in."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import Tells

question = ChatInput(_id="ChatInput-1")
tells = Tells(_id="Tells-1").set(text=question.message_response)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=tells.out)
graph = Graph(question, answer)
