"""
Components of which one attribute raises after another, and then all, under our service.

Run by Langflow's Python. Prints for each what its work gave; the session says which one it was.
"""

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

from flowspan.langflow import LangflowTracingService

WHOLE: dict[str, Any] = {
    "_vertex": {
        "id": "A-1",
        "incoming_edges": [
            {"source_id": "B-1", "source_handle": {"name": "out"}, "target_param": "text"}
        ],
        "graph": {
            "pause_requested": True,
            "checkpointing_enabled": True,
            "pause_info": {"data": {"request_id": "B-1:1"}},
        },
    },
    "_id": "A-1",
    "id": "A-1",
    "display_name": "A",
    "name": "A",
    "trace_type": "tool",
    "type": "tool",
    "flow_name_selected": "Flow",
    "_token_usage": {"input_tokens": 7, "output_tokens": 3},
    "model_name": "scripted",
}


class Part:
    """Has the attributes of *whole*; reading one of *broken*, named with its path, raises."""

    def __init__(self, whole: dict[str, Any], broken: set[str], path: str = "") -> None:
        object.__setattr__(self, "given", (whole, broken, path))

    def __getattribute__(self, name: str) -> Any:
        whole, broken, path = object.__getattribute__(self, "given")
        if f"{path}{name}" in broken or "*" in broken:
            raise RuntimeError(f"leave {name} alone")
        if name not in whole:
            raise AttributeError(name)
        return made(whole[name], broken, f"{path}{name}.")


def made(value: Any, broken: set[str], path: str) -> Any:
    if isinstance(value, dict) and "data" not in value:
        return Part(value, broken, path)
    if isinstance(value, list):
        return [made(item, broken, path) for item in value]
    return value


def paths(whole: Any, above: str = "") -> list[str]:
    if isinstance(whole, list):
        return paths(whole[0], above)
    if not isinstance(whole, dict) or "data" in whole:
        return []
    return [one for name in whole for one in (above + name, *paths(whole[name], f"{above}{name}."))]


async def work(service: LangflowTracingService, component: Any) -> str:
    async with service.trace_component(component, "A (A-1)", {"text": "hi"}, {}):
        outputs = {"out": "half"}
        service.set_outputs("A (A-1)", outputs)
        outputs["out"] = "done"
        for _ in range(2):  # as lfx does
            service.set_outputs("A (A-1)", outputs)
        return outputs["out"]


async def main() -> None:
    service = LangflowTracingService()
    before = SimpleNamespace(id="B-1", display_name="B")
    for broken in ["nothing", *paths(WHOLE), "*"]:
        await service.start_tracers(f"r {broken}", "Flow", None, broken)
        async with service.trace_component(before, "B", {}, {}):
            pass
        print(await work(service, Part(WHOLE, {broken})), broken)
        await service.end_tracers({}, None)
    await service.teardown()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
