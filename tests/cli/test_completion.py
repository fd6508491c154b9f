"""What a real bash is offered at the tab key, and the example at the end of each help."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from mwaa_headroom.harness.cli.main import app

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TRY = """
eval "$(headroom completion bash)"
try() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _headroom_completion "$1" 2>/dev/null; (IFS=" "; echo "${COMPREPLY[*]}")
}
"""


def commands(group: click.Group, path: str = "headroom") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


@pytest.mark.slow
def test_bash_completes_commands_options_and_runs(tmp_path: Path) -> None:
    for number, tags in ((1, {"branch": "main"}), (2, {})):
        run = tmp_path / "runs" / f"2026113{number}T100900-x-{number}"
        shutil.copytree(ROOT / "tests/frozen_runs/simulated_check", run)
        manifest = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps({**manifest, "tags": tags}))
    offered = {
        "headroom colle": "collect",
        "headroom run --virt": "--virtual-time",
        "headroom report ''": "latest 20261132T100900-x-2 20261131T100900-x-1 branch=main",
        "headroom diff latest br": "branch=main",
        "headroom report runs/20261131": "runs/20261131T100900-x-1",
        "headroom compare --baseline la": "latest",
        "headroom run scen": "",  # left to bash, which offers files
        "headroom completion z": "zsh",
    }

    answer = subprocess.run(
        ["bash", "-c", TRY + "".join(f"try {line}\n" for line in offered)],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert dict(zip(offered, answer.stdout.splitlines(), strict=True)) == offered


def test_every_shell_gets_its_lines() -> None:
    for shell in ("zsh", "fish"):
        answer = CliRunner().invoke(app, ["completion", shell])
        assert "_HEADROOM_COMPLETE" in answer.output
    assert CliRunner().invoke(app, ["completion", "csh"]).exit_code == 2


@pytest.mark.parametrize("path", [path for path, _ in commands(app)])
def test_help_ends_with_an_example_that_the_command_takes(path: str) -> None:
    command = dict(commands(app))[path]
    shown = CliRunner().invoke(app, [*path.split()[1:], "--help"]).output
    line = shown.splitlines()[-1].strip()

    assert shown.splitlines()[-2].strip() == "Example:"
    typed = line[line.index(path) :].partition(')"')[0]  # without eval "$(...)" around it
    arguments = shlex.split(typed)[len(path.split()) :]
    assert command.make_context(path, list(arguments)).args == []
