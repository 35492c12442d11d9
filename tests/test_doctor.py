"""`flowspan doctor` on all but the way: settings, provider, spool, Langflow, other tracers."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectors import Raw, closing, request_of
from doctors import at, examine, silent
from faults import Collector
from flowspan.cli.doctor import _langflow, _neighbours, _provider
from flowspan.cli.doctor._lines import Line, State
from flowspan.cli.doctor._settings import Settings
from flowspan.cli.doctor._way import STEPS
from flowspan.delivery._spool import Spool
from test_cli import COMMAND, closed_port, flowspan_command

pytestmark = pytest.mark.usefixtures("no_proxy_of_the_machine")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with closing(Collector()) as collector:
        yield collector


def settings_of(**variables: str) -> dict[str, Line]:
    return {line.what: line for line in Settings(variables).lines(whole=True)}


# ---- settings


def test_each_setting_and_where_it_is_from() -> None:
    """The variable, or nothing for a default; the signal's own variable wins."""
    lines = settings_of(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318",
        OTEL_EXPORTER_OTLP_TIMEOUT="3",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="5",
        OTEL_SERVICE_NAME="shop",
    )

    assert lines["endpoint"].seen == "http://collector:4318/v1/traces"
    assert lines["endpoint"].variable == "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert lines["timeout"].seen == "5 s"
    assert lines["timeout"].variable == "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"
    assert lines["service_name"].seen == "shop"
    assert lines["compression"].variable == ""


def test_a_value_that_is_not_understood_is_no_source() -> None:
    """The next variable is, or the default."""
    lines = settings_of(OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="soon", OTEL_EXPORTER_OTLP_TIMEOUT="3")

    assert lines["timeout"].variable == "OTEL_EXPORTER_OTLP_TIMEOUT"
    assert lines["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"].state is State.WRONG


def test_a_target_of_grpc_is_a_source() -> None:
    """host:port is no URL, and right for gRPC."""
    lines = settings_of(
        OTEL_EXPORTER_OTLP_ENDPOINT="collector:4317", OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
    )

    assert lines["endpoint"].seen == "collector:4317"
    assert lines["endpoint"].variable == "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_every_problem_of_the_environment_at_once() -> None:
    """Each a red line, before all else: what was found, what is accepted, what is used now."""
    report = examine(
        OTEL_PROPAGATORS="tracecontext,jaegr",
        OTEL_BSP_SCHEDULE_DELAY="soon",
        OTEL_EXPORTER_OTLP_ENDPOINT="collector:4318",
        OTEL_TRACES_SAMPLER="sometimes",
    )

    wrong = {line["what"]: line for line in report.lines if line["state"] == "wrong"}
    assert report.code == 1
    assert report.wrong["what"] == "OTEL_PROPAGATORS"
    assert "no installed package offers 'jaegr'" in report.wrong["seen"]
    assert "baggage, tracecontext or none" in report.wrong["expected"]
    assert wrong["OTEL_BSP_SCHEDULE_DELAY"]["seen"] == "'soon'"
    assert "such as 5000" in wrong["OTEL_BSP_SCHEDULE_DELAY"]["expected"]
    assert "using 5000" in wrong["OTEL_BSP_SCHEDULE_DELAY"]["do"]
    assert {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"} <= {*wrong}


def test_an_endpoint_that_cannot_be_understood() -> None:
    """It is as if it were not set, so nothing is sent: no line says that the default is used."""
    report = examine(OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318")

    assert report.wrong["what"] == "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert report.wrong["seen"] == "'localhost:4318'"
    assert report.wrong["do"].endswith("now: as if it were not set")
    assert "OTEL_EXPORTER_OTLP_ENDPOINT cannot be" in report.line("tracer provider")["seen"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("FLOWSPAN_SPOOL_DIRECTORY", "FLOWSPAN_SPOOL_DIR"),
        ("OTEL_EXPORTER_OTLP_ENDPIONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_SERVICENAME", "OTEL_SERVICE_NAME"),
    ],
)
def test_a_name_that_is_misspelt(name: str, meant: str) -> None:
    """It is set, nobody reads it, and one is near."""
    line = settings_of(**{name: "x"})[name]

    assert line.state is State.WRONG
    assert meant in line.do


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_LOGS_EXPORTER", "OTEL_PYTHON_CONTEXT"]
)
def test_a_name_that_is_somebody_elses(name: str) -> None:
    """No word about it."""
    assert name not in settings_of(**{name: "x"})


