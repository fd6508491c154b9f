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
COMMANDS = [
    line.strip()
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


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
        ".venv/bin/headroom local up",
        ".venv/bin/headroom local status",
        ".venv/bin/headroom local down",
        "aws mwaa invoke-rest-api",
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
    ran = run([*documented(".venv/bin/headroom run"), "--runs", str(tmp_path)], tmp_path, 150)
    reported = run(
        [*documented(".venv/bin/headroom report")[:-1], f"{tmp_path}/latest"], tmp_path, 60
    )

    assert validated.returncode == 0, validated.stderr
    assert ran.returncode == 0, ran.stderr
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / "latest" / "report.html").stat().st_size > 10_000
