"""What the documents say can be typed is typed here."""

import importlib.util
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from aws_imitation import Imitation, serving
from click.testing import CliRunner, Result

from mwaa_headroom.harness.cli.main import app

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.rglob("*.md")), ROOT / "CONTRIBUTING.md")


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(page: Path) -> list[str]:
    lines = "".join(blocks(page, "sh")).splitlines()
    return [line.strip() for line in lines if line.strip()]


def documented(page: str, beginning: str) -> list[str]:
    """The command of a page that begins so, split into arguments."""
    found = [command for command in commands(ROOT / page) if command.startswith(beginning)]
    assert len(found) == 1, f"{page} should have one command '{beginning} ...', has {found}"
    return shlex.split(found[0].replace(".venv/bin", str(BIN)))


def run(
    arguments: list[str], timeout_s: float, **variables: str
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


def headroom(arguments: list[str]) -> Result:
    """In this process: the command and its arguments, in the root of the repository."""
    with chdir(ROOT):
        return CliRunner().invoke(app, arguments[1:], standalone_mode=False)


def test_every_command_is_tried_somewhere() -> None:
    """Besides `make test`, which cannot call itself; `make quickstart` is a test of its own."""
    tried = {
        "README.md": ["make quickstart", "make test"],
        "docs/tutorial.md": [
            "make quickstart",
            ".venv/bin/headroom validate",
            ".venv/bin/headroom run scenarios/smoke.toml",
            ".venv/bin/headroom report",
            ".venv/bin/headroom run scenarios/pinned_capacity.toml",
            ".venv/bin/headroom run scenarios/bursts.toml",
            ".venv/bin/headroom capacity",
            ".venv/bin/headroom size",
            ".venv/bin/headroom what-if",
        ],
        "docs/how-to/ci-gate.md": [
            ".venv/bin/headroom run scenarios/smoke.toml --no-progress",
            ".venv/bin/headroom run scenarios/smoke.toml --junit",
            "case",
        ],
        "docs/how-to/local-environment.md": [
            'eval "$(.venv/bin/headroom local up)"',
            "aws mwaa invoke-rest-api",
            ".venv/bin/headroom local status",
            ".venv/bin/headroom local down",
        ],
        "docs/how-to/runs.md": [
            ".venv/bin/headroom run scenarios/smoke.toml",
            ".venv/bin/headroom runs",
            ".venv/bin/headroom runs --scenario",
            ".venv/bin/headroom open latest",
            ".venv/bin/headroom diff latest~1 latest",
            ".venv/bin/headroom export latest --table requests",
            ".venv/bin/headroom export latest --table stages",
            ".venv/bin/headroom export runs",
        ],
        "docs/how-to/several-machines.md": [".venv/bin/headroom run"],
        "docs/how-to/upgrade.md": [".venv/bin/headroom upgrade scenarios/upgrade_simulated.toml"],
        "docs/how-to/your-own-traffic.md": [".venv/bin/headroom validate", ".venv/bin/locust"],
    }
    written = {
        page.relative_to(ROOT).as_posix(): commands(page) for page in PAGES if commands(page)
    }

    assert written.keys() == tried.keys()
    for page, lines in written.items():
        assert len(lines) == len(tried[page]), page
        for line, beginning in zip(lines, tried[page], strict=True):
            assert line.startswith(beginning), page
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{target}:" in makefile for target in ("quickstart", "test", "reference"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if ":" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["methods.md", "architecture.md"])
def test_every_module_that_is_named_exists(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+(?:\.py|\.toml|/))`", text)
    folders = (ROOT, ROOT / "analysis", ROOT / "harness", ROOT / "locustfiles")

    assert named
    assert [name for name in named if not any((one / name).exists() for one in folders)] == []


@pytest.mark.slow
def test_an_upgrade_experiment_finds_the_dearer_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "scenarios", "scenarios")
    (line,) = commands(DOCS / "how-to/upgrade.md")

    done = CliRunner().invoke(app, shlex.split(line)[1:], standalone_mode=False)

    assert done.return_value == 4
    rows = [row.split() for row in done.stdout.splitlines()]
    assert next(row[-1] for row in rows if row[:1] == ["list_dags"]) == "worse"


@pytest.mark.slow
def test_runs_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's commands in their order, and examples of `--help`, beside an earlier run."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "scenarios", "scenarios")
    shutil.copytree(ROOT / "tests/frozen_runs/simulated_check", "runs/20261130T100900-earlier-0001")
    helped = ("run", "report", "runs", "open", "diff", "validate")
    examples = [(app.commands[name].epilog or "").splitlines()[-1] for name in helped]
    for line in (*commands(DOCS / "how-to/runs.md"), *examples):
        done = CliRunner().invoke(app, shlex.split(line)[1:], standalone_mode=False)
        assert done.exception is None, line
        assert done.return_value in (None, 0), line
        assert done.stdout, line


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_scenarios_of_the_tutorial_are_the_shipped_ones() -> None:
    tutorial = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\| `(scenarios/\w+\.toml)` \|", tutorial))

    assert named == {f"scenarios/{path.name}" for path in (ROOT / "scenarios").glob("*.toml")}


def test_the_reference_is_what_the_code_says() -> None:
    made = runpy.run_path(str(DOCS / "make_reference.py"))["reference"]()

    assert made == (DOCS / "reference.md").read_text(encoding="utf-8"), "run `make reference`"


def test_the_policy_shown_is_what_the_command_prints() -> None:
    text = (DOCS / "how-to" / "aws.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```\n(headroom policy .*)\n```\n\n```json\n(.*?)```", text, re.DOTALL)

    assert headroom(shlex.split(shown[0])).stdout == shown[1]


def test_day_one_on_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both pages have the same commands; all but the run, half an hour long, are tried."""
    pages = [(DOCS / page).read_text(encoding="utf-8") for page in ("tutorial.md", "how-to/aws.md")]
    lines = [
        re.findall(r"^headroom (?:init|policy|doctor|run) .*my-environment.*", p, re.M)
        for p in pages
    ]
    monkeypatch.chdir(tmp_path)
    with serving(Imitation(name="my-environment")) as aws:
        aws.airflow.trigger("etl_daily", "r1")
        for name, value in aws.variables().items():
            monkeypatch.setenv(name, value)
        answers = [CliRunner().invoke(app, shlex.split(line)[1:]) for line in lines[0][:3]]

    assert lines[0] == [line for line in lines[1] if "--set" not in line]
    assert [line.split()[1] for line in lines[0]] == ["init", "policy", "doctor", "run"]
    assert [answer.exit_code for answer in answers] == [0, 0, 0], answers


def sample_outputs() -> Iterator[Any]:
    """A command over the frozen runs and what pages show of its output."""
    shown: dict[str, list[str]] = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"<!-- output: headroom (.*?) -->\n```text\n(.*?)```", text, re.DOTALL)
        for command, sample in found:
            shown.setdefault(command, []).append(sample)
    for command, samples in shown.items():
        yield pytest.param(command, samples, id=command)


def runs_named(word: str) -> list[str]:
    """As a shell expands it, in a folder of runs."""
    return sorted(str(path) for path in Path().glob(word)) if "[" in word else [word]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "shown"), list(sample_outputs()))
def test_a_sample_output_is_what_the_command_prints(
    command: str, shown: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line by line in this order; a line of dots stands for what is left out."""
    monkeypatch.chdir(shutil.copytree(ROOT / "tests" / "frozen_runs", tmp_path / "runs"))
    monkeypatch.setenv("COLUMNS", "100")
    words = [name for word in command.split() for name in runs_named(word)]

    output = CliRunner().invoke(app, words).output.splitlines()

    for sample in shown:
        printed = iter(output)
        lines = [line.rstrip() for line in sample.splitlines() if line.strip(" .")]
        assert lines
        for line in lines:
            assert line in (one.rstrip() for one in printed), line


def test_the_example_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the frozen runs; what needs pandas only where it is installed."""
    frozen = ROOT / "tests" / "frozen_runs"
    (tmp_path / "runs" / "old").mkdir(parents=True)
    (tmp_path / "runs" / "new").mkdir()
    (tmp_path / "runs" / "pinned").symlink_to(frozen / "virtual_capacity")
    for number in range(1, 6):
        (tmp_path / "runs" / "old" / f"{number}").symlink_to(frozen / f"compared/{number:02}")
        (tmp_path / "runs" / "new" / f"{number}").symlink_to(frozen / f"compared/{number + 10}")
    monkeypatch.chdir(tmp_path)
    has_pandas = importlib.util.find_spec("pandas") is not None
    names: dict[str, Any] = {}

    for block in blocks(DOCS / "how-to" / "python.md", "python"):
        if has_pandas or "pandas" not in block:
            exec(block, names)  # noqa: S102 - the page is ours

    assert names["run"].requests.num_rows > 1000
    assert names["demand"].low < names["demand"].value < names["demand"].high
    assert [count.webservers for count in names["curve"].counts] == [2]
    assert names["best"].environment_class == "mw1.small"
    assert names["comparison"].exit_code == 4
    if has_pandas:
        assert names["requests"]["latency_s"].notna().any()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_validate_run_and_report(tmp_path: Path) -> None:
    page = "docs/tutorial.md"
    validated = headroom(documented(page, ".venv/bin/headroom validate"))
    alone = documented(page, ".venv/bin/headroom run scenarios/smoke")
    shared = documented("docs/how-to/several-machines.md", ".venv/bin/headroom run")
    assert shared == [*alone, "--processes", "2"]  # so that trying one tries both
    ran = run(
        [*shared, "--runs", str(tmp_path)],
        150,
        XDG_CACHE_HOME=str(tmp_path / "cache"),  # another smoke run may be going on
    )
    report = documented(page, ".venv/bin/headroom report")
    reported = headroom([*report[:-1], f"{tmp_path}/latest"])

    assert validated.exception is None
    assert ran.returncode == 0, ran.stderr
    assert (reported.exception, reported.return_value) == (None, 0)
    left = re.findall(r"`([\w.]+\.\w+)`", next_table(page, "| file | holds |"))
    assert "report.html" in left
    assert [name for name in left if not (tmp_path / "latest" / name).is_file()] == []


def next_table(page: str, heading: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return text[text.index(heading) :].split("\n\n", 1)[0]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_planning_from_runs(tmp_path: Path) -> None:
    (block,) = [one for one in blocks(DOCS / "tutorial.md", "sh") if "headroom capacity" in one]

    answers = [
        headroom(shlex.split(line.replace(" runs/", f" {tmp_path}/")))
        for line in block.splitlines()
    ]

    assert [answer.return_value for answer in answers] == [0, 0, 0, 0, 0], answers
    assert "with 2 webservers" in " ".join(answers[2].stdout.split())
    assert "USD a month" in " ".join(answers[3].stdout.split())
    assert "a burst from 4 to 20 calls/s" in " ".join(answers[4].stdout.split())


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_other_commands_of_the_how_tos(tmp_path: Path) -> None:
    """The gate in virtual time: the tutorial has the real run."""
    page = "docs/how-to/ci-gate.md"
    gate = documented(page, ".venv/bin/headroom run scenarios/smoke.toml --no-progress")
    in_shell = blocks(ROOT / page, "sh")[-1].replace(".venv/bin", str(BIN))
    options = (
        f"--virtual-time --runs {tmp_path}/shell --set 'slo=[\"p95(latency) < 5ms\"]' --junit "
    )
    traces = documented("docs/how-to/your-own-traffic.md", ".venv/bin/headroom validate")

    gated = headroom([*gate, "--virtual-time", "--runs", f"{tmp_path}/gate"])
    broken = run(["bash", "-c", in_shell.replace("--junit ", f"{options}{tmp_path}/")], 100)
    validated = headroom(traces)

    assert (gated.exception, gated.return_value, gated.stderr) == (None, 0, "")
    assert broken.returncode == 1, broken.stderr  # of any verdict that is to fail a job
    assert (tmp_path / "headroom.xml").is_file()
    assert validated.exception is None
    assert "traces/morning.csv" in validated.stdout


@pytest.mark.airflow
@pytest.mark.timeout(300)
def test_mwaa_on_this_machine(tmp_path: Path) -> None:
    """The shell lines, the Python lines and Locust by itself, against one environment."""
    page = DOCS / "how-to" / "local-environment.md"
    up, aws, status, down = commands(page)
    locust = shlex.join(documented("docs/how-to/your-own-traffic.md", ".venv/bin/locust"))
    (tmp_path / "example.py").write_text("\n".join(blocks(page, "python")))
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

    answer = run(["bash", "-c", script], 280, XDG_CACHE_HOME=own_cache(tmp_path))

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
