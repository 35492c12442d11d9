"""Langflow's Human Input: A only when a person approves."""

from lfx.components.flow_controls import HumanInput
from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import A

question = ChatInput(_id="ChatInput-1")
human = HumanInput(_id="HumanInput-1").set(prompt=question.message_response)
a = A(_id="A-1").set(text=human.route_branch)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=a.out)
graph = Graph(question, answer)
