"""
`flowspan.trace_url`: where a run can be looked at, from the run or from its id alone.

Leans on `pipeline` for the configuration; opens no pipeline, and makes no span.
"""

from __future__ import annotations

from flowspan import _guard, _links
from flowspan._payload import identity
from flowspan._spans import Run, span_context_of
from flowspan.config import Config
from flowspan.context import current_run, trace_id
from flowspan.pipeline import pipeline_in_force

_LINK = _guard.guard("make a link", "there is none; give the run id as a text or a UUID")


def trace_url(run_id: object = None) -> str | None:
    """
    The page of a run's trace, by default of the run in context. Never raises.

    Where it leads says `FLOWSPAN_TRACE_URL` (`Config.trace_url`); unset, to a Jaeger on localhost
    if spans go to a collector on localhost. None where nothing says it, outside a run, and for a
    run that is not sampled. The trace can be there a few seconds later: first it is exported.

    *run_id*: of a run that this process knows, open or of the last few thousand, the link is that
    of its real trace. Of any other it is computed from the id, in whichever process the run was.
    That is right for a run without a parent, under flowspan's own provider; it cannot be right
    for one inside a request's trace (or another `traceparent`'s, or another run's), for one whose
    trace id another provider made, and leads nowhere for one that was not sampled.
    """
    with _LINK:
        pipeline = pipeline_in_force()
        run = current_run() if run_id is None else None
        if run_id is None and run is None:
            return None
        template = pipeline.link_template() if pipeline else _links.template(Config.from_env())
        if template is None:
            return None
        if run is not None:
            name, context = run.run_id, run.span.get_span_context()
        else:
            name = identity(run_id) or ""
            if not name:
                _guard.report(
                    "a link for what is no run id", "there is none; give a text or a UUID"
                )
                return None
            known = span_context_of(name)
            if known is None:
                return _links.fill(template, trace_id(name), name)
            context = known
        if not context.trace_flags.sampled:
            return None
        if isinstance(run, Run):
            name = run.public_id
        return _links.fill(template, context.trace_id, name)
    return None
