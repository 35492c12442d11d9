"""A component that runs the flow Failing and handles its failure."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import Tries

question = ChatInput(_id="ChatInput-1")
tries = Tries(_id="Tries-1").set(text=question.message_response)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=tries.out)
graph = Graph(question, answer)
