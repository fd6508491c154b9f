import numpy as np
import pytest
from calls_by_hand import began, calls_by_hand, ended, periods_by_hand, setting_of

from mwaa_headroom.analysis.calls import Calls, good_calls
from mwaa_headroom.analysis.judge import Window
from mwaa_headroom.analysis.results import CountRow
from mwaa_headroom.analysis.scaling import cost
from mwaa_headroom.analysis.scaling.cost import by_webservers
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.stages import stage_times
from mwaa_headroom.analysis.statistics import is_lower_bound

LIMIT = (parse_slo("p95(latency) < 1s"),)


def rows_of(calls: Calls, webservers: list[int | None], warmup_s: float = 0.0) -> list[CountRow]:
    setting = setting_of({"duration_s": 100.0, "warmup_s": warmup_s})
    times = stage_times(setting, [began(0, 0.0), ended(0, 100.0)], calls)
    cpu = [40.0 + 10 * (count or 0) for count in webservers]
    periods = periods_by_hand(webservers=webservers, cpu_percent=cpu)
    return list(by_webservers(times, Window(calls, good_calls(calls, LIMIT), periods)))


def calls_at(per_s: float, **columns: object) -> Calls:
    starts = np.arange(0, 100, 1 / per_s).tolist()
    outcomes = ["ok"] * len(starts)
    return calls_by_hand(outcomes=outcomes, starts_s=starts, **columns)  # type: ignore[arg-type]


def test_each_count_has_the_calls_of_its_own_periods() -> None:
    # 20 periods of 5 s: those from 45 to 55 s are beside the change and left out
    starts = np.arange(0, 100, 0.1)
    times = np.where(starts < 50, 2.0, 0.1)  # slow with two webservers
    two, three = rows_of(calls_at(10, service_times_s=times.tolist()), [2] * 10 + [3] * 10)
    assert (two.webservers, three.webservers) == (2, 3)
    assert (two.time_s, three.time_s) == (45.0, 45.0)
    assert two.offered_per_s == pytest.approx(10.0)
    assert (two.goodput_per_s, three.goodput_per_s) == (0.0, pytest.approx(10.0))
    assert three.goodput_per_webserver_per_s == pytest.approx(10 / 3)
    assert (two.cpu_percent, three.cpu_percent) == (60.0, 70.0)
    assert (two.latency_p50_s.value, three.latency_p50_s.value) == (2.0, pytest.approx(0.1))
    assert three.latency_p95_s.n == three.calls == 450
    assert three.latency_p95_s.low is not None


def test_errors_have_their_interval_and_cut_calls_make_a_lower_bound() -> None:
    outcomes = ["service_timeout", "airflow_server_error"] + ["ok"] * 8
    calls = calls_by_hand(
        outcomes=outcomes * 20, starts_s=np.arange(0, 100, 0.5).tolist(), service_times_s=10.0
    )
    (row,) = rows_of(calls, [1] * 20)
    assert row.error_rate.value == pytest.approx(0.2)
    assert row.error_rate.low is not None
    assert row.error_rate.low < 0.2
    assert is_lower_bound(row.latency_p95_s)


def test_warm_up_unsent_calls_and_periods_without_a_count_are_left_out() -> None:
    outcomes = ["unsent", "ok"] * 50
    calls = calls_by_hand(outcomes=outcomes)
    (row,) = rows_of(calls, [1] * 12 + [None] * 8, warmup_s=20.0)
    # from 20 s on, up to the period before the one without a count, which starts at 60 s
    assert row.time_s == 35.0
    assert row.offered_per_s == pytest.approx(1.0)
    assert row.calls == 17
    assert row.error_rate.value == 0.0


def test_calls_are_counted_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_at(10)
    at_once = rows_of(calls, [2] * 10 + [3] * 10)
    monkeypatch.setattr(cost, "_BLOCK", 7)
    assert rows_of(calls, [2] * 10 + [3] * 10) == at_once


def test_no_metrics_no_rows() -> None:
    assert rows_of(calls_at(1), []) == []
