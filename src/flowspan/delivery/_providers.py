"""
OpenTelemetry's credential providers: a package hands out a ready session, or a gRPC credential.

They come by the entry point group of the stock exporters and by the variables that those read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from flowspan.delivery._transport import Refused, Verdict

GROUP = "opentelemetry_otlp_credential_provider"


def named(protocol: str, env: Mapping[str, str] = os.environ) -> str:
    """The provider that the environment names for `HTTP` or `GRPC`; empty for none."""
    prefix = f"OTEL_PYTHON_EXPORTER_OTLP_{protocol}"
    names = (f"{prefix}_TRACES_CREDENTIAL_PROVIDER", f"{prefix}_CREDENTIAL_PROVIDER")
    return next((text for name in names if (text := env.get(name, "").strip())), "")


def load(name: str, kind: type) -> Any:
    """What the provider *name* makes. Raises `Refused` if that is not a *kind*."""
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=name):
        try:
            made = point.load()()
        except Exception as error:
            text = f"the credential provider {name} failed ({type(error).__name__})"
            raise Refused(Verdict.MISCONFIGURED, text) from error
        if not isinstance(made, kind):
            text = f"the credential provider {name} made a {type(made).__name__}"
            raise Refused(Verdict.MISCONFIGURED, f"{text}, expected a {kind.__name__}")
        return made
    text = f"no installed package offers the credential provider {name}"
    raise Refused(Verdict.MISCONFIGURED, text)
