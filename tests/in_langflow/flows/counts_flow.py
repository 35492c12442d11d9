"""A component that counts its tokens itself, as those do that call a model without LangChain."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import A, Counts

question = ChatInput(_id="ChatInput-1")
counts = Counts(_id="Counts-1").set(text=question.message_response)
a = A(_id="A-1").set(text=counts.out)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=a.out)
graph = Graph(question, answer)
