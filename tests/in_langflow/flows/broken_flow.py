"""A component object that raises wherever one looks, with values that nothing can serialise."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import Broken

question = ChatInput(_id="ChatInput-1")
broken = Broken(_id="Broken-1").set(text=question.message_response)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=broken.out)
graph = Graph(question, answer)
