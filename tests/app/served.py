"""A web application that answers with the ids of spans, each ended and promised; ASGI and WSGI."""

import os
from collections.abc import Callable, Iterable
from typing import Any

from made import Made

made = Made("both")
made.end()  # at import: with a preloaded application, before the workers are forked


def answer() -> bytes:
    ids = made.end(2)
    made.wait_until_safe()
    return " ".join([str(os.getpid()), *ids]).encode()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = answer()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    body = answer()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
