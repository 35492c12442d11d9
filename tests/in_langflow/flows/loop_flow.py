"""Langflow's Loop over three rows."""

from lfx.components.flow_controls import LoopComponent
from lfx.components.input_output import ChatInput, ChatOutput
from lfx.graph import Graph
from parts import Body, Items, Tail

question = ChatInput(_id="ChatInput-1")
items = Items(_id="Items-1").set(text=question.message_response)
loop = LoopComponent(_id="Loop-1").set(data=items.rows)
body = Body(_id="Body-1").set(row=loop.item_output)
loop.set(item=body.out)
tail = Tail(_id="Tail-1").set(rows=loop.done_output)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=tail.out)
graph = Graph(question, answer)
