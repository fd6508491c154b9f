"""What the documents say can be typed is typed here."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL_BLOCKS = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line.strip() for block in SHELL_BLOCKS for line in block.splitlines() if line.strip()]


def run(
    arguments: list[str], tmp_path: Path, timeout_s: float, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **variables},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )


def documented(beginning: str) -> list[str]:
    """The README's command that begins so, split into arguments."""
    found = [command for command in COMMANDS if command.startswith(beginning)]
    assert len(found) == 1, f"README should have one command '{beginning} ...', has {found}"
    return shlex.split(found[0].replace(".venv/bin", str(BIN)))


def test_every_command_of_the_readme_is_tried_somewhere() -> None:
    """Besides `make test`, which cannot call itself."""
    tried = (
        "make quickstart",
        "make test",
        ".venv/bin/headroom validate",
        ".venv/bin/headroom run",
        ".venv/bin/headroom report",
        ".venv/bin/headroom capacity",
        ".venv/bin/headroom size",
        ".venv/bin/headroom what-if",
        'eval "$(.venv/bin/headroom local up)"',
        "aws mwaa invoke-rest-api",
        ".venv/bin/headroom local status",
        ".venv/bin/headroom local down",
        ".venv/bin/locust",
    )
    assert [command for command in COMMANDS if not command.startswith(tried)] == []
    assert "\ntest:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize(
    "link", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README)) - {""}), ids=str
)
def test_every_link_of_the_readme_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_scenarios_of_the_readme_are_the_shipped_ones() -> None:
    named = set(re.findall(r"\| `(scenarios/\w+\.toml)` \|", README))

    assert named == {f"scenarios/{path.name}" for path in (ROOT / "scenarios").glob("*.toml")}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_validate_run_and_report(tmp_path: Path) -> None:
    validated = run(documented(".venv/bin/headroom validate"), tmp_path, 60)
    ran = run(
        [*documented(".venv/bin/headroom run scenarios/smoke"), "--runs", str(tmp_path)],
        tmp_path,
        150,
    )
    reported = run(
        [*documented(".venv/bin/headroom report")[:-1], f"{tmp_path}/latest"], tmp_path, 60
    )

    assert validated.returncode == 0, validated.stderr
    assert ran.returncode == 0, ran.stderr
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "latest" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_planning_from_runs(tmp_path: Path) -> None:
    (block,) = [block for block in SHELL_BLOCKS if "headroom capacity" in block]

    answers = [
        run(shlex.split(line.replace(" runs/", f" {tmp_path}/")), tmp_path, 60)
        for line in block.replace(".venv/bin", str(BIN)).splitlines()
    ]

    assert [answer.returncode for answer in answers] == [0, 0, 0, 0, 0], answers
    assert "with 2 webservers (95 % intervals)" in " ".join(answers[2].stdout.split())
    assert "USD a month" in " ".join(answers[3].stdout.split())
    assert "a burst from 4 to 20 calls/s" in " ".join(answers[4].stdout.split())


@pytest.mark.airflow
@pytest.mark.timeout(300)
def test_mwaa_on_this_machine(tmp_path: Path) -> None:
    """The shell lines, the Python lines and Locust by itself, against one environment."""
    python = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (shell,) = [block for block in SHELL_BLOCKS if "local up" in block]
    up, aws, status, down = shell.splitlines()
    (locust,) = [command for command in COMMANDS if command.startswith(".venv/bin/locust")]
    (tmp_path / "example.py").write_text("\n".join(python))
    script = "\n".join(
        (
            "trap '.venv/bin/headroom local down' EXIT",
            "set -eu",
            up,
            aws,
            status,
            f"{sys.executable} {tmp_path / 'example.py'}",
            f"{locust} --headless --run-time 8s --only-summary",
            down,
        )
    )

    answer = run(["bash", "-c", script], tmp_path, 280, XDG_CACHE_HOME=own_cache(tmp_path))

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert '"RestApiStatusCode": 200' in answer.stdout
    assert "webserver-2" in answer.stdout
    assert "0(0.00%)" in answer.stderr + answer.stdout  # Locust's count of failures


def own_cache(tmp_path: Path) -> str:
    """A cache of its own for the environment, with the user's Airflow: no second installation."""
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headroom"
    own = tmp_path / "cache" / "headroom"
    own.mkdir(parents=True)
    for name in ("airflow", "database"):
        (users / name).mkdir(parents=True, exist_ok=True)
        (own / name).symlink_to(users / name)
    return str(own.parent)
