"""The fit must find the rule that made the records, and say what they do not tell."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest

from mwaa_headroom.analysis.findings import note, refusal, warning
from mwaa_headroom.analysis.policy.fit import FittedParameter, PolicyFit, fit_policy
from mwaa_headroom.analysis.policy.fit_search import judge
from mwaa_headroom.analysis.policy.recorded import Change, RecordedScaling, SeenPeriod
from mwaa_headroom.analysis.policy.replay import FittedRule, replay_rule, rule_decisions
from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters
from mwaa_headroom.analysis.policy.simulate import simulate
from mwaa_headroom.analysis.policy.workload import Workload
from mwaa_headroom.analysis.statistics import Floats

PERIOD_S = 60
CALLS = Workload(demand_s=0.02, background_cpu=0.02, webserver_cpu=0.5, latency_s=0.01)
STEP = np.repeat([15.0, 60.0], 600)
# Bursts of one, two and three periods, then up to many webservers and down again.
BURSTS = np.repeat(
    [15, 45, 15, 45, 15, 45, 15, 80, 12, 45, 12],
    [400, 60, 400, 120, 400, 180, 900, 1200, 1800, 600, 1200],
).astype(float)


def recorded(
    policy: PolicyParameters,
    rate: Floats = BURSTS,
    *,
    start_s: float = 120.0,
    between: tuple[int, int] = (2, 5),
    decisions_known: bool = True,
) -> RecordedScaling:
    """What a run of an environment with this rule would leave.

    Webservers start in whole periods: else the mean over them, which the rule sees, is not the mean
    over seconds, which is put into the record here.
    """
    low, high = between
    simulated = simulate(
        rate,
        CALLS,
        policy,
        period_s=PERIOD_S,
        start_s=start_s,
        min_webservers=low,
        max_webservers=high,
    )
    periods = []
    for end_s in range(PERIOD_S, len(rate) + 1, PERIOD_S):
        seconds = slice(end_s - PERIOD_S, end_s)
        count = int(simulated.webservers[end_s - 1])
        cpu = float(simulated.cpu_percent[seconds].mean())
        connections = float(simulated.connections[seconds].mean()) / count
        periods.append(SeenPeriod(end_s, (cpu,) * count, (connections,) * count, count))
    changes = []
    for event in simulated.events:
        shown_s = (event.ready_s // PERIOD_S + 1) * PERIOD_S  # end of the period that shows it
        at_s = (event.decided_s,) * 2 if decisions_known else (shown_s - PERIOD_S, shown_s)
        changes.append(Change(*at_s, event.from_count, event.to_count))
    return RecordedScaling(
        run_id="made",
        began_s=0.0,
        started_s=0.0,
        period_s=PERIOD_S,
        periods=tuple(periods),
        changes=tuple(changes),
        decisions_known=decisions_known,
        start_times_s=tuple(start_s for change in changes if change.added > 0)
        if decisions_known
        else (),
        waited_s=(),
        min_webservers=low,
        max_webservers=high,
        cpu_above_percent=70.0,
        connections_above=15.0,
    )


def told(fit: PolicyFit, name: str) -> FittedParameter:
    return next(each for each in fit.parameters if each.name == name)


@pytest.mark.parametrize(
    "truth",
    [
        PolicyParameters(datapoints_to_alarm=2, evaluation_periods=2, scale_out_cooldown_s=120.0),
        PolicyParameters(
            datapoints_to_alarm=1,
            evaluation_periods=1,
            scale_out_cooldown_s=300.0,
            scale_in_periods=10,
        ),
        PolicyParameters(
            datapoints_to_alarm=3,
            evaluation_periods=3,
            scale_out_step=2,
            scale_out_cooldown_s=60.0,
            scale_in_step=2,
            scale_in_cooldown_s=300.0,
        ),
    ],
    ids=["2 of 2", "1 of 1", "3 of 3, two at a time"],
)
def test_the_rule_behind_the_records_is_among_those_that_fit(truth: PolicyParameters) -> None:
    run = recorded(truth)
    assert any(change.added < 0 for change in run.changes)
    fit = fit_policy([run])
    assert fit.mismatch_periods == 0
    assert fit.rule is not None
    assert fit.start_s.value == fit.rule.start_s == 120.0
    m_of_n = f"{truth.datapoints_to_alarm} of {truth.evaluation_periods}"
    assert m_of_n in told(fit, "datapoints_to_alarm").values
    assert told(fit, "scale_out_step").values == (str(truth.scale_out_step),)
    assert told(fit, "scale_in_step").values == (str(truth.scale_in_step),)
    others_m = {value[0] for value in told(fit, "datapoints_to_alarm").values}
    assert others_m == {m_of_n[0]}  # bursts of one, two and three periods tell M apart
    assert replay_rule(run, fit.rule).agrees
    assert [change.to_s for change in rule_decisions(run, truth)] == [
        change.to_s for change in run.changes
    ]


def test_a_cooldown_is_told_to_within_a_period() -> None:
    fit = fit_policy([recorded(PolicyParameters(scale_out_cooldown_s=200.0))])
    cooldown = told(fit, "scale_out_cooldown_s")
    assert cooldown.verdict == "determined"
    assert cooldown.values == ("over 180 s, up to 240 s",)


def test_one_step_to_the_maximum_does_not_tell_step_and_cooldown() -> None:
    fit = fit_policy([recorded(PolicyParameters(), np.repeat([15.0, 60.0], 600), between=(2, 3))])
    assert told(fit, "scale_out_step").verdict == "unknown"
    assert told(fit, "scale_out_cooldown_s").verdict == "unknown"
    assert told(fit, "scale_in_periods").verdict == "unknown"
    assert told(fit, "scale_in_periods").why == note("policy.no_scale_in")
    assert {other.policy.scale_out_step for other in fit.others} >= {3}
    assert warning("policy.few_changes", changes=1) in fit.warnings


@pytest.mark.parametrize("m", [1, 2])
def test_without_decisions_the_start_goes_with_the_datapoints(m: int) -> None:
    """One clean step: a period more until the decision looks like a period less to start."""
    truth = PolicyParameters(datapoints_to_alarm=m, evaluation_periods=m)
    fit = fit_policy(
        [recorded(truth, np.repeat([15.0, 60.0], 900), between=(2, 3), decisions_known=False)]
    )
    assert fit.mismatch_periods == 0
    assert {"1 of 1", "2 of 2"} <= set(told(fit, "datapoints_to_alarm").values)
    start = told(fit, "start_s")
    assert start.verdict == "not told apart"
    assert fit.start_s.low is not None
    assert fit.start_s.high is not None
    assert fit.start_s.low <= 120.0 <= fit.start_s.high
    for rule in fit.others:  # each rule has its own start time, which makes up for its datapoints
        run = recorded(truth, np.repeat([15.0, 60.0], 900), between=(2, 3), decisions_known=False)
        assert replay_rule(run, rule).agrees


def test_a_decision_whose_webserver_comes_after_the_record_is_no_decision_too_many() -> None:
    truth = PolicyParameters(datapoints_to_alarm=1, evaluation_periods=1)
    whole = recorded(truth, np.repeat([15.0, 60.0], [900, 240]), decisions_known=False)
    assert any(change.to_s > whole.periods[-1].end_s for change in whole.changes)
    seen = tuple(each for each in whole.changes if each.to_s <= whole.periods[-1].end_s)
    run = replace(whole, changes=seen)
    assert judge([run], truth, sign=1).cost == 0
    fit = fit_policy([run])
    assert "1 of 1" in told(fit, "datapoints_to_alarm").values
    assert replay_rule(run, FittedRule(truth, 120.0)).agrees


def test_without_decisions_the_least_and_the_longest_start_of_a_rule_are_tried() -> None:
    fit = fit_policy([recorded(PolicyParameters(), STEP, between=(2, 3), decisions_known=False)])
    assert fit.rule is not None
    own = {other.start_s for other in fit.others if other.policy == fit.rule.policy}
    assert min(own) <= fit.rule.start_s - 25.0
    assert max(own) >= fit.rule.start_s + 25.0


def test_webservers_that_start_unevenly_may_next_do_so_beyond_those_seen() -> None:
    run = recorded(PolicyParameters())
    tried = {
        starts_s: [
            other.start_s for other in fit_policy([replace(run, start_times_s=starts_s)]).others
        ]
        for starts_s in ((100.0, 120.0, 140.0), (120.0, 120.0, 120.0))
    }
    reach_s = 4.303 * 20.0 * (4 / 3) ** 0.5  # Student's t of two degrees of freedom
    uneven, even = tried.values()
    assert min(uneven) == pytest.approx(120.0 - reach_s, abs=0.1)
    assert max(uneven) == pytest.approx(120.0 + reach_s, abs=0.1)
    assert set(even) == {120.0}


@pytest.mark.slow
def test_bursts_that_ended_early_tell_the_datapoints_without_decisions() -> None:
    """A breach of one period that did nothing rules out M = 1."""
    fit = fit_policy([recorded(PolicyParameters(), decisions_known=False)])
    assert fit.mismatch_periods == 0
    assert all(value[0] == "2" for value in told(fit, "datapoints_to_alarm").values)
    assert fit.start_s.low is not None
    assert fit.start_s.high is not None
    assert fit.start_s.low <= 120.0 <= fit.start_s.high
    assert fit.start_s.high - fit.start_s.low <= PERIOD_S


def later(run: RecordedScaling, by_s: Sequence[float]) -> RecordedScaling:
    """With scale-outs that the count shows so much later, in turns."""
    out = cycle(by_s)
    changes = (each.later(next(out)) if each.added > 0 else each for each in run.changes)
    return replace(run, changes=tuple(changes))


@pytest.mark.slow
def test_starts_that_vary_are_told_where_a_constant_one_does_not_explain_the_counts() -> None:
    rate = np.repeat([15.0, 80.0, 12.0, 80.0], [600, 720, 900, 720])
    run = later(recorded(PolicyParameters(), rate, decisions_known=False), (-60.0, 60.0))
    fit = fit_policy([run])
    (varies,) = (each for each in fit.warnings if each.code == "policy.start_varies")
    assert fit.mismatch_periods == 0
    assert 0 < varies.values["low_s"] <= 60.0
    assert 180.0 <= varies.values["high_s"] < 300.0
    assert fit.rule is not None
    assert replay_rule(run, fit.rule).agrees
    assert not replay_rule(run, replace(fit.rule, spread_s=0.0)).agrees
    assert {varies.values["low_s"], varies.values["high_s"]} <= {
        other.start_s for other in fit.others
    }


def test_one_slow_start_would_explain_a_rule_that_is_a_period_off_by_counts_alone() -> None:
    truth = PolicyParameters(scale_out_cooldown_s=180.0)
    seen = {
        decisions_known: told(
            fit_policy(
                [
                    recorded(
                        truth,
                        np.repeat([15.0, 80.0], 600),
                        between=(2, 4),
                        decisions_known=decisions_known,
                    )
                ]
            ),
            "scale_out_cooldown_s",
        ).values
        for decisions_known in (True, False)
    }
    assert seen == {
        True: ("over 120 s, up to 180 s",),
        False: ("over 60 s, up to 240 s",),
    }


def test_what_follows_no_rule_may_take_any_step_next() -> None:
    run = recorded(PolicyParameters(scale_out_cooldown_s=120.0), np.repeat([15.0, 80.0], 900))
    first, *others = run.changes
    larger = replace(run, changes=(replace(first, to_count=first.to_count + 1), *others))
    as_modelled, fit = fit_policy([run]), fit_policy([larger])
    assert fit.mismatch_periods == 1
    assert {other.policy.scale_out_step for other in as_modelled.others} == {1}
    assert {(o.policy.scale_out_step, o.policy.scale_in_step) for o in fit.others} >= {
        (1, 1),
        (1, 3),
        (3, 1),
        (3, 3),
    }


def test_a_webserver_that_never_came_leaves_the_start_unknown() -> None:
    step = recorded(PolicyParameters(), np.repeat([15.0, 60.0], 600), between=(2, 3))
    fit = fit_policy([replace(step, start_times_s=(), waited_s=(45.0, 90.0))])
    assert fit.rule is not None
    assert fit.rule.start_s == 120.0
    assert (fit.start_s.value, fit.start_s.low, fit.start_s.high) == (None, 90.0, None)
    start = told(fit, "start_s")
    assert (start.verdict, start.values, start.used) == ("unknown", ("over 90 s",), "120 s")
    assert warning("policy.start_unknown", taken_s=120.0, longest_s=1800.0) in fit.warnings
    assert {90.0, 1800.0} <= {other.start_s for other in fit.others}
    longer = fit_policy([replace(step, start_times_s=(), waited_s=(400.0,))])
    assert longer.rule is not None
    assert longer.rule.start_s == 400.0


def test_a_webserver_that_never_came_widens_the_range_of_those_that_did() -> None:
    run = recorded(PolicyParameters())
    fit = fit_policy([replace(run, start_times_s=(100.0, 120.0, 130.0), waited_s=(200.0,))])
    assert (fit.start_s.value, fit.start_s.low, fit.start_s.high) == (120.0, 100.0, 200.0)
    assert told(fit, "start_s").verdict == "determined"


def test_without_a_scale_in_the_quickest_and_the_slowest_way_back_fit_too() -> None:
    fit = fit_policy([recorded(PolicyParameters(), np.repeat([15.0, 60.0], 600), between=(2, 3))])
    assert fit.rule is not None
    back = {way_back(other.policy) for other in fit.others} - {way_back(fit.rule.policy)}
    assert back == {(1, 70.0, 15.0, 3, 60.0), (30, 10.0, 1.0, 1, 900.0)}


def test_a_way_back_that_was_seen_varies_only_in_what_it_leaves_open() -> None:
    run = recorded(PolicyParameters(scale_in_step=2))
    fit = fit_policy([run])
    back = {way_back(other.policy) for other in fit.others}
    assert len(back) > 1
    assert {step for _, _, _, step, _ in back} == {2}
    assert all(replay_rule(run, other).agrees for other in fit.others)


def way_back(policy: PolicyParameters) -> tuple[float, ...]:
    return (
        policy.scale_in_periods,
        policy.scale_in_cpu_below_percent,
        policy.scale_in_connections_below,
        policy.scale_in_step,
        policy.scale_in_cooldown_s,
    )


def test_more_runs_tell_more() -> None:
    step = recorded(PolicyParameters(), np.repeat([15.0, 60.0], 900), between=(2, 3))
    one = fit_policy([step])
    both = fit_policy([step, recorded(PolicyParameters())])
    for name in ("datapoints_to_alarm", "scale_out_step", "scale_out_cooldown_s"):
        assert len(told(both, name).values) <= len(told(one, name).values)
    assert told(both, "scale_out_step").verdict == "determined"
    assert told(one, "scale_out_step").verdict == "unknown"


def test_a_rule_that_nobody_tried_is_said_so() -> None:
    """A webserver that comes out of nowhere fits no rule."""
    run = recorded(PolicyParameters())
    early = replace(run, changes=(Change(100.0, 100.0, 2, 3), *run.changes))
    fit = fit_policy([early])
    assert fit.mismatch_periods
    changes = len(early.changes)
    values = {"explained": changes - 1, "changes": changes, "extra": 0, "off_periods": 3.0}
    assert warning("policy.mismatch", **values) in fit.warnings


def test_pinned_runs_and_runs_without_a_change_are_refused() -> None:
    pinned = recorded(PolicyParameters(), between=(3, 3))
    fit = fit_policy([pinned])
    assert fit.rule is None
    assert fit.refusal == refusal("policy.no_run_scales")
    assert fit.left_out == (note("policy.pinned", run_id="made", webservers=3),)
    calm = fit_policy([recorded(PolicyParameters(), np.full(600, 10.0))])
    assert calm.refusal == refusal("policy.no_scale_out")
