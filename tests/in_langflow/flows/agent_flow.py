"""Langflow's own Agent with a component as its tool."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.components.models_and_agents import AgentComponent
from lfx.graph import Graph
from parts import Looks, Model

question = ChatInput(_id="ChatInput-1")
model = Model(_id="Model-1")
tool = Looks(_id="Looks-1").set(tool_mode=True)
agent = AgentComponent(_id="Agent-1").set(
    model=model.build_model, tools=tool.to_toolkit, input_value=question.message_response
)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=agent.message_response)
graph = Graph(question, answer)