def test_a_certificate_without_tls(certificates: Path) -> None:
    """It has no effect, which is worth a note."""
    lines = settings_of(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318",
        OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificates / "ca.pem"),
    )

    assert lines["OTEL_EXPORTER_OTLP_CERTIFICATE"].state is State.NOTE


def test_no_secret_is_shown(collector: Collector) -> None:
    """Not in a header, a URL, a resource attribute or a vendor's key, in neither form."""
    secrets = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url.replace("//", "//maria:opensesame@"),
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cr3theader,x-tenant=blue4711",
        "OTEL_RESOURCE_ATTRIBUTES": "team=red,password=hunter2222",
        "LANGFUSE_SECRET_KEY": "sk-lf-123456",
        "FLOWSPAN_REDACT_KEYS": "+",
        "OTEL_TRACES_SAMPLER": "sk-lf-123456",
    }
    report = examine(**secrets)
    text = flowspan_command("doctor", "--jaeger", "none", **secrets).stdout

    headers = report.line("headers", "Settings")
    assert headers["seen"] == "authorization, x-tenant"
    for secret in ("opensesame", "maria", "s3cr3theader", "blue4711", "hunter2222", "sk-lf-1"):
        assert secret not in report.text
        assert secret not in text
    assert report.state("test span") == "well"


# ---- where nothing is configured, or all is off


def test_nothing_is_configured() -> None:
    """What to set."""
    report = examine()

    assert report.code == 1
    assert report.wrong["what"] == "tracer provider"
    assert "export OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318" in report.wrong["do"]


def provider(collector: str = "", **variables: str) -> Line:
    return _provider.line(Settings(variables), collector)


def test_a_collector_that_is_found_where_nothing_is_configured() -> None:
    """Its address is what to set."""
    line = provider("http://localhost:4317")

    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4317 (a collector answers" in line.do


@pytest.mark.parametrize(
    ("variables", "state", "seen"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, State.WRONG, "switched off by OTEL_SDK_DISABLED"),
        (
            {"LANGFLOW_DEACTIVATE_TRACING": "1", "OTEL_SDK_DISABLED": ""},
            State.WRONG,
            "switched off by LANGFLOW_DEACTIVATE_TRACING",
        ),
        ({"FLOWSPAN_EXPORT": "never"}, State.NOTE, "FLOWSPAN_EXPORT is never"),
        ({"FLOWSPAN_EXPORT": "always"}, State.WELL, "FLOWSPAN_EXPORT is always"),
        ({"OTEL_TRACES_EXPORTER": "none"}, State.WRONG, "OTEL_TRACES_EXPORTER is none"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, State.WELL, "OTEL_TRACES_EXPORTER is set"),
        (
            {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "always_off"},
            State.WRONG,
            "records nothing: OTEL_TRACES_SAMPLER is always_off",
        ),
        (
            {
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_TRACES_SAMPLER": "traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0.25",
            },
            State.WELL,
            "a part of 0.25",
        ),
        (
            {
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": "0.0",
            },
            State.WRONG,
            "records nothing: OTEL_TRACES_SAMPLER_ARG=0.0",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"},
            State.WELL,
            "OTEL_EXPORTER_OTLP_ENDPOINT is set",
        ),
    ],
)
def test_which_provider_and_why(variables: dict[str, str], state: State, seen: str) -> None:
    """The rule of the pipeline, with the variable that decides."""
    line = provider(**variables)

    assert line.state is state
    assert seen in line.seen
    assert (line.do != "") is (state is not State.WELL)


