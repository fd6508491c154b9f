"""From recorded runs to the answer: replays of known environments, loads, and what is refused."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from synthetic_records import SyntheticRun, write_synthetic_run

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.policy import what_if
from mwaa_headroom.analysis.policy.fit import PolicyFit, fit_policy
from mwaa_headroom.analysis.policy.recorded import (
    RecordedScaling,
    recorded_rates,
    recorded_scaling,
)
from mwaa_headroom.analysis.policy.what_if import AskedLoad, answer_what_if
from mwaa_headroom.analysis.policy.workload import Workload, workload_of
from mwaa_headroom.analysis.record import read_run
from mwaa_headroom.analysis.results import RunAnalysis
from mwaa_headroom.analysis.run import ANALYSED_COLUMNS, Run

TRUTH = SyntheticRun(rates_per_s=(4.0, 8.0, 18.0, 24.0, 28.0), max_webservers=4)


def identified(directory: Path) -> RunAnalysis:
    record = read_run(directory, ANALYSED_COLUMNS)
    return Run(record).analysis


def recorded_calls(run: RunAnalysis) -> float:
    return sum(point.offered_per_s * point.period_s for point in run.periods)


@pytest.fixture(scope="module", autouse=True)
def the_same_runs_are_fitted_once() -> Iterator[None]:
    """A fit takes a second, and nearly every test asks about the same run."""

    @cache
    def fit(runs: tuple[RecordedScaling, ...], left_out: tuple[Finding, ...]) -> PolicyFit:
        return fit_policy(runs, left_out)

    def fit_once(runs: Sequence[RecordedScaling], left_out: Sequence[Finding]) -> PolicyFit:
        return fit(tuple(runs), tuple(left_out))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(what_if, "fit_policy", fit_once)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunAnalysis:
    """2 -> 3 -> 4 webservers by CPU above 70 % in two periods on end, started in 4 s."""
    directory = tmp_path_factory.mktemp("what-if") / "run"
    write_synthetic_run(directory, TRUTH)
    return identified(directory)


def test_the_recorded_rule_is_found_and_replayed(run: RunAnalysis) -> None:
    answer = answer_what_if([run], None)
    assert answer.exit_code == 0
    assert answer.fit.mismatch_periods == 0
    assert answer.fit.rule is not None
    assert answer.fit.rule.start_s == pytest.approx(TRUTH.webserver_start_s)
    assert answer.fit.rule.policy.datapoints_to_alarm == 2
    by_rule, by_load = answer.replays
    assert by_rule.agrees
    assert [(event.from_count, event.to_count) for event in by_rule.changes] == [(2, 3), (3, 4)]
    # From the load alone chance is missing, so a decision may be off by some periods.
    assert [
        event.verdict for event in by_load.changes if event.verdict in ("missed", "extra")
    ] == []
    assert by_load.cpu_off_percent is not None
    assert by_load.cpu_off_percent < 5.0


def test_the_cost_of_a_call_is_that_of_the_run(run: RunAnalysis) -> None:
    workload = workload_of(run)
    assert isinstance(workload, Workload)
    assert workload.demand_s == pytest.approx(TRUTH.mix_demand_s, rel=0.1)
    assert workload.webserver_cpu == TRUTH.webserver_cpu
    assert workload.background_cpu == pytest.approx(TRUTH.background_cpu, abs=0.01)
    assert workload.slow_after_s == 0.8
    assert workload.connections_per_call == pytest.approx(1.0, abs=0.15)


def test_ten_times_the_load_on_many_webservers(run: RunAnalysis) -> None:
    asked = AskedLoad("ten times", None, scale=10.0, min_webservers=40, max_webservers=500)
    load = answer_what_if([run], asked).load
    assert load is not None
    assert load.min_webservers == 40
    assert load.calls == pytest.approx(10 * sum(p.offered_per_s * p.period_s for p in run.periods))
    assert load.most_webservers.value == 40  # 280 calls/s need 26 at 100 % and 37 at 70 %
    assert load.failed_calls.value == pytest.approx(0, abs=1)
    assert load.overloads == ()


def test_a_burst_is_caught_up_with_and_ranges_hold_the_value(run: RunAnalysis) -> None:
    rate = np.repeat([6.0, 38.0, 6.0], 300)
    load = answer_what_if([run], AskedLoad("burst", rate)).load
    assert load is not None
    (overload,) = load.overloads
    assert overload.from_s == 300.0
    assert overload.caught_up
    assert load.caught_up_after_s.value == overload.to_s - overload.from_s
    assert [event.to_count for event in load.changes if event.to_count > event.from_count] == [3, 4]
    assert load.simulations > 5
    for figure in (load.slow_calls, load.failed_share, load.webserver_hours, load.overload_s):
        assert figure.value is not None
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
    assert len(load.points) <= 600
    assert sum(point.rate_per_s for point in load.points) / len(load.points) == pytest.approx(
        load.mean_rate_per_s, rel=0.01
    )


def test_a_load_that_is_too_much_is_never_caught_up_with(run: RunAnalysis) -> None:
    load = answer_what_if([run], AskedLoad("flood", np.full(600, 200.0))).load
    assert load is not None
    assert load.caught_up_after_s.value is None
    assert not load.overloads[-1].caught_up
    assert load.under_provisioned_time.value == pytest.approx(1.0)


def test_what_cannot_be_told_is_refused(run: RunAnalysis, tmp_path: Path) -> None:
    pinned = answer_what_if([replace(run, scaling=(), environment={"max_webservers": 2})], None)
    assert pinned.exit_code == 5
    assert pinned.refusals == (refusal("policy.no_run_scales"),)
    costless = answer_what_if([replace(run, demand=None)], AskedLoad("x", np.full(60, 5.0)))
    assert costless.load is None
    assert costless.refusals == (refusal("policy.no_demand", run_id="run", why=()),)
    assert costless.replays[1].refusal == costless.refusals[0]
    write_synthetic_run(tmp_path / "bare", with_metrics=False)
    bare = answer_what_if([identified(tmp_path / "bare")], None)
    assert bare.fit.left_out == (refusal("policy.no_metrics", run_id="bare"),)


def test_a_closed_workload_is_no_load_to_repeat(run: RunAnalysis) -> None:
    stages = tuple(replace(stage, users=5) for stage in run.stages)
    closed = replace(run, stages=stages)
    answer = answer_what_if([closed], AskedLoad("again", None, scale=2.0))
    assert answer.refusals == (refusal("policy.closed_load", run_id="run"),)
    assert answer_what_if([closed], AskedLoad("other", np.full(60, 5.0))).load is not None


def test_runs_that_are_not_alike_are_refused_by_their_differences(
    run: RunAnalysis, tmp_path: Path
) -> None:
    write_synthetic_run(
        tmp_path / "other", TRUTH, webserver_cpu=1.0, mix={"trigger_dag_run": 1.0}, slo=()
    )
    answer = answer_what_if([run, identified(tmp_path / "other")], AskedLoad("x", np.full(60, 5.0)))
    assert (answer.exit_code, answer.load, answer.fit.rule) == (5, None, None)
    first, *unlike = answer.refusals
    differing = {each.values["what"]: each.values["values"] for each in unlike}
    assert first.code == "policy.unlike_runs"
    assert {each.code for each in unlike} == {"identity.unlike"}
    assert differing["CPUs per webserver"] == (("0.25", "run"), ("1", "other"))
    assert "mix: trigger_dag_run" in differing
    assert "SLO" not in differing
    step = "environment.autoscaler.scale_out_step"
    slower, faster = (replace(run.identity, settings={step: each}) for each in ("1", "2"))
    rules = [replace(run, identity=slower), replace(run, identity=faster, run_id="b")]
    assert answer_what_if(rules, None).refusals[1:] == (
        refusal("identity.unlike", what=step, values=(("1", "run"), ("2", "b"))),
    )
    same_name = [rules[0], replace(rules[1], run_id="run")]
    assert answer_what_if(same_name, None).refusals[1].values["what"] == step


def test_the_recorded_load_is_that_of_the_first_run_or_of_none(
    run: RunAnalysis, tmp_path: Path
) -> None:
    write_synthetic_run(tmp_path / "bare", TRUTH, with_metrics=False)
    bare = identified(tmp_path / "bare")
    refused = answer_what_if([bare, run], AskedLoad("twice", None, scale=2.0))
    assert refused.load is None
    no_metrics = refusal("policy.no_metrics", run_id="bare")
    assert refused.refusals == (refusal("policy.first_run_unusable", why=no_metrics),)
    assert answer_what_if([run, bare], AskedLoad("twice", None, scale=2.0)).load is not None


def test_the_runs_of_load_and_calls_are_named_and_the_limits_are_those_that_scaled(
    run: RunAnalysis, tmp_path: Path
) -> None:
    write_synthetic_run(tmp_path / "pinned", TRUTH, max_webservers=2, seed=2)
    pinned = identified(tmp_path / "pinned")
    load = answer_what_if([pinned, run], AskedLoad("again", None)).load
    assert load is not None
    assert load.load_of == "pinned"
    assert load.calls_of in ("pinned", "run")
    assert (load.min_webservers, load.max_webservers) == (2, 4)
    given = answer_what_if([pinned, run], AskedLoad("x", np.full(60, 5.0))).load
    assert given is not None
    assert given.load_of == ""


def test_a_way_back_that_nobody_saw_is_in_the_range_of_webserver_hours(run: RunAnalysis) -> None:
    rate = np.repeat([6.0, 38.0, 6.0], [300, 300, 2400])
    load = answer_what_if([run], AskedLoad("burst", rate)).load
    assert load is not None
    hours = load.webserver_hours
    assert hours.value is not None
    assert hours.low is not None
    assert hours.high is not None
    assert hours.low < hours.value < hours.high
    # The slowest way back keeps four webservers to the end.
    assert hours.high > (300 * 2 + 2600 * 4) / 3600


def test_a_run_that_ends_before_its_webserver_comes_is_answered(run: RunAnalysis) -> None:
    asked_for = replace(run.scaling[0], ready_s=None, count_changed_s=None)
    cut = replace(run, scaling=(asked_for,))
    answer = answer_what_if([cut], AskedLoad("x", np.full(120, 5.0)))
    assert answer.exit_code == 0
    last = cut.periods[-1]
    assert asked_for.decision_s is not None
    waited_s = last.start_s + last.period_s - asked_for.decision_s
    assert (answer.fit.start_s.value, answer.fit.start_s.low) == (None, waited_s)
    undone = replace(asked_for, from_count=3, to_count=2)
    scaling = recorded_scaling(replace(cut, scaling=(asked_for, undone)))
    assert isinstance(scaling, RecordedScaling)
    assert scaling.waited_s == ()


def test_recorded_rates_put_every_call_into_its_second(run: RunAnalysis) -> None:
    scaling = recorded_scaling(run)
    assert isinstance(scaling, RecordedScaling)
    rates = recorded_rates(scaling, run)
    assert len(rates) == len(run.periods) * scaling.period_s
    assert rates.sum() == pytest.approx(sum(p.offered_per_s * p.period_s for p in run.periods))


def test_times_count_from_the_start_of_the_run(run: RunAnalysis) -> None:
    began_s = run.periods[0].start_s
    later = replace(run, started_at_s=began_s + 3.0)
    answer = answer_what_if([later], AskedLoad("again", None))
    by_rule, by_load = answer.replays
    decided_s = [event.decision_s for event in run.scaling]
    assert [event.recorded_s for event in by_rule.changes] == [
        each - began_s - 3.0 for each in decided_s if each is not None
    ]
    assert by_load.points[0].at_s == by_load.period_s - 3.0
    assert answer.load is not None
    # Decisions are made where metric periods end, on the same clock.
    assert {(event.decided_s + 3.0) % by_load.period_s for event in answer.load.changes} == {0.0}
    assert answer.load.calls == pytest.approx(recorded_calls(run))


def test_too_much_is_refused_where_only_the_run_tells_the_rate(run: RunAnalysis) -> None:
    answer = answer_what_if([run], AskedLoad("flood", None, scale=1000.0))
    assert answer.load is None
    (refused,) = answer.refusals
    assert (refused.code, refused.values["most_per_s"]) == ("policy.load_too_high", 5000)


def test_changes_that_no_rule_explains_leave_a_load_unanswered(run: RunAnalysis) -> None:
    """Changes that come by the clock, before there is any load to answer."""
    began_s = run.periods[0].start_s
    clocked = [
        replace(
            run.scaling[0],
            from_count=count,
            to_count=count + 1,
            decision_s=began_s + 20.0 * place,
            ready_s=began_s + 20.0 * place + 4.0,
        )
        for place, count in enumerate((2, 3), start=1)
    ]
    answer = answer_what_if([replace(run, scaling=tuple(clocked))], AskedLoad("burst", np.ones(60)))
    assert answer.load is None
    assert answer.exit_code == 5
    (why,) = answer.refusals
    assert why.code == "policy.rule_not_followed"
    assert why.values["changes"] == 2
    assert why.values["explained"] == 0
    assert answer.replays
