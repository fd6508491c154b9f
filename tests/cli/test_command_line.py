"""The command as a user meets it: help, versions, exit codes and one-sentence errors."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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


def test_the_version_is_told(headroom: Headroom) -> None:
    assert "0.1.0" in headroom("--version").stdout


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
