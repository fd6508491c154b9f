"""The GitHub action: its scripts are run in bash, as GitHub would run them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mwaa_headroom.harness.cli.run import run_command

ROOT = Path(__file__).parent.parent
FROZEN = ROOT / "tests" / "frozen_runs"
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
SMOKE = str(ROOT / "scenarios" / "smoke.toml")


def step(name: str) -> dict[str, Any]:
    return next(each for each in STEPS if each.get("id") == name)


class Job:
    """One job with inputs; its steps see files and variables like GitHub's."""

    def __init__(self, folder: Path, **inputs: str) -> None:
        self.folder = folder
        defaults = {name: each["default"] for name, each in ACTION["inputs"].items()}
        self.inputs = defaults | {name.replace("_", "-"): text for name, text in inputs.items()}
        self.outputs: dict[str, str] = {}
        bin_folder = folder / "headroom" / "bin"
        bin_folder.mkdir(parents=True)
        (bin_folder / "headroom").symlink_to(Path(sys.executable).with_name("headroom"))

    def run(self, name: str) -> "subprocess.CompletedProcess[str]":
        """With `steps.headroom.outputs` and `inputs` where the step asks for them."""
        found = step(name)
        answer = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]],
            cwd=self.folder,
            env={
                **os.environ,
                "RUNNER_TEMP": str(self.folder),
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_OUTPUT": str(self.folder / "output"),
                "GITHUB_STEP_SUMMARY": str(self.folder / "summary.md"),
                **{key: self._value(text) for key, text in found["env"].items()},
            },
            capture_output=True,
            text=True,
            timeout=100,
        )
        if (self.folder / "output").exists():
            lines = (self.folder / "output").read_text().splitlines()
            self.outputs = dict(line.split("=", 1) for line in lines)
        return answer

    def _value(self, expression: str) -> str:
        whole = re.fullmatch(r"\$\{\{ (inputs|steps\.headroom\.outputs)\.([\w-]+) \}\}", expression)
        assert whole, expression
        return (self.inputs if whole[1] == "inputs" else self.outputs).get(whole[2], "")


def test_no_script_has_anything_written_into_it() -> None:
    scripts = [each["run"] for each in STEPS if "run" in each]

    assert len(scripts) == 3
    assert [script for script in scripts if "${{" in script] == []
    assert all(each["shell"] == "bash" for each in STEPS if "run" in each)
    used = [each["uses"] for each in STEPS if "uses" in each]
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", name) for name in used)


def test_it_installs_only_what_has_a_hash() -> None:
    installing = [line for line in step("install")["run"].splitlines() if "pip install" in line]

    *others, ours = installing
    files = [re.search(r'"\$GITHUB_ACTION_PATH/(.*)"', line) for line in others]
    assert all("--require-hashes" in line for line in others)
    assert [(ROOT / found[1]).is_file() for found in files if found] == [True, True]
    assert "--no-deps --no-build-isolation" in ours


def test_every_output_is_one_of_the_step() -> None:
    written = set(re.findall(r"one_line ([\w-]+)", step("headroom")["run"]))
    read = set(re.findall(r"outputs\.([\w-]+) }}", str(ACTION["outputs"])))

    assert read <= written


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("slo", "code", "verdict"),
    [('["p95(latency) < 500ms"]', 0, "pass"), ('["p95(latency) < 5ms"]', 3, "slo-not-met")],
)
def test_a_run_gives_verdict_report_and_summary(
    tmp_path: Path, slo: str, code: int, verdict: str
) -> None:
    job = Job(tmp_path, scenario=SMOKE, args=f"--virtual-time\n--set\nslo={slo}\n\n")

    ran, ended = job.run("headroom"), job.run("verdict")

    assert ran.returncode == 0, ran.stderr
    page = Path(job.outputs["report-path"])
    assert page.is_file()
    assert page.parent == Path(job.outputs["report-directory"])
    assert page.is_relative_to(tmp_path / "runs")
    assert (job.outputs["exit-code"], job.outputs["verdict"]) == (str(code), verdict)
    assert ended.returncode == code
    assert ("::error " in ran.stderr) is (code == 3)
    assert (tmp_path / "summary.md").read_text().startswith("## smoke: SLO ")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_comparison_gives_a_verdict(tmp_path: Path) -> None:
    old, new = (
        "\n".join(f"{FROZEN}/compared/{number:02}" for number in numbers)
        for numbers in ((1, 2), (11, 12))
    )
    job = Job(tmp_path, baseline=old, contender=new.replace("\n", " "), args="--margin\n5%")

    ran = job.run("headroom")

    assert ran.returncode == 0, ran.stderr
    assert job.outputs["verdict"] == "inconclusive"
    assert Path(job.outputs["report-path"]).name == "comparison.html"
    assert job.run("verdict").returncode == 5


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_inputs_are_never_code_or_options(tmp_path: Path) -> None:
    bad = '$(touch hacked)`touch hacked`"; touch hacked; #\nexit-code=0'
    for inputs in (
        {"scenario": "--help", "runs": bad},
        {"baseline": f"--help {bad}", "contender": bad},
        {"scenario": SMOKE, "baseline": "a", "contender": "b"},
    ):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        job = Job(folder, **inputs)

        assert job.run("headroom").returncode == 0

        assert job.outputs["exit-code"] == "2", inputs
        assert (job.outputs["verdict"], job.outputs["report-path"]) == ("error", "")
        assert not list(folder.rglob("hacked"))
        assert job.run("verdict").returncode == 2


@pytest.mark.parametrize(
    ("fail_on", "failing"),
    [
        ("inconclusive", {1, 2, 3, 4, 5, 130}),
        ("failure", {1, 2, 3, 4, 130}),
        ("error", {1, 2, 130}),
        ("nothing", {1, 2, 3, 4, 5, 130}),
    ],
)
def test_what_fails_the_job(tmp_path: Path, fail_on: str, failing: set[int]) -> None:
    job = Job(tmp_path, fail_on=fail_on)
    for code in (0, 1, 2, 3, 4, 5, 130):
        job.outputs = {"exit-code": str(code)}
        expected = 2 if code in failing and fail_on == "nothing" else code if code in failing else 0
        assert job.run("verdict").returncode == expected


def test_the_page_shows_it_as_it_is() -> None:
    """Every input in the table with its default; the examples are YAML with inputs there are."""
    page = (ROOT / "docs/how-to/ci-gate.md").read_text(encoding="utf-8")
    github, gitlab = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    rows = re.findall(r"^\| (`[a-z`, -]+) \|.*\| (.*?) ?\|$", page, re.MULTILINE)
    documented = {
        name: default.strip("`")
        for names, default in rows
        for name in re.findall(r"[a-z-]+", names)
    }

    assert documented == {name: each["default"] for name, each in ACTION["inputs"].items()}
    assert {*github[0]["with"]} <= {*ACTION["inputs"]}
    assert gitlab["headroom"]["allow_failure"] == {"exit_codes": 5}
    *_, line = gitlab["headroom"]["script"]
    words = line.split()
    assert run_command.make_context("run", words[2:]).params["junit"] == Path("headroom.xml")
