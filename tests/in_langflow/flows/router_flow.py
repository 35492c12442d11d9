"""Langflow's If-Else: A for "left", B for anything else."""

from lfx.components.flow_controls import ConditionalRouterComponent
from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import A, B, Join

question = ChatInput(_id="ChatInput-1")
router = ConditionalRouterComponent(_id="ConditionalRouter-1").set(
    input_text=question.message_response,
    match_text="left",
    true_case_message=question.message_response,
    false_case_message=question.message_response,
)
a = A(_id="A-1").set(text=router.true_response)
b = B(_id="B-1").set(text=router.false_response)
join = Join(_id="Join-1").set(left=a.out, right=b.out)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=join.out)
graph = Graph(question, answer)
