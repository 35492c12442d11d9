"""Six components, for the load: benchmarks/langflow.py."""

from lfx.components.input_output import ChatInput, ChatOutput
from lfx.components.models_and_agents import PromptComponent
from lfx.graph import Graph
from parts import A, B, Join

question = ChatInput(_id="ChatInput-1")
prompt = PromptComponent(_id="Prompt-1").set(
    template="You said: {text}", text=question.message_response
)
a = A(_id="A-1").set(text=prompt.build_prompt)
b = B(_id="B-1").set(text=prompt.build_prompt)
join = Join(_id="Join-1").set(left=a.out, right=b.out)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=join.out)
graph = Graph(question, answer)
