"""Named by an `lfx.toml`: ours, with an endpoint that Langflow did not see when it started."""

import os

from flowspan.langflow import LangflowTracingService


class Late(LangflowTracingService):
    def __init__(self) -> None:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = os.environ["LATE_ENDPOINT"]
        super().__init__()
