"""Langflow's own Run Flow on the flow Hello, and a component that follows it."""

from lfx.components.flow_controls import RunFlowComponent
from lfx.components.input_output import ChatOutput
from lfx.graph import Graph
from lfx.io import Output
from parts import A

run_flow = RunFlowComponent(_id="RunFlow-1").set(
    flow_name_selected="Hello", flow_id_selected="ID-OF-HELLO"
)
# What the user interface adds when the flow is chosen: its output as one of the component's.
added = run_flow._register_flow_output_method(vertex_id="ChatOutput-1", output_name="message")
resolve = getattr(run_flow, added)
output = Output(
    name="ChatOutput-1~message",
    display_name="Chat Output",
    method=resolve.__name__,
    types=["Message"],
    selected="Message",
)
run_flow._sync_flow_outputs([output])
del run_flow._outputs_map["component_as_tool"]
a = A(_id="A-1").set(text=resolve)
answer = ChatOutput(_id="ChatOutput-1").set(input_value=a.out)
graph = Graph(run_flow, answer)
