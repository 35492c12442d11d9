"""Two models, each of which answers only when the other is asked as well."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import Join, Model

question = ChatInput(_id="ChatInput-1")
large = Model(_id="Model-1").set(input_value=question.message_response, meets=True)
small = Model(_id="Model-2").set(
    input_value=question.message_response, given_tokens=7, made_tokens=3, meets=True
)
join = Join(_id="Join-1").set(left=large.text_response, right=small.text_response)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=join.out)
graph = Graph(question, answer)
