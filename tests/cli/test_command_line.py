"""The command as a user meets it: help, versions, exit codes and one-sentence errors."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pytest

from mwaa_headroom.harness.cli.main import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Answer:
    exit_code: int
    stdout: str
    stderr: str


Headroom = Callable[..., Answer]


@pytest.fixture
def headroom(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Headroom:
    """The command in this process, called in the root of the repository."""
    monkeypatch.chdir(ROOT)

    def call(*arguments: str) -> Answer:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        return Answer(int(ended.value.code or 0), said.out, said.err)

    return call


def test_a_mistake_is_one_sentence_of_the_installed_command() -> None:
    installed = Path(sys.executable).with_name("headroom")
    answer = subprocess.run(
        [installed, "local", "status", "--name", ""], capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("headroom: --name must start with a letter")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("run",),
        ("report",),
        ("compare",),
        ("history",),
        ("validate",),
        ("local",),
        ("worker",),
        ("doctor",),
    ],
)
def test_every_command_has_help(headroom: Headroom, command: tuple[str, ...]) -> None:
    answer = headroom(*command, "--help")

    assert answer.exit_code == 0
    assert "Usage: headroom" in answer.stdout


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from mwaa_headroom.harness.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'numpy', 'scipy', 'pyarrow', 'boto3', 'botocore', 'pydantic', 'matplotlib'}\n"
        "    print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Usage: headroom" in answer.stdout
    assert answer.stderr.strip() == "[]"


def test_the_version_is_told_and_what_answers_depend_on(headroom: Headroom) -> None:
    told = headroom("--version").stdout

    assert told.startswith(f"headroom 0.1.0, Python {platform.python_version()}, Locust ")
    assert f"Locust {version('locust')}, boto3 {version('boto3')}, {platform.platform()}" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "nowhere.toml"), "There is no scenario file 'nowhere.toml'"),
        (("validate", "README.md"), "README.md is not valid TOML"),
        (("run", "scenarios/smoke.toml", "--set", "traffic.sed=1"), "'traffic.sed' is not a known"),
        (
            ("run", "scenarios/smoke.toml", "--set", "stages=[]"),
            "'stages'",
        ),
        (("run", "scenarios/smoke.toml", "--set", 'slo=["p95(latncy) < 1s"]'), "latncy"),
        (("report", "tests"), "tests"),
        (("report", "no-such-run"), "no-such-run"),
        (("run", "scenarios/smoke.toml", "--processes", "65"), "--processes"),
        (
            ("run", "scenarios/smoke.toml", "--processes", "2", "--expect-workers", "2"),
            "give only one",
        ),
        (
            ("run", "scenarios/smoke.toml", "--expect-workers", "2", "--bind", "10.0.0.5"),
            "can be reached only from this machine",
        ),
        (("worker",), "Missing option '--master'"),
        (("worker", "--master", "a:b"), "--master must be HOST or HOST:PORT"),
        (("fly",), "No such command 'fly'"),
        (("run",), "Missing argument 'SCENARIO'"),
    ],
)
def test_usage_errors_exit_2_with_one_sentence(
    headroom: Headroom, arguments: tuple[str, ...], told: str
) -> None:
    answer = headroom(*arguments)

    assert answer.exit_code == 2, answer.stderr
    assert told in answer.stderr
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""


SMOKE = ("validate", "scenarios/smoke.toml", "--set")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ((*SMOKE, "traffic.mx=1"), "mix"),
        ((*SMOKE, "environment.max_webserver=3"), "max_webservers"),
        ((*SMOKE, "environment.autoscaler.cpu_above_percnt=3"), "cpu_above_percent"),
        ((*SMOKE, "stages=[{rate_per_=1,duration_s=3}]"), "rate_per_s"),
        ((*SMOKE, "limitz.max_in_flight=3"), "limits"),
        ((*SMOKE, "traffic.mix={list_dag=1}"), "list_dags"),
        ((*SMOKE, 'slo=["p95(latncy) < 1s"]'), "latency"),
        ((*SMOKE, 'slo=["maxx(webserver.cpu) < 1%"]'), "max"),
        ((*SMOKE, 'slo=["p95(latency{operation=list_dag}) < 1s"]'), "list_dags"),
        (("report", "compared/latst"), "latest"),
        (("report", "compared/brnch=main"), "branch"),
        (("rnu",), "run"),
    ],
)
def test_what_was_probably_meant_is_told(
    headroom: Headroom,
    arguments: tuple[str, ...],
    meant: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if arguments[0] == "report":
        run = tmp_path / "compared" / "20261130T100900-x-1"
        shutil.copytree(ROOT / "tests/frozen_runs/simulated_check", run)
        manifest = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps({**manifest, "tags": {"branch": "main"}}))
        monkeypatch.chdir(tmp_path)

    answer = headroom(*arguments)

    assert answer.exit_code == 2
    assert re.search(rf"[Dd]id you mean '?{meant}\b", answer.stderr), answer.stderr


def test_a_key_that_is_like_none_has_no_suggestion(headroom: Headroom) -> None:
    assert "did you mean" not in headroom(*SMOKE, "traffic.zzz=1").stderr


@pytest.mark.timeout(20)  # a pipe must not be waited for
def test_what_is_no_file_is_refused_with_advice(headroom: Headroom, tmp_path: Path) -> None:
    folder, pipe = tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir()
    os.mkfifo(pipe)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"\n')
    wrong = {
        str(folder): "it is a directory; give a file",
        str(pipe): "it is a pipe into which nobody writes; give a file",
        "/dev/zero": "it is a device; give a file",
        str(tmp_path / "latin.toml"): "save it as UTF-8",
    }
    answers = {path: headroom("validate", path) for path in wrong}

    assert {path: answer.exit_code for path, answer in answers.items()} == dict.fromkeys(wrong, 2)
    assert [path for path, told in wrong.items() if told not in answers[path].stderr] == []


def test_a_pipe_with_a_writer_is_read(headroom: Headroom, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", "scenarios/smoke.toml"], stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        answer = headroom("validate", f"/dev/fd/{writer.stdout.fileno()}")

    assert answer.exit_code == 0, answer.stderr


@pytest.mark.parametrize("command", ["clean", "collect", "report", "open"])
def test_a_folder_without_a_run_is_told_before_anything_else(
    headroom: Headroom, command: str, tmp_path: Path
) -> None:
    answer = headroom(command, str(tmp_path))

    assert (answer.exit_code, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert "is neither a run directory nor" in answer.stderr


@pytest.mark.timeout(20)  # a pipe must not be waited for
def test_a_ca_bundle_that_is_none_is_named(
    headroom: Headroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("no certificate")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    for bundle in (tmp_path, tmp_path / "pipe", tmp_path / "text", tmp_path / "gone"):
        monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))

        answer = headroom("init", "--environment", "x", "--region", "eu-west-1")

        assert answer.exit_code == 2
        assert answer.stderr.startswith(f"headroom: The CA bundle '{bundle}' cannot be used (")


@pytest.mark.parametrize("command", ["clean", "collect"])
def test_a_run_without_its_scenario_is_told_before_anything_else(
    headroom: Headroom, command: str, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(ROOT / "tests/frozen_runs/simulated_check", tmp_path / "run"))
    (run / "scenario.json").unlink(missing_ok=True)

    answer = headroom(command, str(run))

    assert (answer.exit_code, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)
    assert "is missing, so what its run did is not known" in answer.stderr


def test_a_folder_for_runs_that_cannot_be_made_is_told_before_the_run(headroom: Headroom) -> None:
    smoke = ("run", "scenarios/smoke.toml", "--virtual-time", "--runs")
    for folder, told in (("/proc/nope", "nor can it be made"), ("README.md", "choose a directory")):
        answer = headroom(*smoke, folder)

        assert (answer.exit_code, answer.stdout) == (2, "")
        assert told in answer.stderr
        assert "Simulating" not in answer.stderr


def test_debug_shows_the_traceback(headroom: Headroom) -> None:
    answer = headroom("--debug", "run", "nowhere.toml")

    assert answer.exit_code == 2
    assert "Traceback" in answer.stderr


def test_validate_speaks_json(headroom: Headroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_TRAFFIC__SEED", "42")
    answer = headroom("validate", "scenarios/smoke.toml", "--json")

    tree = json.loads(answer.stdout)
    assert (answer.exit_code, tree["schema_version"], tree["valid"]) == (0, 1, True)
    assert tree["scenario"]["traffic"]["seed"] == 42
    assert tree["warnings"] == []


def test_validate_tells_how_long_recoveries_may_make_it(headroom: Headroom) -> None:
    answer = headroom("validate", "scenarios/quickstart.toml")

    assert "up to 40 s more of light load, 4 calls/s; at most 382 s of load in all." in (
        answer.stdout
    )
    assert "Warning" not in answer.stdout
    closed = headroom("validate", "scenarios/closed_users.toml")
    assert "light load" not in closed.stdout  # users are not followed by one


def test_validate_warns_of_stages_whose_load_only_rises(headroom: Headroom) -> None:
    def told(*rates: int) -> str:
        stages = ",".join(f"{{rate_per_s={rate},duration_s=300}}" for rate in rates)
        answer = headroom("validate", "scenarios/aws_capacity.toml", "--set", f"stages=[{stages}]")
        assert answer.exit_code == 0, answer.stderr
        return answer.stdout

    assert "Warning: The load rises with time through the stages (correlation 1.00)" in told(
        2, 5, 8
    )
    assert "rises with time" not in told(2, 5, 8, 8, 5, 2)
    shipped = headroom("validate", "scenarios/aws_capacity.toml").stdout
    assert "rises with time" not in shipped


def test_validate_warns_of_a_recovery_with_too_few_calls_for_the_slo(headroom: Headroom) -> None:
    few = ("--set", "recovery.rate_per_s=1.5", "--set", "recovery.hold_s=10")
    answer = headroom("validate", "scenarios/smoke.toml", *few)

    assert answer.exit_code == 0, answer.stderr
    assert (
        "needs at least 20 calls in recovery.hold_s = 10 s, and 1.5 calls/s make about 15"
        in answer.stdout
    )
    assert "raise recovery.hold_s to 14 or recovery.rate_per_s to 2." in answer.stdout
    raised = ("--set", "recovery.rate_per_s=1.5", "--set", "recovery.hold_s=14")
    assert "Warning" not in headroom("validate", "scenarios/smoke.toml", *raised).stdout


def test_validate_warns_of_stages_too_short_for_metrics_of_a_minute(headroom: Headroom) -> None:
    def told(scenario: str, duration_s: int, number: int) -> str:
        stages = ",".join(f"{{rate_per_s=2,duration_s={duration_s}}}" for _ in range(number))
        answer = headroom("validate", scenario, "--set", f"stages=[{stages}]")
        assert answer.exit_code == 0, answer.stderr
        return answer.stdout

    aws = "scenarios/aws_capacity.toml"
    assert "within stage 1 and stage 2" in told(aws, 119, 2)
    assert "perhaps none" not in told(aws, 120, 2)
    assert "As few as 2 whole metric periods" in told(aws, 120, 2)
    assert "As few as" not in told(aws, 240, 2)
    assert "perhaps none" not in told("scenarios/smoke.toml", 8, 2)
