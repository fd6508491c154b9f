"""Upgrade experiments: sides, order, stages, what counts, and going on after a stop."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mwaa_headroom.analysis.comparison.paired import Looks
from mwaa_headroom.analysis.comparison.upgrade import Pair, UpgradeAnswer, upgrade_answer
from mwaa_headroom.analysis.report.upgrade_report import pair_told
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.harness.errors import EnvironmentStartError, RecordError, ScenarioError
from mwaa_headroom.harness.run import upgrade
from mwaa_headroom.harness.run.progress import LoadStatus
from mwaa_headroom.harness.run.upgrade import (
    EXPERIMENT_FILE,
    Experiment,
    carry_out,
    finished_pairs,
    new_experiment,
    read_experiment,
)

SCENARIO = """
slo = ["p95(latency) < 2s", "rate(errors) < 1%"]
question = { ask = "check", target_rate_per_s = 90 }
environment = { kind = "simulated", name = "up", min_webservers = 1, max_webservers = 3 }
stages = [{ rate_per_s = 5, duration_s = 60 }]
limits.max_rate_per_s = 60
[traffic.mix]
health = 2
list_dags = 2
"""
DEARER = "upgrade.contender.environment.demand_s.list_dags=0.06"


@dataclass
class Told:
    """A `Progress` that keeps what it is told."""

    steps: list[str] = field(default_factory=list)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def note(self, text: str) -> None:
        self.steps.append(text)

    def recording(self, directory: Path) -> None: ...

    def load(self, status: LoadStatus) -> None: ...

    def count(self, text: str) -> None: ...


def begun(
    folder: Path,
    *overrides: str,
    pairs: int = 6,
    scenario: str = SCENARIO,
    versions: tuple[str | None, str | None] = ("3.2.1", "3.3.1"),
    virtual_time: bool = True,
    variables: Mapping[str, str] | None = None,
) -> Path:
    file = folder / "scenario.toml"
    file.write_text(scenario, encoding="utf-8")
    return new_experiment(
        file,
        overrides=overrides,
        variables=variables or {},
        versions=versions,
        pairs=pairs,
        margin=0.1,
        virtual_time=virtual_time,
        runs_directory=folder / "runs",
        now=datetime(2026, 12, 1, tzinfo=UTC),
    )


def answered(directory: Path) -> UpgradeAnswer:
    outcome = carry_out(directory, Told(), pair_told)
    assert outcome.answer is not None
    return outcome.answer


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, UpgradeAnswer]:
    directory = begun(tmp_path_factory.mktemp("upgrade"), DEARER)
    return directory, answered(directory)


def test_a_dearer_operation_is_found_and_told_apart(finished: tuple[Path, UpgradeAnswer]) -> None:
    _, answer = finished

    assert answer.comparison.verdict == "regression"
    assert answer.pairs == 4  # the first look was enough
    health, list_dags = answer.operations
    assert list_dags.demand is not None
    assert list_dags.demand.change.value == pytest.approx(2.0, rel=0.02)
    assert list_dags.demand.verdict == "worse"
    assert health.demand is not None
    assert health.demand.change.value == pytest.approx(1.0, rel=0.03)
    needed = answer.webservers[0]
    assert (needed.rate_per_s, needed.baseline, needed.contender) == (90.0, 3, 5)
    assert needed.change_per_month is not None
    assert needed.change_per_month.low > 0
    assert [side.airflow_version for side in answer.sides] == ["3.2.1", "3.3.1"]


def test_both_sides_of_a_pair_get_the_same_calls_and_every_pair_others(
    finished: tuple[Path, UpgradeAnswer],
) -> None:
    directory, _ = finished

    arrivals = [
        [np.sort(run.calls.intended_start_s) - run.calls.intended_start_s.min() for run in both]
        for both in ((pair.baseline, pair.contender) for pair in finished_pairs(directory))
    ]
    for before, after in arrivals:
        np.testing.assert_allclose(before, after, atol=0.1)  # a stage waits for calls
    assert len({len(before) for before, _ in arrivals}) > 1


def test_stages_load_the_dearer_side_and_are_the_same_in_every_run(
    finished: tuple[Path, UpgradeAnswer],
) -> None:
    directory, _ = finished
    pairs = finished_pairs(directory)

    stages = {tuple((s.name, s.rate_per_s) for s in run.setting.stages) for run in _runs(pairs)}
    assert len(stages) == 1
    assert [name for name, _ in stages.pop()] == [
        "mix, moderate",
        "health",
        "list_dags",
        "mix, busy",
    ]
    busy = [pair.contender.stages[-1].webserver_cpu_percent or 0.0 for pair in pairs]
    assert 45 < min(busy) < max(busy) < 70  # 55 % of the dearer side


def _runs(pairs: list[Pair]) -> list[Run]:
    return [run for pair in pairs for run in (pair.baseline, pair.contender)]


def test_versions_of_environments_on_aws_are_not_chosen(tmp_path: Path) -> None:
    aws = 'environment = { kind = "aws", name = "old" }'
    scenario = "\n".join(
        aws if line.startswith("environment") else line
        for line in SCENARIO.splitlines()
        if not line.startswith("limits")
    )
    with pytest.raises(ScenarioError, match=r"upgrade\.contender name them"):
        begun(tmp_path, scenario=scenario, virtual_time=False)


def test_either_side_comes_first_in_half_of_the_pairs_by_lot() -> None:
    orders = []
    for seed in range(200):
        experiment = Experiment(
            scenario_file="", sides={}, pairs=6, margin=0.1, seed=seed, virtual_time=True
        )
        orders.append(tuple(experiment.order(pair)[0] for pair in range(1, 7)))

    for order in orders:
        assert all(set(order[i : i + 2]) == {"baseline", "contender"} for i in (0, 2, 4))
    assert min(Counter(orders).values()) >= 10  # 8 orders, 25 of each to be expected
    assert len(Counter(orders)) == 8


def test_sides_are_pinned_named_apart_and_run_as_on_mwaa(tmp_path: Path) -> None:
    local = SCENARIO.replace('"simulated"', '"local"')
    directory = begun(tmp_path, scenario=local, versions=("2.11.2", "3.3.1"), virtual_time=False)

    baseline, contender = (read_experiment(directory).sides[side] for side in upgrade.SIDES)
    environments = [side["environment"] for side in (baseline, contender)]
    assert [each["airflow_version"] for each in environments] == ["2.11.2", "3.3.1"]
    assert [each["auth_manager"] for each in environments] == ["fab", "fab"]
    assert [each["name"] for each in environments] == ["up-baseline", "up-contender"]
    assert {each["max_webservers"] for each in environments} == {1}


def test_on_aws_each_side_names_its_environment_and_what_may_be_loaded(tmp_path: Path) -> None:
    aws = SCENARIO.replace(
        'environment = { kind = "simulated", name = "up", min_webservers = 1, max_webservers = 3 }',
        'environment = { kind = "aws", name = "old" }',
    ).replace("limits.max_rate_per_s = 60", "") + (
        "[upgrade.baseline]\n"
        'limits.allow_environment = "arn:aws:airflow:us-east-1:123456789012:environment/old"\n'
        "[upgrade.contender]\n"
        'environment.name = "new"\n'
        'limits.allow_environment = "arn:aws:airflow:us-east-1:123456789012:environment/new"\n'
    )
    directory = begun(tmp_path, scenario=aws, versions=(None, None), virtual_time=False)

    sides = read_experiment(directory).sides
    assert [sides[side]["environment"]["name"] for side in upgrade.SIDES] == ["old", "new"]
    allowed = [sides[side]["limits"]["allow_environment"] for side in upgrade.SIDES]
    assert [arn.rpartition("/")[2] for arn in allowed] == ["old", "new"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"versions": ("2.9.9", "3.3.1"), "local": True}, "2.9.9 cannot be run locally; known are"),
        ({"overrides": ["traffic.arrivals=closed"]}, "closed"),
        ({"overrides": ["upgrade.contender.environment.nmae=x"]}, "nmae"),
        ({"overrides": ["upgrade.contender.environment=5"]}, "upgrade.contender"),
        ({}, "both sides would be the same"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    tmp_path: Path, changes: dict[str, object], told: str
) -> None:
    scenario = SCENARIO.replace('"simulated"', '"local"') if changes.get("local") else SCENARIO
    versions = changes.get("versions", (None, None))
    with pytest.raises(ScenarioError, match=told):
        begun(tmp_path, *changes.get("overrides", ()), scenario=scenario, versions=versions)  # type: ignore[arg-type]
    assert not list((tmp_path).glob("runs/*"))


def test_a_side_that_only_fails_ends_it_and_names_where_to_look(tmp_path: Path) -> None:
    directory = begun(tmp_path, "upgrade.contender.environment.gateway.timeout_s=0.0001")

    with pytest.raises(EnvironmentStartError, match="contender ended as 'aborted'"):
        carry_out(directory, Told(), pair_told)
    assert finished_pairs(directory) == []


def test_half_a_pair_is_made_again_and_finished_ones_are_kept(
    tmp_path: Path, finished: tuple[Path, UpgradeAnswer]
) -> None:
    directory = tmp_path / finished[0].name
    shutil.copytree(finished[0], directory, symlinks=True)
    first, second, third, fourth = (
        [run.record.directory for run in _runs([pair])] for pair in finished_pairs(directory)
    )
    for run in (third[1], *fourth):
        shutil.rmtree(run)

    answer = answered(directory)

    used = {run.run_id for run in (*answer.comparison.baseline, *answer.comparison.contender)}
    assert {run.name for run in (*first, *second)} <= used
    assert third[0].name not in used
    assert answer.pairs == 4


def test_an_interruption_answers_from_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = begun(tmp_path)
    real, calls = upgrade.run_in_virtual_time, iter(range(100))

    def interrupted_in_the_third_pair(*given: object, **named: object) -> Path:
        if next(calls) == 2 + 5:
            raise KeyboardInterrupt
        return real(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(upgrade, "run_in_virtual_time", interrupted_in_the_third_pair)
    outcome = carry_out(directory, Told(), pair_told)

    assert outcome.interrupted
    assert outcome.answer is not None
    assert outcome.answer.pairs == 2
    assert outcome.answer.comparison.verdict == "inconclusive"  # before the first look


def test_webservers_that_may_scale_are_told(finished: tuple[Path, UpgradeAnswer]) -> None:
    pairs = finished_pairs(finished[0])
    assert upgrade_answer(pairs, looks=Looks(4, 6), margin=0.1, prices=None).comparison.notes == ()
    for run in _runs(pairs):
        for when in ("before", "after"):
            run.record.manifest["environment"][when]["MaxWebservers"] = 4
    anew = [Pair(p.number, Run(p.baseline.record), Run(p.contender.record)) for p in pairs]

    notes = upgrade_answer(anew, looks=Looks(4, 6), margin=0.1, prices=None).comparison.notes

    assert [note.code for note in notes] == ["upgrade.not_pinned"] * 2
    assert [note.values["side"] for note in notes] == ["baseline", "contender"]


def test_memory_grows_by_calls_of_one_start(finished: tuple[Path, UpgradeAnswer]) -> None:
    """The last of four runs is of webservers that were started anew, with much less memory."""
    pairs = finished_pairs(finished[0])
    for number, pair in enumerate(pairs):
        run = pair.baseline
        run.record.manifest["environment"]["before"]["CreatedAt"] = "later" if number == 3 else "1"
        answered, points = 10_000 * (number % 3), []
        for point in run.points:
            answered += point.achieved_per_s * point.period_s
            points.append(replace(point, memory_percent=20 + answered / 1000 - 15 * (number == 3)))
        run.__dict__["points"] = tuple(points)

    baseline, _ = upgrade_answer(pairs, looks=Looks(4, 6), margin=0.1, prices=None).sides

    assert baseline.memory_growth_percent is not None
    assert baseline.memory_growth_percent > 1.0  # a restart in the line would turn it round


def test_settings_of_one_side_are_told_and_no_reason_to_refuse(tmp_path: Path) -> None:
    directory = begun(tmp_path, "upgrade.contender.environment.gateway.timeout_s=9", pairs=2)

    comparison = answered(directory).comparison

    assert comparison.refusals == ()
    told = {each.what: [value for value, _ in each.values] for each in comparison.meant_to_differ}
    assert told["environment.gateway.timeout_s"] == ["10", "9"]


def test_sides_that_do_other_work_are_refused_with_the_difference(tmp_path: Path) -> None:
    directory = begun(tmp_path, "upgrade.contender.traffic.mix.health=3", pairs=2)

    answer = answered(directory)

    assert answer.comparison.verdict == "refused"
    assert {each.what for each in answer.comparison.differences} >= {"mix: health"}
    assert answer.pairs == 1  # more would not help


def test_a_folder_that_is_no_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no upgrade experiment"):
        read_experiment(tmp_path)
    (tmp_path / EXPERIMENT_FILE).write_text(json.dumps({"pairs": 3}), encoding="utf-8")
    with pytest.raises(RecordError, match="missing"):
        read_experiment(tmp_path)
