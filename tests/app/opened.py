"""A program that waits to be killed in the middle of flows: `opened.py HOW`."""

import signal
import sys
import threading
import time

from made import Made, say
from opentelemetry import trace
from opentelemetry.trace import Span

import flowspan


def id_of(span: Span) -> str:
    return format(span.get_span_context().span_id, "016x")


def wait_until_written() -> None:
    """Until what is open is written down, as it is 20 ms after its start."""
    for processor in made.processors:
        while processor._open:
            time.sleep(0.002)
        with processor._lock:
            pass


def flow() -> None:
    """One component has ended, one is in the middle of a tool, when the process is killed."""
    with flowspan.run("flow", run_id=sys.argv[2]):
        trace_id = trace.get_current_span().get_span_context().trace_id
        with flowspan.component("A") as first:
            pass
        with flowspan.component("B", inputs={"question": "where"}) as second:
            with flowspan.component("Tool", type="tool") as tool:
                made.wait_until_safe()
                wait_until_written()
                say(f"ended {id_of(first.span)}", f"trace {trace_id:032x}")
                say(*(f"open {id_of(each.span)}" for each in (second, tool)), "ready")
                signal.pause()


def flows() -> None:
    """Short flows in two threads, one after another."""

    def work() -> None:
        while True:
            with flowspan.run("flow"):
                with flowspan.component("A") as component:
                    pass
            say(id_of(component.span))

    for _ in range(2):
        threading.Thread(target=work, daemon=True).start()
    signal.pause()


made = Made("flowspan")
globals()[sys.argv[1]]()
