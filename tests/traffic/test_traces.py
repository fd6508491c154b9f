"""Trace files: what is understood, how what is wrong is told, and how fast they are."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mwaa_headroom.harness.errors import RecordError, ScenarioError
from mwaa_headroom.harness.scenario.load import load_scenario
from mwaa_headroom.harness.traffic.traces import (
    load_traces,
    parse_trace,
    read_trace,
    save_traces,
    trace_rates,
    traces_beside,
)

SCENARIO = """
slo = ["p95(latency) < 1s"]
[question]
ask = "check"
[environment]
kind = "simulated"
[traffic]
arrivals = "trace"
[traffic.mix]
health = 1
[[stages]]
trace_file = "calls.csv"
duration_s = 10
[[stages]]
trace_file = "deeper/rates.csv"
duration_s = 10
"""


def folder_of(tmp_path: Path) -> Path:
    (tmp_path / "deeper").mkdir()
    (tmp_path / "calls.csv").write_text("time_s\n0\n2\n2.5\n")
    (tmp_path / "deeper" / "rates.csv").write_text("time_s,rate_per_s\n0,3\n")
    (tmp_path / "s.toml").write_text(SCENARIO)
    return tmp_path / "s.toml"


@pytest.mark.parametrize(
    ("text", "time_s", "rate_per_s", "why"),
    [
        ("time_s\n0\n1\n1\n2.5\n", [0, 1, 1, 2.5], None, "calls, two of them at once"),
        ("time_s\n1700000000.5\n1700000001\n", [0, 0.5], None, "times since the epoch"),
        ("time_s,rate_per_s\n10,1\n20,0\n", [0, 10], [1, 0], "rates, which may be zero"),
        ('\ufeff"time_s"\r\n"3"\r\n\r\n4\r\n', [0, 1], None, "as a spreadsheet writes it"),
        (" time_s , rate_per_s \n 0 , 1e1\n", [0], [10], "with spaces"),
    ],
)
def test_what_is_understood(text, time_s, rate_per_s, why):
    trace = parse_trace(text, "t.csv")
    assert trace.time_s.tolist() == time_s, why
    assert (None if trace.rate_per_s is None else trace.rate_per_s.tolist()) == rate_per_s
    assert trace.kind == ("arrivals" if rate_per_s is None else "rates")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "t.csv line 1: a trace begins with 'time_s' or 'time_s,rate_per_s'."),
        ("0\n1\n", "t.csv line 1: a trace begins with"),
        ("time_s,rate\n0,1\n", "t.csv line 1: a trace begins with"),
        ("time_s\n", "t.csv has no lines after its header."),
        ("time_s\n0\nsoon\n", "t.csv line 3: time_s must be a number, got 'soon'."),
        ("time_s\n0\n\nsoon\n", "t.csv line 4: time_s must be a number, got 'soon'."),
        ("time_s\n-1\n", "t.csv line 2: time_s must be a number from 0 on, got '-1'."),
        ("time_s\nnan\n", "t.csv line 2: time_s must be a number from 0 on, got 'nan'."),
        ("time_s\n1e999\n", "t.csv line 2: time_s must be a number from 0 on, got '1e999'."),
        ("time_s,rate_per_s\n0,-2\n", "rate_per_s must be a number from 0 on, got '-2'."),
        ("time_s,rate_per_s\n0,inf\n", "rate_per_s must be a number from 0 on, got 'inf'."),
        ("time_s,rate_per_s\n0\n", "t.csv line 2: expected 2 value(s), got 1."),
        ("time_s\n0,5\n", "t.csv line 2: expected 1 value(s), got 2."),
        ("time_s\n0\n3\n2\n", "t.csv line 4: time_s goes back from 3 to 2."),
        ("time_s,rate_per_s\n0,1\n0,2\n", "line 3: there is a rate for time_s 0 already."),
        ('time_s\n"' + "1" * 200_000 + '"\n', "t.csv line 2 is not valid CSV: "),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(text, told):
    with pytest.raises(ScenarioError) as caught:
        parse_trace(text, "t.csv")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"), [(None, "There is no trace file"), (b"\xff\xfe", "not a text file")]
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, content, told):
    if content is not None:
        (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ScenarioError, match=told):
        read_trace(tmp_path / "t.csv")
    with pytest.raises(ScenarioError, match="Cannot read"):
        read_trace(tmp_path)


@pytest.mark.parametrize(
    ("text", "duration_s", "mean", "peak", "why"),
    [
        ("time_s\n0\n1\n2\n3\n", 4, 1, 1, "one a second: the window has one end only"),
        ("time_s\n5.1\n5.2\n6.0\n6.1\n9\n", 10, 0.5, 3, "5.1 to 6.0, but not 6.1"),
        ("time_s\n0\n0\n0\n8\n", 8, 3 / 8, 3, "the last call is due when the stage has ended"),
        ("time_s\n0\n0\n", 0.5, 4, 4, "a stage shorter than a second"),
        ("time_s,rate_per_s\n0,2\n", 10, 2, 2, "a rate that is held"),
        ("time_s,rate_per_s\n0,2\n4,10\n6,0\n", 10, 2.8, 10, "two seconds of 10/s"),
        ("time_s,rate_per_s\n0,0\n4,10\n4.25,0\n", 10, 0.25, 2.5, "a peak of a quarter second"),
        ("time_s,rate_per_s\n0,4\n9.5,9\n50,100\n", 10, 4.25, 6.5, "rising at the very end"),
        ("time_s,rate_per_s\n0,6\n", 0.5, 6, 6, "a stage shorter than a second"),
    ],
)
def test_mean_and_busiest_second_of_the_played_part(text, duration_s, mean, peak, why):
    found = trace_rates(parse_trace(text, "t.csv"), duration_s)
    assert found == pytest.approx((mean, peak)), why


@settings(deadline=None)
@given(
    st.lists(st.floats(0.01, 3), max_size=10),
    st.lists(st.floats(0, 50), min_size=11, max_size=11),
    st.floats(1, 20),
)
def test_the_busiest_second_is_at_least_any_second(gaps, levels, duration_s):
    times = [0.0, *np.cumsum(gaps)]
    lines = "".join(f"{t!r},{r!r}\n" for t, r in zip(map(float, times), levels, strict=False))
    trace = parse_trace("time_s,rate_per_s\n" + lines, "t.csv")
    mean, peak = trace_rates(trace, duration_s)
    assert mean <= peak <= max(levels) + 1e-9
    for begin in np.linspace(0, duration_s - 1, 9):
        fine = np.linspace(begin, begin + 1, 2001)[:-1] + 1 / 4000
        held = trace.rate_per_s[np.searchsorted(trace.time_s, fine, side="right") - 1]
        assert held.mean() <= peak + 50 * 12 / 2000


@settings(deadline=None)
@given(st.lists(st.floats(0, 30), min_size=1, max_size=60), st.floats(1, 20))
def test_no_second_has_more_calls_than_the_busiest(times, duration_s):
    trace = parse_trace("time_s\n" + "".join(f"{t!r}\n" for t in sorted(times)), "t.csv")
    played = trace.time_s[trace.time_s < duration_s]
    mean, peak = trace_rates(trace, duration_s)
    assert mean == len(played) / duration_s
    most = max(((played >= t) & (played < t + 1 - 2e-6)).sum() for t in played)
    assert peak >= most
    assert peak <= max(mean, max(((played >= t) & (played < t + 1)).sum() for t in played))


def test_a_run_directory_keeps_the_traces(tmp_path):
    path = folder_of(tmp_path)
    scenario = load_scenario(path)
    run_dir = tmp_path / "run"
    run_dir.mkdir()

    save_traces(scenario, path, run_dir)

    assert sorted(file.name for file in run_dir.iterdir()) == ["trace-0.csv", "trace-1.csv"]
    for traces in (load_traces(scenario, run_dir), traces_beside(scenario, path)):
        assert traces[0].time_s.tolist() == [0, 2, 2.5]
        assert traces[1].rate_per_s is not None
        assert traces[1].rate_per_s.tolist() == [3]


def test_a_trace_that_is_not_the_checked_one_is_not_played(tmp_path):
    """The limits were checked with its rates."""
    path = folder_of(tmp_path)
    scenario = load_scenario(path)
    (tmp_path / "calls.csv").write_text("time_s\n0\n0\n0\n0\n")
    save_traces(scenario, path, tmp_path)

    with pytest.raises(ScenarioError, match="'stage 1' has changed since its rates"):
        traces_beside(scenario, path)
    with pytest.raises(RecordError, match=r"has changed .* Prepare the run again\."):
        load_traces(scenario, tmp_path)
    (tmp_path / "trace-0.csv").unlink()
    with pytest.raises(RecordError, match="There is no trace file"):
        load_traces(scenario, tmp_path)
    (tmp_path / "calls.csv").unlink()
    with pytest.raises(ScenarioError, match="Cannot read"):
        save_traces(scenario, path, tmp_path)
