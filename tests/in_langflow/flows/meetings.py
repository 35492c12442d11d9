"""Where two model calls wait for each other. A module: Langflow runs `parts` once a component."""

from threading import Barrier

_meetings: dict[str, Barrier] = {}


def meet(name: str) -> None:
    """Until another calls it with that name."""
    _meetings.setdefault(name, Barrier(2, timeout=20)).wait()
