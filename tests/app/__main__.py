"""A web application with flows, as a platform team has one; run by `opentelemetry-instrument`."""

import sys

import httpx
import uvicorn
from fastapi import FastAPI

import flowspan

port, downstream = int(sys.argv[1]), sys.argv[2]
app = FastAPI()
service = flowspan.TracingService()


@app.get("/flow")
async def flow() -> dict[str, str]:
    await service.start_tracers("r-1", "Support bot", None, None)
    async with service.trace_component(flowspan.Component("A-1", "A"), "A (A-1)", {}):
        async with httpx.AsyncClient() as client:
            answer = await client.get(downstream)
    await service.end_tracers({})
    return {"status": str(answer.status_code)}


uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
