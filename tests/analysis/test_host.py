"""What a disturbed host does to what a run may say."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import STARTED_AT_S, write_synthetic_run

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.host import SLOWEST, TAKEN_LIMIT, disturbance, host_reports, speeds
from mwaa_headroom.analysis.identity import objection
from mwaa_headroom.analysis.report.plots.timeline import draw_timeline
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.run import Run

QUIET: dict[str, Any] = {
    "over_s": 5.0,
    "cpus": 2,
    "ours_cpus": 0.8,
    "others_cpus": 0.02,
    "stolen_cpus": 0.0,
    "throttled_cpus": 0.0,
    "reference_cpu_s": 0.0016,
}
HOG = {"others_cpus": 1.2}
STAGES, STAGE_S = 6, 60


def reports_of(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    """One report every 5 s from 0 on."""
    return [
        {"kind": "host_load", "time_s": 5.0 * (place + 1), **QUIET, **change}
        for place, change in enumerate(changes)
    ]


@pytest.mark.parametrize(
    ("in_words", "changes", "found"),
    [
        ("quiet", {}, None),
        ("a process at work", {"others_cpus": 0.9}, {"others_cpus": 0.9}),
        ("as a desktop idles", {"others_cpus": 0.15}, None),
        ("a process beside idle CPUs", {"others_cpus": 0.9, "cpus": 4}, None),
        ("a process and who knows what of ours", {"others_cpus": 0.9, "ours_cpus": None}, {}),
        ("a crowded hypervisor", {"stolen_cpus": 0.5}, {"stolen_cpus": 0.5}),
        ("a container's limit", {"throttled_cpus": 0.4}, {"throttled_cpus": 0.4}),
        ("a little of each", {"others_cpus": 0.12, "stolen_cpus": 0.12}, {"others_cpus": 0.12}),
        ("a neighbour on the same core", {"reference_cpu_s": 0.0032}, {"speed": 0.5}),
        ("slower than usual", {"reference_cpu_s": 0.002}, None),
        ("macOS", dict.fromkeys(QUIET.keys() - {"over_s", "cpus"}), None),
        ("more used by us than was busy", {"others_cpus": -0.3, "stolen_cpus": 0.25}, {}),
    ],
)
def test_when_a_host_is_disturbed(
    in_words: str, changes: dict[str, Any], found: dict[str, float] | None
) -> None:
    reports = host_reports(reports_of(*[{}] * 10, *[changes] * 10))

    disturbed = disturbance(reports, 50.0, 100.0)

    assert disturbance(reports, 0.0, 50.0) is None, in_words
    if found is None:
        assert disturbed is None
        return
    assert disturbed is not None
    assert disturbed.code == "host.disturbed"
    assert {name: disturbed.values[name] for name in found} == pytest.approx(found)
    assert told(disturbed)


def test_the_figure_is_told() -> None:
    slow = refusal(
        "host.disturbed",
        others_cpus=0.9,
        stolen_cpus=0.0,
        throttled_cpus=0.0,
        cpus=2.0,
        speed=0.55,
    )
    assert told(slow).startswith(
        "Other processes used 0.9 of this host's 2 CPUs and this host ran at 0.55 of its fastest"
    )


@given(share=st.floats(0.0, 1.0), slowness=st.floats(1.0, 4.0))
def test_a_part_of_a_stage_counts_by_its_time(share: float, slowness: float) -> None:
    """A hog for a share of the time takes that share of what it would take all the while."""
    hogged = round(20 * share)
    slow = {"others_cpus": 1.0, "reference_cpu_s": 0.0016 * slowness}
    reports = host_reports(reports_of(*[QUIET] * (20 - hogged), *[slow] * hogged))

    found = disturbance(reports, 0.0, 100.0)

    taken = (hogged + 0.02 * (20 - hogged)) / 20 / 2
    known = sorted(report.reference_s for report in reports)
    fastest_s = known[1] + 0.9 * (known[2] - known[1])
    speed = 20 / sum(max(report.reference_s / fastest_s, 1.0) for report in reports)
    if min(abs(taken - TAKEN_LIMIT), abs(speed - SLOWEST)) > 1e-6:
        assert (found is not None) == (taken > TAKEN_LIMIT or speed < SLOWEST)


def test_too_few_reports_have_no_speed() -> None:
    slow = {"reference_cpu_s": 0.01}
    assert disturbance(host_reports(reports_of({}, {}, slow, slow)), 10.0, 20.0) is None
    assert disturbance((), 0.0, 10.0) is None
    assert speeds(()).size == 0


Write = Callable[..., Run]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Write:
    """A run of six stages with a report every 5 s; a stage's number says what to change in it."""

    def write(
        kind: str, changes: dict[int, dict[str, Any]], question: str = "capacity", **keys: Any
    ) -> Run:
        directory = tmp_path_factory.mktemp("runs") / "run"
        write_synthetic_run(directory, question=question, **keys)
        manifest = json.loads((directory / "manifest.json").read_text())
        manifest["environment"]["kind"] = kind
        (directory / "manifest.json").write_text(json.dumps(manifest))
        every = [changes.get(place * 5 // STAGE_S, {}) for place in range(STAGES * STAGE_S // 5)]
        events = [
            {**event, "time_s": STARTED_AT_S + event["time_s"], "source": "harness"}
            for event in reports_of(*every)
        ]
        with (directory / "events.jsonl").open("a") as file:
            file.writelines(json.dumps(event) + "\n" for event in events)
        return Run.read(directory)

    return write


def trials(run: Run) -> list[str]:
    return [stage.trial for stage in run.stages]


def codes(found: tuple[Finding, ...]) -> set[str]:
    return {each.code for each in found}


def test_a_stage_beside_other_work_is_undecided_and_the_others_answer(written: Write) -> None:
    quiet, hogged = written("local", {}), written("local", {1: HOG})

    assert trials(quiet) == ["pass"] * 5 + ["fail"]
    assert trials(hogged) == ["pass", "undecided", *["pass"] * 3, "fail"]
    assert hogged.stages[1].trial_reason == hogged.stages[1].host_disturbed
    assert hogged.stages[1].host_disturbed.values["others_cpus"] == pytest.approx(1.2)
    assert quiet.verdict.exit_code == hogged.verdict.exit_code == 0
    assert quiet.demand is not None
    assert hogged.demand is not None
    # A stage of 50 s has nine or ten periods of 5 s.
    assert 8 <= quiet.demand.mix_s.n - hogged.demand.mix_s.n <= 10
    assert codes(hogged.analysis.warnings) - codes(quiet.analysis.warnings) >= {
        "run.host_disturbed"
    }
    assert objection(quiet.analysis) is None
    assert objection(hogged.analysis).code == "identity.host_disturbed"
    draw_timeline(hogged.analysis, hogged.calls)


def test_a_question_that_rests_on_a_disturbed_stage_is_not_answered(written: Write) -> None:
    run = written("local", {5: HOG})
    assert run.verdict.exit_code == 5
    assert run.capacity.explanation.values["reason"].code == "host.disturbed"


def test_a_run_that_was_disturbed_all_the_while_has_no_demand(written: Write) -> None:
    run = written("local", dict.fromkeys(range(STAGES), HOG))
    assert run.demand.refusal.code == "host.disturbed"
    assert run.sizing.target is None or run.sizing.target.webservers is None
    assert run.verdict.exit_code == 5


def test_a_check_passes_only_on_a_quiet_host(written: Write) -> None:
    slo = ("rate(errors) < 90%",)
    slow = {"reference_cpu_s": 0.004}
    verdicts = [
        written("local", changes, "check", slo=slo).verdict for changes in ({}, {3: slow}, {4: HOG})
    ]
    assert [verdict.exit_code for verdict in verdicts] == [0, 5, 5]
    assert [codes(verdict.reasons) for verdict in verdicts[1:]] == [{"verdict.stage_spoilt"}] * 2


def test_webservers_elsewhere_are_judged_beside_a_busy_host(written: Write) -> None:
    run, quiet = written("simulated", {1: HOG, 3: {"others_cpus": 1.9}}), written("simulated", {})
    assert trials(run) == trials(quiet)
    assert run.demand == quiet.demand
    assert run.verdict == quiet.verdict
    (noted,) = set(run.analysis.notes) - set(quiet.analysis.notes)
    assert noted.code == "run.host_disturbed"
    assert noted.values["stages"] == (2, 4)
    assert noted.values["worst"][0] == 3
    assert told(noted).startswith("Beside stages 2, 4, most in stage 4: other processes used 1.9 ")
    assert run.analysis.warnings == quiet.analysis.warnings


def test_a_host_that_is_slow_but_not_too_slow_is_a_warning(written: Write) -> None:
    slow, slower = {"reference_cpu_s": 0.0021}, {"reference_cpu_s": 0.0022}
    run, quiet = written("local", {1: slow, 3: slower}), written("local", {})

    assert trials(run) == trials(quiet)
    assert run.demand == quiet.demand
    (warned,) = set(run.analysis.warnings) - set(quiet.analysis.warnings)
    assert (warned.code, warned.values["stages"]) == ("run.host_slow", (2, 4))
    assert warned.values["speed"] == pytest.approx(16 / 22)
    assert "was slow (0.73 of its fastest, stages 2, 4)" in told(warned)
    assert written("simulated", {1: slow}).analysis.warnings == quiet.analysis.warnings
