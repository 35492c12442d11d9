"""Two branches that can run at the same time, and what joins them."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import A, B, Join

question = ChatInput(_id="ChatInput-1")
a = A(_id="A-1").set(text=question.message_response)
b = B(_id="B-1").set(text=question.message_response)
join = Join(_id="Join-1").set(left=a.out, right=b.out)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=join.out)
graph = Graph(question, answer)
