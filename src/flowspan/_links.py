"""
Where a trace can be looked at: the link of a trace id, and one log line with it for each run.

`FLOWSPAN_TRACE_URL` gives the place. The line is logged at INFO by `flowspan.runs`, for runs that
somebody asked a link for: only where that variable, or `Config.trace_url`, is set.
"""

from __future__ import annotations

import logging
import re
from typing import Final
from urllib.parse import quote, urlsplit

from flowspan._last_resort import LastResort, set_last_resort
from flowspan.config import Config

logger = logging.getLogger("flowspan.runs")

_JAEGER: Final = "http://localhost:16686"
_LOOPBACK: Final = re.compile(r"localhost|127(\.\d+){3}|::1|0:0:0:0:0:0:0:1")
_UNSEEN: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")


def template(config: Config, *, exports: bool = True) -> str | None:
    """
    The link with its placeholders, or None where nothing says which it is.

    *exports*: spans go to the endpoint of *config*. A Jaeger on the machine of the collector has
    its pages on a port of its own.
    """
    if config.trace_url is not None:
        url = config.trace_url
        return url if "{" in url else f"{url.rstrip('/')}/trace/{{trace_id}}"
    if (
        exports
        and not config.disabled
        and any(name.startswith("otlp") for name in config.exporters)
        and _LOOPBACK.fullmatch(host_of(config.otlp.endpoint))
    ):
        return f"{_JAEGER}/trace/{{trace_id}}"
    return None


def host_of(endpoint: str) -> str:
    """Of a URL, of host:port and of gRPC's other targets; empty if there is none."""
    scheme, _, rest = endpoint.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return ""
    if scheme in ("dns", "ipv4", "ipv6") and not rest.isdigit():  # dns://server/host:port
        endpoint = rest.rpartition("/")[2].partition(",")[0]
    try:
        return urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or ""
    except ValueError:
        return ""


def fill(template: str, trace_id: int, run_id: str) -> str:
    """*template* with the ids in it, safe in any part of a URL."""
    filled = template.replace("{trace_id}", f"{trace_id:032x}")
    return filled.replace("{run_id}", quote(run_id, safe=""))


def be_ready(config: Config) -> None:
    """Let the lines through, unless somebody has set a level; where no handler is, to stderr."""
    if config.trace_url is not None:
        if config.log_level is None and logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
        set_last_resort(LastResort(logging.INFO))


def say(
    link: str, *, name: str, status: str, seconds: float | None, fields: dict[str, str]
) -> None:
    """
    The line of a run that is over. *fields* become the record's own, beside `url` and `status`.

    As with `extra`, but where a record factory has set one of them before, ours is in its place.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    lasted = "" if seconds is None else f" in {seconds:.2f} s"
    shown = _UNSEEN.sub(" ", name)  # one line, whoever named the run
    message = "%s: %s%s, %s"
    given = shown, status, lasted, link
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, given, None)
    record.__dict__.update(fields, status=status, url=link)
    logger.handle(record)