def below_opentelemetry_instrument(collector: Collector, *, metrics: str = "none") -> str:
    """What the doctor says there."""
    command = str(Path(sys.executable).parent / "opentelemetry-instrument")
    environment = os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": metrics,
        "OTEL_LOGS_EXPORTER": "none",
    }
    return subprocess.run(
        [command, COMMAND, "doctor", "--jaeger", "none"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def test_opentelemetry_instrument_that_has_set_no_provider(collector: Collector) -> None:
    """An exporter that it wants is not installed: it goes on without a provider, and we say so."""
    said = below_opentelemetry_instrument(collector, metrics="missing")

    assert "and it has set no provider" in said
    assert "opentelemetry-distro[otlp]" in said


def test_a_provider_that_is_set_in_this_process(collector: Collector) -> None:
    """As below `opentelemetry-instrument`: named by its class."""
    said = below_opentelemetry_instrument(collector)

    assert "opentelemetry.sdk.trace.TracerProvider, which is set in this process" in said
    assert "opentelemetry-instrument: this process runs below it" in said


def test_opentelemetry_that_cannot_be_imported(tmp_path: Path) -> None:
    """A broken installation: the report says so, and tells what it can."""
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise RuntimeError('half of it')")

    report = examine(PYTHONPATH=str(tmp_path), OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")

    assert report.code == 1
    assert report.wrong["what"] == "OpenTelemetry"
    assert "RuntimeError: half of it" in report.wrong["seen"]
    assert "pip install" in report.wrong["do"]
    assert report.line("endpoint", "Settings")["variable"] == "OTEL_EXPORTER_OTLP_ENDPOINT"


# ---- the spool


def test_what_waits_in_the_spool(tmp_path: Path, collector: Collector) -> None:
    """Spans, bytes, age, who holds it, and what is parked; nothing is changed."""
    directory = tmp_path / "spool"
    spool = Spool(directory, max_bytes=1 << 24, max_age=3600, on_dropped=lambda n, why: None)
    for _ in range(3):
        spool.append(request_of(), 1)
    spool.park(request_of(), 1, "too old")
    before = {path.name: path.read_bytes() for path in directory.iterdir()}

    report = examine(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, FLOWSPAN_SPOOL_DIR=str(directory))

    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before
    spool.close()
    assert report.code == 0
    assert f"{directory} (FLOWSPAN_SPOOL_DIR): can be written" in report.line("directory")["seen"]
    assert report.line("waiting")["seen"].startswith("3 spans in ")
    assert f"flowspan drain --spool {directory}" in report.line("waiting")["do"]
    assert report.line("held by")["seen"] == f"1 process: {os.getpid()}"
    assert report.line("parked")["seen"].startswith("1 span that")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: (path.mkdir(), path.chmod(0o777)), "others may write"),
        (lambda path: path.symlink_to(path.parent), "a symbolic link"),
    ],
)
def test_a_directory_that_is_refused(
    tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    """The words of the spool itself."""
    directory = tmp_path / "spool"
    make(directory)

    report = examine(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{closed_port()}",
        FLOWSPAN_SPOOL_DIR=str(directory),
    )

    line = report.line("directory")
    assert line["state"] == "wrong"
    assert why in line["seen"]
    assert "FLOWSPAN_SPOOL_DIR" in line["do"]


def test_a_directory_that_is_missing_is_not_made(tmp_path: Path, collector: Collector) -> None:
    """The one above it can be written, so it will be made."""
    directory = tmp_path / "not" / "yet"

    report = examine(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, FLOWSPAN_SPOOL_DIR=str(directory))

    assert "made with the first span" in report.line("directory")["seen"]
    assert not directory.parent.exists()


def test_no_spool(collector: Collector) -> None:
    """By configuration: a note."""
    report = examine(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, FLOWSPAN_SPOOL_DIR="none")

    assert report.code == 0
    assert report.state("directory") == "note"


# ---- Langflow, and other tracers


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`packages(lfx="1.13.0")`: installed, as far as anyone can tell from what pip writes."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(entry_points: str = "", **versions: str) -> None:
        for name, version in versions.items():
            folder = site / f"{name}-{version}.dist-info"
            folder.mkdir()
            name = name.replace("_", "-")
            (folder / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
            (folder / "entry_points.txt").write_text(entry_points)

    return install


def langflow(**variables: str) -> dict[str, Line]:
    return {line.what: line for line in _langflow.lines(Settings(variables))}


def test_langflow_and_its_plug(packages: Callable[..., None]) -> None:
    """Versions that are known, and the plug is ours."""
    packages(lfx="1.13.0", langflow_base="1.13.0")

    lines = langflow(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318")

    assert lines["Langflow"].seen == "langflow-base 1.13.0, lfx 1.13.0"
    assert {line.state for line in lines.values()} == {State.WELL, State.NOTE}
    assert lines["tracing service"].state is State.WELL
    assert "LANGFLOW_OTEL_DB_SPANS" in lines["its own provider"].do


def test_a_langflow_that_is_not_known(packages: Callable[..., None]) -> None:
    """A note: it may work."""
    packages(lfx="1.99.0")

    assert langflow()["Langflow"].state is State.NOTE


def test_the_plug_is_taken(packages: Callable[..., None]) -> None:
    """By another package."""
    packages("[lfx.services]\ntracing_service = other.tracing:Service\n", other_tracing="2.0")
    packages(lfx="1.13.0")

    line = langflow()["tracing service"]

    assert line.state is State.WRONG
    assert "other-tracing (other.tracing:Service) offers one as well" in line.seen


def test_a_file_takes_the_plug(
    packages: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`lfx.toml` wins over every package."""
    packages(lfx="1.13.0")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "lfx.toml"
    file.write_text('[services]\ntracing_service = "mine:Service"\n')

    line = langflow()["tracing service"]

    assert line.state is State.WRONG
    assert f"{file} names mine:Service" in line.seen


def test_other_tracers(packages: Callable[..., None]) -> None:
    """Those that variables switch on, by the variables' names; the others in one line."""
    packages(langfuse="3.2.1", opik="1.0")

    lines = {
        line.what: line
        for line in _neighbours.lines(
            {
                "LANGFUSE_SECRET_KEY": "sk-lf-123456",
                "LANGSMITH_TRACING": "false",
                "TRACELOOP_API_KEY": "x",
            }
        )
    }

    assert lines["Langfuse"].seen == "langfuse 3.2.1; LANGFUSE_SECRET_KEY is set"
    assert "FLOWSPAN_EXPORT=always" in lines["Langfuse"].do
    assert lines["Traceloop"].seen.startswith("no package of it; ")
    assert "opik 1.0" in lines["installed"].seen
    assert "LangSmith" not in lines


# ---- as a person sees it


def test_a_pipe_gets_plain_lines(collector: Collector) -> None:
    """One for each thing, however long, no escape sequence, nothing on the standard error."""
    done = flowspan_command("doctor", "--jaeger", "none", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "  well     connection: to 127.0.0.1:" in done.stdout
    assert done.stdout.splitlines()[-1] == "All is well"


def test_the_last_line_says_where_to_begin() -> None:
    """With the first that is red."""
    done = flowspan_command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://no-such-host.invalid:1")

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("Begin with name: check the host in ")


def in_terminal(*arguments: str, **variables: str) -> str:
    """What a terminal of 80 columns shows."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"} | variables
    process = subprocess.Popen(
        [COMMAND, *arguments], env=environment, stdout=theirs, stderr=theirs, stdin=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # Linux says so at the end of a terminal
    finally:
        os.close(ours)
        process.wait()
    return shown.decode()


def test_a_terminal_gets_colours(collector: Collector) -> None:
    """Unless NO_COLOR is set: the words are the same."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}

    coloured = in_terminal("doctor", "--jaeger", "none", **variables)
    plain = in_terminal("doctor", "--jaeger", "none", NO_COLOR="1", **variables)

    assert "\x1b[32m" in coloured
    assert "\x1b[32m" not in plain
    assert "All is well" in plain


PAGE = (Path(__file__).parents[1] / "docs" / "doctor.md").read_text()


def test_the_example_of_the_page() -> None:
    """What the page shows of the way is what a terminal shows, but for ports and times."""
    example = PAGE.split("…\n", 2)[1].split("…\n", 1)[0]
    with closing(at("/v1/traces", (404, {}, b"404 page not found"))) as there:
        shown = in_terminal(
            "doctor",
            "--jaeger",
            "none",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://localhost:{there.port}/v1/traces",
            NO_COLOR="1",
        )

    if "localhost is 127.0.0.1 " not in shown:
        pytest.skip("localhost has other addresses here")
    shown = shown.replace(str(there.port), "4318")
    passing = r"\x1b\[[0-9;?]*[a-zA-Z]|\s+[\d,]+ ms"  # control sequences and times
    said, seen = ("".join(re.sub(passing, "", text).split()) for text in (example, shown))
    assert said in seen


def test_the_page_tells_of_each_line() -> None:
    """Each name of a line that the modules make, but those of settings and of other tracers."""
    folder = Path(_langflow.__file__).parent
    code = "".join((folder / f"_{name}.py").read_text() for name in ("langflow", "spool"))
    names = {*re.findall(r'_line\(\s*"([^"]+)"', code), *STEPS, "in Jaeger", "proxy"}
    names |= {"OpenTelemetry", "tracer provider"}

    assert len(names) > 15
    for name in names:
        assert f"| `{name}` |" in PAGE, name


def test_the_json_of_the_page(collector: Collector) -> None:
    """The same keys."""
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    report = examine(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)

    assert list(json.loads(example)) == list(report.whole)
    assert list(json.loads(example)["lines"][0]) == list(report.lines[0])


def test_ctrl_c(raw: Callable[..., Raw]) -> None:
    """In the middle of a step that hangs: 130, and no traceback."""
    arrived = threading.Event()

    def talk(connection: object) -> None:
        arrived.set()
        silent(connection)  # type: ignore[arg-type]

    process = subprocess.Popen(
        [COMMAND, "doctor", "--timeout", "60"],
        env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": raw(talk).url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert arrived.wait(30)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert (process.returncode, err.strip()) == (130, "")
