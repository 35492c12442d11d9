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
    "--jaeger",
    metavar="URL",
    help="Where links to the traces lead. Default: FLOWSPAN_TRACE_URL, else port 16686, if a "
    "Jaeger answers there.",
)
@click.option(
    "--runs",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="So many runs, 50 at once. Default: each of the four flows once.",
)
@click.option("--live", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--no-browser", is_flag=True, help="Say where the page is, open no browser.")
def demo(jaeger: str | None, runs: int | None, live: bool, no_browser: bool) -> None:
    """Run four small flows and show their traces.

    The spans go to the collector of the OTEL_ variables, by default on this
    machine; you get links to the traces. If none answers, the traces are shown in
    the terminal and as a page in the browser.
    """
    if live and runs is not None:
        raise click.UsageError("--runs: --live goes on until Ctrl-C; leave one of them out")
    from flowspan.cli.demo import Asked, show

    show(jaeger, Asked(runs=runs or 4, live=live, browser=not no_browser))


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


@main.command()
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--spool",
    is_flag=False,
    flag_value="",
    metavar="[DIR]",
    help="What waits there. Default: as for drain.",
)
@click.option(
    "--listen",
    is_flag=False,
    flag_value="",
    metavar="[[HOST:]PORT]",
    help="Be a collector. Default: ports 4318 and 4317.",
)
@click.option("--trace", metavar="ID", help="This trace; the first digits are enough.")
@click.option("--run", metavar="ID", help="The trace of this run.")
@click.option("--name", metavar="TEXT", help="Runs with TEXT in their name.")
@click.option("--errors", is_flag=True, help="Traces in which something failed.")
@click.option("--span", metavar="ID", help="One span, whole: inputs, outputs, events.")
@click.option("--tree", is_flag=True, help="Trees, even of several traces.")
@click.option("--all", "everything", is_flag=True, help="However many lines it takes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--html", metavar="FILE", help="Write a page with the traces.")
@click.option("--otlp-json", metavar="FILE", help="Write what Jaeger's upload page takes.")
@click.option(
    "--max-spans",
    default=200_000,
    metavar="N",
    type=click.IntRange(min=1),
    help="Keep so many, the youngest. Default: 200,000.",
)
def view(
    files: tuple[str, ...],
    spool: str | None,
    listen: str | None,
    trace: str | None,
    run: str | None,
    name: str | None,
    errors: bool,
    span: str | None,
    tree: bool,
    everything: bool,
    as_json: bool,
    html: str | None,
    otlp_json: str | None,
    max_spans: int,
) -> None:
    """Look at traces: in files, in a spool, or as they come.

    FILE is OTLP JSON, also packed, of the Collector, Jaeger or this command;
    - is the standard input. One trace is drawn as a tree, several are listed.
    Exits with 0 if all is well, 1 if something failed, 2 for wrong arguments.
    """
    from flowspan.cli.view._asked import Asked
    from flowspan.cli.view._command import look

    look(
        Asked(
            files=files,
            spool=spool,
            listen=listen,
            trace=trace,
            run=run,
            name=name,
            errors=errors,
            span=span,
            tree=tree,
            all=everything,
            as_json=as_json,
            html=html,
            otlp_json=otlp_json,
            max_spans=max_spans,
        )
    )
