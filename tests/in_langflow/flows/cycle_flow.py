"""A text, doubled until it is eight times as long."""

from lfx.components.flow_controls import ConditionalRouterComponent
from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import Twice

question = ChatInput(_id="ChatInput-1")
router = ConditionalRouterComponent(_id="ConditionalRouter-1")
twice = Twice(_id="Twice-1").set(text=question.message_response, before=router.false_response)
router.set(
    input_text=twice.out,
    match_text="hihihihihihihihi",
    true_case_message=twice.out,
    false_case_message=twice.out,
    max_iterations=9,
)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=router.true_response)
graph = Graph(question, answer)
