"""
The command `flowspan`. Only the wiring: each command is a module of its own.

The top layer: nothing in flowspan imports it, and click and rich are imported nowhere else.
"""

import click

from flowspan import __version__
from flowspan.cli._console import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="flowspan")
def main() -> None:
    """Every run of a workflow as one OpenTelemetry trace."""


@main.command()
@click.option(
    "--jaeger-url",
    default="http://localhost:16686",
    show_default=True,
    help="Where Jaeger's UI is; the links to the traces start with it.",
)
def demo(jaeger_url: str) -> None:
    """Run four small flows and show their traces.

    The spans go to the collector of the OTEL_ variables, by default on this machine. If none
    answers, the traces are shown in the terminal.
    """
    from flowspan.cli.demo import show

    show(jaeger_url)


@main.command()
@click.option(
    "--spool", metavar="DIR", help="The spool. Default: FLOWSPAN_SPOOL_DIR, else its own."
)
@click.option(
    "--endpoint", metavar="URL", help="Where to send. Default: OTEL_EXPORTER_OTLP_ENDPOINT."
)
@click.option("--parked", is_flag=True, help="Also try spans again that were refused for good.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def drain(spool: str | None, endpoint: str | None, parked: bool, as_json: bool) -> None:
    """Deliver the spans that dead processes have left in a spool.

    All settings of the OTEL_EXPORTER_OTLP_ variables count. Running processes
    keep what is theirs. What is not delivered stays in the spool, also after
    Ctrl-C.

    Exits with 0 if all is delivered or nothing was there, with 1 if something
    remains, with 2 for wrong arguments.
    """
    from flowspan.cli.drain import run

    run(spool, endpoint, parked, as_json)


@main.command()
@click.option(
    "--jaeger",
    metavar="URL",
    help="Look for the test span there, too. Default: port 16686, if one answers; none: don't.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 600),
    default=2.0,
    show_default=True,
    help="Seconds for the way to the collector.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def doctor(jaeger: str | None, timeout: float, as_json: bool) -> None:
    """Find out why no trace arrives.

    Says what is configured, tries the way to the collector step by step with
    one test span, and names what is wrong and what to do. Changes nothing.

    Exits with 0 if all is well, with 1 if something is wrong, with 2 for wrong
    arguments. What each line means: docs/doctor.md.
    """
    from flowspan.cli.doctor import run

    run(jaeger, timeout, as_json)
