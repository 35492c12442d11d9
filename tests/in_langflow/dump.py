"""Run by Langflow's Python: every `flows/*_flow.py` -> `{directory}/{name}.json`, as exported."""

import json
import sys
from importlib import import_module
from pathlib import Path

flows = Path(__file__).parent / "flows"
sys.path.insert(0, str(flows))
for file in sorted(flows.glob("*_flow.py")):
    name = file.stem.removesuffix("_flow")
    dumped = import_module(file.stem).graph.dump(name=name.replace("_", " ").capitalize())
    Path(sys.argv[1], f"{name}.json").write_text(json.dumps(dumped, default=str))
