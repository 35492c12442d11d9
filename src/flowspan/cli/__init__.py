"""
The command `flowspan`. Only the wiring: each command is a module of its own.

The top layer: nothing in flowspan imports it, and click and rich are imported nowhere else.
"""

import click

from flowspan import __version__


@click.group()
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
    """Run four small flows, about 3 seconds, and show their traces.

    The spans go to the collector of the OTEL_ variables, by default on this machine. If none
    answers, the traces are shown in the terminal.
    """
    from flowspan.cli.demo import show

    show(jaeger_url)
