"""Langflow's own components only."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.components.models_and_agents import PromptComponent
from lfx.graph import Graph

question = ChatInput(_id="ChatInput-1")
prompt = PromptComponent(_id="Prompt-1").set(
    template="You said: {text}", text=question.message_response
)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=prompt.build_prompt)
graph = Graph(question, answer)
