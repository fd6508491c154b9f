"""What the caller or the network did is not blamed on the environment."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls_by_hand import calls_by_hand
from spoilt_records import add_event, fail_from
from synthetic_records import STARTED_AT_S, write_synthetic_run

from mwaa_headroom.analysis.caller_failures import CALLERS, failed_before, outcomes_before
from mwaa_headroom.analysis.comparison.compare import compare_runs
from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.planning.capacity_curve import capacity_curve, trial_run
from mwaa_headroom.analysis.planning.loads import load_between
from mwaa_headroom.analysis.planning.size import answer_size
from mwaa_headroom.analysis.policy.workload import Workload, workload_of
from mwaa_headroom.analysis.run import Run
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.slo_judgement import Window, judge
from mwaa_headroom.analysis.verdict import judge_check

RATES_PER_S = (4.0, 8.0, 12.0, 36.0)
STAGE_S = 60.0
MIDDLE_OF_THE_THIRD_S = STARTED_AT_S + 2.5 * STAGE_S


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as it was: it takes 12 calls/s and breaks at 36."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    write_synthetic_run(directory, max_webservers=2, rates_per_s=RATES_PER_S, stage_s=STAGE_S)
    assert Run.read(directory).verdict.exit_code == 0
    return directory


def spoilt(whole: Path, directory: Path, outcome: str, code: str | None = None) -> Run:
    """The same, but from the middle of its third stage on all calls fail."""
    shutil.copytree(whole, directory)
    fail_from(directory, MIDDLE_OF_THE_THIRD_S, outcome, code)
    return Run.read(directory)


def named(findings: Any, code: str) -> Finding:
    """The finding of a code, in findings or in those that they hold."""
    found = list(findings)
    for each in found:
        if each.code == code:
            return each
        found += [value for value in each.values.values() if isinstance(value, Finding)]
    raise AssertionError(f"{code} is not among {[each.code for each in found]}")


@pytest.mark.parametrize(
    ("outcome", "error_code", "expected"),
    [
        ("denied", "ExpiredTokenException", "caller.credentials_expired"),
        ("denied", "UnauthorizedSSOTokenError", "caller.credentials_expired"),
        ("denied", "TokenRetrievalError", "caller.credentials_expired"),
        ("denied", "InvalidGrantException", "caller.credentials_expired"),
        ("denied", "RequestExpired", "caller.credentials_expired"),
        ("connection_error", "ConnectTimeoutError", "network.connections_failed"),
        ("denied", "AccessDeniedException", "caller.calls_failed"),
        ("invalid", "ValidationException", "caller.calls_failed"),
        ("not_found", "ResourceNotFoundException", "caller.calls_failed"),
        ("connection_error", "EndpointConnectionError", "network.connections_failed"),
    ],
)
def test_stages_whose_calls_failed_before_the_environment_are_not_judged(
    whole: Path, tmp_path: Path, outcome: str, error_code: str, expected: str
) -> None:
    """Before, "stopped by webserver CPU" at 12 calls/s, or "SLO not met"."""
    run = spoilt(whole, tmp_path / "run", outcome, error_code)
    assert [stage.trial for stage in run.stages] == ["pass", "pass", "undecided", "undecided"]
    check = judge_check(run.slo, run.stages, (), status=run.status)
    assert (run.verdict.exit_code, check.exit_code) == (5, 5)
    named(check.reasons, expected)
    finding = named(run.verdict.reasons, expected)
    assert finding.values["failed"] < finding.values["sent"]
    if expected == "caller.credentials_expired":
        assert finding.values["code"] == error_code
        assert abs(finding.values["at_s"] - MIDDLE_OF_THE_THIRD_S) < 2.0
    assert run.capacity is not None
    assert run.capacity.stopped_by_stage is None
    assert run.capacity.rate_per_s is not None
    assert run.capacity.rate_per_s.value is None


def test_an_event_tells_when_the_credentials_expired(whole: Path, tmp_path: Path) -> None:
    run = spoilt(whole, tmp_path / "run", "denied", "AccessDeniedException")
    assert run.expiry is None
    at_s = STARTED_AT_S + 140.0
    code = "ExpiredTokenException"
    add_event(tmp_path / "run", kind="credentials_expired", time_s=at_s, code=code)
    finding = named(Run.read(tmp_path / "run").verdict.reasons, "caller.credentials_expired")
    assert (finding.values["at_s"], finding.values["code"]) == (at_s, code)


def test_the_demand_is_that_of_the_stages_whose_calls_arrived(whole: Path, tmp_path: Path) -> None:
    """The true demand is 22 ms, later CPU is 1 % and no call arrives."""
    run = spoilt(whole, tmp_path / "run", "connection_error")
    assert run.demand is not None
    assert run.demand.mix_s.value is not None
    assert abs(run.demand.mix_s.value - 0.0225) < 0.002
    assert run.demand.periods <= 2 * STAGE_S / 5.0
    assert [row.calls for row in run.analysis.by_webservers] < [sum(RATES_PER_S) * STAGE_S]


def test_capacity_and_size_leave_such_stages_out_and_say_so(whole: Path, tmp_path: Path) -> None:
    run = spoilt(whole, tmp_path / "run", "denied", "ExpiredTokenException")
    curve = capacity_curve([trial_run(run)])
    assert curve.exit_code == 5
    assert curve.counts[0].highest_pass_per_s == 8.0
    assert curve.counts[0].lowest_fail_per_s is None
    named(curve.notes, "caller.credentials_expired")
    answer = answer_size([run.analysis], load_between(12.0, 12.0), [])
    named(answer.warnings, "caller.credentials_expired")
    assert answer.highest_rate_per_s < 10.0
    workload = workload_of(run.analysis)
    assert isinstance(workload, Workload)
    assert workload.latency_s < 0.05


def test_such_a_run_is_not_compared(whole: Path, tmp_path: Path) -> None:
    run = spoilt(whole, tmp_path / "run", "denied", "ExpiredTokenException").analysis
    compared = compare_runs([Run.read(whole).analysis], [run], margin=0.1)
    assert (compared.verdict, compared.exit_code) == ("refused", 5)
    named(compared.refusals, "caller.credentials_expired")


def window_of(**counts: int) -> Window:
    calls = calls_by_hand(outcomes=[name for name, count in counts.items() for _ in range(count)])
    return Window(calls, calls.ok, ())


ERRORS = parse_slo("rate(errors) < 1%")


@pytest.mark.parametrize(
    ("counts", "transport", "expected"),
    [
        ({"ok": 990, "denied": 10}, "lean", "caller.calls_failed"),  # 1 %: breaks the line
        ({"ok": 991, "denied": 9}, "lean", None),  # breaks nothing
        ({"ok": 991, "denied": 5, "throttled": 4}, "lean", None),
        ({"ok": 990, "denied": 5, "throttled": 5}, "lean", "caller.calls_failed"),
        ({"ok": 980, "denied": 5, "throttled": 15}, "lean", None),  # broken without them as well
        ({"ok": 980, "denied": 11, "throttled": 9}, "lean", "caller.calls_failed"),
        ({"ok": 950, "connection_error": 50}, "lean", "network.connections_failed"),
        # 8 % reset by peer, of which the server knows nothing; half of all without a free port
        ({"ok": 920, "connection_error": 80}, "lean", "network.connections_failed"),
        ({"ok": 500, "connection_error": 500}, "lean", "network.connections_failed"),
        ({"ok": 950, "connection_error": 50}, "boto3", "network.connections_failed"),
        # With web login tokens the webservers' own load balancer may have closed them.
        ({"ok": 950, "connection_error": 50}, "web_token", None),
        ({"ok": 950, "service_timeout": 50}, "lean", None),
        ({"unsent": 10}, "lean", None),
    ],
)
def test_a_stage_is_not_judged_past_one_per_cent_or_where_such_calls_decide(
    counts: dict[str, int], transport: str, expected: str | None
) -> None:
    window = window_of(**counts)
    found = failed_before(window, [judge(ERRORS, window)], outcomes_before(transport))
    assert (found.code if found else None) == expected


def test_a_few_failures_of_the_caller_do_not_hide_what_the_environment_broke() -> None:
    """Half a per cent denied, and slow: the latency is broken without them too."""
    outcomes = ["ok"] * 995 + ["denied"] * 5
    slow = calls_by_hand(outcomes=outcomes, service_times_s=np.full(1000, 3.0).tolist())
    window = Window(slow, slow.ok, ())
    line = judge(parse_slo("p95(latency) < 1s"), window)
    assert line.met is False
    assert failed_before(window, [line], CALLERS) is None
