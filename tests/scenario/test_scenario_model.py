"""Scenarios of every kind of arrivals: what each needs, and what each may not ask for."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mwaa_headroom.harness.cli.validate import validate_command
from mwaa_headroom.harness.errors import ScenarioError
from mwaa_headroom.harness.scenario.load import check_scenario, load_scenario
from mwaa_headroom.harness.scenario.model import Scenario

HEAD = """
slo = ["p95(latency) < 1s"]
[question]
ask = "check"
[environment]
kind = "simulated"
[limits]
max_rate_per_s = 20
[traffic.mix]
health = 1
"""
STAGES = {
    "poisson": '[traffic]\narrivals = "poisson"\n[[stages]]\nrate_per_s = 5\nduration_s = 10\n',
    "constant": (
        '[traffic]\narrivals = "constant"\ntransport = "boto3"\nretries = "legacy"\n'
        "[[stages]]\nrate_per_s = 5\nramp_to_rate_per_s = 3\nduration_s = 10\n"
    ),
    "stairs": (
        '[traffic]\narrivals = "poisson"\n[[stages]]\nrate_per_s = 2\nduration_s = 10\n'
        "[[stages]]\nrate_per_s = 5\nduration_s = 10\n"
    ),
    "calls": '[traffic]\narrivals = "trace"\n[[stages]]\ntrace_file = "c.csv"\nduration_s = 10\n',
    "rates": '[traffic]\narrivals = "trace"\n[[stages]]\ntrace_file = "r.csv"\nduration_s = 10\n',
    "closed": (
        '[traffic]\narrivals = "closed"\nthink_time_s = 2\n'
        "[[stages]]\nusers = 30\nduration_s = 10\n"
    ),
    "single": (
        '[traffic]\narrivals = "poisson"\n'
        '[[stages]]\nrate_per_s = 5\nduration_s = 10\noperation = "health"\n'
    ),
}
ADDED_BY_VERSION_2 = {
    "traffic": ("transport", "retries", "think_time_s"),
    "stages": ("trace_file", "peak_rate_per_s", "users", "operation"),
}


def write(tmp_path: Path, kind: str, *, head: str = HEAD, find: str = "", put: str = "") -> Path:
    (tmp_path / "c.csv").write_text("time_s\n7\n8.5\n8.75\n40\n")
    (tmp_path / "r.csv").write_text("time_s,rate_per_s\n0,2\n5,12\n")
    path = tmp_path / "scenario.toml"
    assert find in STAGES[kind] + head
    path.write_text((head + STAGES[kind]).replace(find, put) if find else head + STAGES[kind])
    return path


def loaded(tmp_path: Path, kind: str, **changes: str) -> Scenario:
    return load_scenario(write(tmp_path, kind, **changes))


@pytest.mark.parametrize("kind", STAGES)
def test_the_effective_scenario_of_every_kind_reads_back_as_itself(
    tmp_path: Path, kind: str
) -> None:
    scenario = loaded(tmp_path, kind)

    assert check_scenario(scenario.model_dump(mode="json"), origin="scenario.json") == scenario


def test_the_effective_scenario_of_a_version_1_record_is_still_read(tmp_path: Path) -> None:
    scenario = loaded(tmp_path, "poisson")
    old: dict[str, Any] = scenario.model_dump(mode="json")
    del old["recovery"]
    for key in ADDED_BY_VERSION_2["traffic"]:
        del old["traffic"][key]
    for key in ADDED_BY_VERSION_2["stages"]:
        del old["stages"][0][key]

    assert old["stages"] == [
        {
            "name": "stage 1",
            "rate_per_s": 5.0,
            "ramp_to_rate_per_s": None,
            "duration_s": 10.0,
            "warmup_s": 0.0,
        }
    ]
    assert check_scenario(old, origin="scenario.json") == scenario


def test_the_rates_of_a_trace_are_filled_in(tmp_path: Path) -> None:
    (calls,) = loaded(tmp_path, "calls").stages
    (rates,) = loaded(tmp_path, "rates").stages

    assert (calls.rate_per_s, calls.peak_rate_per_s) == (0.3, 2)
    assert (rates.rate_per_s, rates.peak_rate_per_s) == (7, 12)


@pytest.mark.parametrize(
    ("kind", "highest"),
    [("poisson", 5), ("constant", 5), ("calls", 2), ("rates", 12), ("closed", 15)],
)
def test_the_highest_rate_of_every_kind_is_capped(
    tmp_path: Path, kind: str, highest: float
) -> None:
    scenario = loaded(tmp_path, kind)
    assert scenario.highest_rate_per_s(scenario.stages[0]) == pytest.approx(highest)

    below = f"max_rate_per_s = {highest - 0.5}"
    with pytest.raises(ScenarioError, match=rf"stages\[0\] asks for {highest} calls/s, above"):
        loaded(tmp_path, kind, find="max_rate_per_s = 20", put=below)


@pytest.mark.parametrize(
    ("kind", "find", "put", "told"),
    [
        ("closed", "think_time_s = 2", "", "traffic.think_time_s is missing"),
        ("closed", "think_time_s = 2", "think_time_s = 0", "'traffic.think_time_s' is wrong"),
        ("poisson", "[[stages]]", "think_time_s = 1\n[[stages]]", "think_time_s goes only with"),
        ("closed", "users = 30", "", "stages[0].users is missing"),
        ("closed", "users = 30", "users = 0", "'stages[0].users' is wrong"),
        ("closed", "users = 30", "users = 30\nrate_per_s = 1", "rate_per_s does not go with"),
        ("closed", '"check"', '"capacity"', 'cannot be answered by traffic.arrivals = "closed"'),
        ("closed", "max_rate_per_s = 20", "max_in_flight = 29\nmax_rate_per_s = 20", "30 users"),
        ("closed", "[[stages]]", "[recovery]\nrate_per_s = 1\n[[stages]]", "does not go with"),
        ("calls", 'trace_file = "c.csv"', "", "stages[0].trace_file is missing"),
        ("calls", "c.csv", "x.csv", "There is no trace file"),
        ("calls", "[[stages]]", "[[stages]]\nrate_per_s = 5", "stages[0].rate_per_s comes from"),
        ("calls", "[[stages]]", "[[stages]]\npeak_rate_per_s = 5", "peak_rate_per_s comes from"),
        ("calls", "[[stages]]", "[[stages]]\nramp_to_rate_per_s = 5", "does not go with"),
        ("calls", 'trace_file = "c.csv"', "trace_file = 5", "'stages[0].trace_file' is wrong"),
        ("calls", "duration_s = 10", "duration_s = true", "'stages[0].duration_s' is wrong"),
        ("calls", "duration_s = 10", "", "'stages[0].duration_s' is missing"),
        ("constant", '"boto3"', '"lean"', 'it needs traffic.transport = "boto3"'),
        ("constant", '"legacy"', '"often"', "'traffic.retries' is wrong"),
        (
            "poisson",
            "[[stages]]",
            '[[stages]]\noperation = "list_dags"',
            "not in traffic.mix (health)",
        ),
        ("single", '"check"', '"capacity"', 'does not go with question.ask = "capacity"'),
    ],
)
def test_what_does_not_fit_together_is_told(
    tmp_path: Path, kind: str, find: str, put: str, told: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        loaded(tmp_path, kind, find=find, put=put)

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trace_without_a_call_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "rates")
    (tmp_path / "r.csv").write_text("time_s,rate_per_s\n0,0\n10,5\n")

    with pytest.raises(ScenarioError, match="has no calls within the first 10 s"):
        load_scenario(path)


def test_a_stage_may_come_from_a_flag_and_its_trace_is_seen_from_the_scenario_file(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, "calls")

    scenario = load_scenario(path, overrides=['stages=[{trace_file="r.csv", duration_s=5}]'])

    assert scenario.stages[0].rate_per_s == 2


@pytest.mark.parametrize(
    ("kind", "stages", "told"),
    [
        ("poisson", [(5000, 86400), (5000, 86400)], "in one run at most 5e+08 can be numbered"),
        ("closed", [(5000, 86400)], "for a closed workload at most 5e+07 can be numbered"),
    ],
)
def test_more_calls_than_can_be_numbered_are_refused(
    kind: str, stages: list[tuple[int, int]], told: str
) -> None:
    """No two rows of a record may have the same arrival."""
    is_closed = kind == "closed"
    tree: dict[str, Any] = {
        "name": "s",
        "slo": ["p95(latency) < 1s"],
        "question": {"ask": "check"},
        "environment": {"kind": "simulated"},
        "traffic": {"arrivals": kind, "mix": {"health": 1}},
        "stages": [
            {("users" if is_closed else "rate_per_s"): load, "duration_s": duration_s}
            for load, duration_s in stages
        ],
        "limits": {"max_rate_per_s": 5000, "max_in_flight": 5000},
    }
    if is_closed:
        tree["traffic"]["think_time_s"] = 1

    with pytest.raises(ScenarioError) as caught:
        check_scenario(tree, origin="s")

    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "recovery", "rate_per_s"),
    [
        ("poisson", "", 2.5),
        ("constant", "", 2.5),
        ("stairs", "", 2),
        ("rates", "", 3.5),
        ("closed", "", None),
        ("poisson", "rate_per_s = 2", 2),
        ("poisson", "longest_s = 0", None),
    ],
    ids=[
        "half of a single stage",
        "half of the highest of a ramp",
        "the lowest of several",
        "half the mean of a trace",
        "closed",
        "given",
        "switched off",
    ],
)
def test_the_rate_of_recovery_phases(
    tmp_path: Path, kind: str, recovery: str, rate_per_s: float | None
) -> None:
    scenario = loaded(tmp_path, kind, find="[limits]", put=f"[recovery]\n{recovery}\n[limits]")

    assert scenario.recovery_rate_per_s == rate_per_s


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("poisson", "10 s of load, up to 5 calls/s.\n"),
        (
            "calls",
            "  stage 1: replays 10 s of c.csv: about 3 calls, 0.3 calls/s on average, up to 2 in "
            "one second\n",
        ),
        (
            "closed",
            "  stage 1: 30 users who think 2 s on average before each call (closed): at most "
            "15 calls/s, fewer the slower the answers\n",
        ),
        ("single", "  stage 1: sends only health at 5 calls/s\n"),
    ],
)
def test_validate_says_what_will_be_sent(tmp_path: Path, kind: str, told: str) -> None:
    answer = CliRunner().invoke(validate_command, [str(write(tmp_path, kind))])

    assert answer.exit_code == 0
    assert told in answer.stdout


def test_a_client_that_slows_down_by_itself_measures_no_capacity(tmp_path: Path) -> None:
    overrides = ("traffic.transport=boto3", "traffic.retries=adaptive")
    path = write(tmp_path, "poisson")
    assert load_scenario(path, overrides=overrides).traffic.retries == "adaptive"
    with pytest.raises(ScenarioError, match="cannot be answered with"):
        load_scenario(path, overrides=(*overrides, "question.ask=capacity"))
