"""Traces: how fast they are, played faster or scaled, and kept in a run directory."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.harness.errors import RecordError, ScenarioError
from mwaa_headroom.harness.scenario.load import load_scenario
from mwaa_headroom.harness.traffic.arrivals import Purpose, Randomness
from mwaa_headroom.harness.traffic.stage_traces import (
    how_traces_were_read,
    load_traces,
    save_traces,
    traces_beside,
)
from mwaa_headroom.harness.traffic.trace_files import parse_trace
from mwaa_headroom.harness.traffic.traces import replayed, trace_rates

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


def copies(text: str, *, scale: float = 1.0, speed: float = 1.0, seed: int = 1):
    randomness = Randomness(seed, 0, Purpose.TRACE_COPIES)
    return replayed(parse_trace(text, "t.csv"), speed=speed, scale=scale, randomness=randomness)


def test_twice_as_fast_is_twice_the_rate_in_half_the_time():
    calls = copies("time_s\n0\n2\n3\n", speed=2)
    rates = copies("time_s,rate_per_s\n0,3\n10,5\n", speed=2, scale=3)

    assert calls.time_s.tolist() == [0, 1, 1.5]
    assert rates.time_s.tolist() == [0, 5]
    assert rates.rate_per_s.tolist() == [18, 30]


def test_copies_of_a_call_stay_within_the_resolution_of_its_time():
    calls = "time_s\n" + "".join(f"{10 * n}\n" for n in range(1000))
    tripled = copies(calls, scale=3)

    assert len(tripled.time_s) == 3000
    assert (np.diff(tripled.time_s) >= 0).all()
    beyond = tripled.time_s % 10
    assert np.count_nonzero(beyond == 0) == 1000  # the calls themselves
    assert beyond.max() < 1
    assert np.mean(beyond[beyond > 0]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("scale", [0.25, 1.5, 2.75])
def test_a_scale_makes_so_many_calls_on_average_and_the_same_for_a_seed(scale):
    calls = "time_s\n" + "".join(f"{n}\n" for n in range(10_000))
    once, again, other = (copies(calls, scale=scale, seed=seed) for seed in (1, 1, 2))

    assert len(once.time_s) == pytest.approx(10_000 * scale, abs=5 * 100 * 0.5)
    assert once.time_s.tolist() == again.time_s.tolist()
    assert once.time_s.tolist() != other.time_s.tolist()


def test_copies_call_what_the_call_called():
    text = "time_s,operation\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(200))
    doubled = copies(text, scale=2)

    assert (doubled.called == np.floor(doubled.time_s) % 2).all()


def test_a_scenario_says_how_its_traces_are_played(tmp_path):
    path = folder_of(tmp_path)
    (tmp_path / "calls.csv").write_text(
        "when;who\n2026-09-21T14:00:02Z;a\n2026-09-21T14:00:00Z;b\n"
    )
    wanted = ("traffic.trace_column=when", "traffic.trace_speed=2", "traffic.trace_scale=2")
    (tmp_path / "deeper" / "rates.csv").write_text("when,rate_per_s\n0,2\n")
    scenario = load_scenario(path, overrides=wanted)
    assert scenario.stages[1].rate_per_s == 8
    (tmp_path / "run").mkdir()

    save_traces(scenario, path, tmp_path / "run")

    traces = load_traces(scenario, tmp_path / "run")
    assert scenario.stages[0].rate_per_s == 0.4
    assert traces[0].time_s.tolist() == pytest.approx([0, 0, 1, 1], abs=0.5)
    told = how_traces_were_read(scenario, traces)
    assert told[0].startswith(
        "calls.csv: 2 calls over 2 s, times from 'when'; dates in UTC; sorted"
    )
    assert "played 2 times as fast; 2 times its calls, copies moved by up to 0.5 s" in told[0]
    assert told[1].endswith("played 2 times as fast; 2 times its calls")


@pytest.mark.parametrize(
    ("rows", "stage", "told"),
    [
        (
            "0,health\n1,list_dags\n",
            "",
            r"names 'list_dags' in its column 'operation', which is not",
        ),
        ("0,health\n", 'operation = "health"', r"so stages\[0\].operation does not go with it"),
    ],
)
def test_operations_of_a_trace_are_those_of_the_mix(tmp_path, rows, stage, told):
    path = folder_of(tmp_path)
    (tmp_path / "calls.csv").write_text("time_s,operation\n" + rows)
    path.write_text(path.read_text().replace("[[stages]]", f"[[stages]]\n{stage}", 1))
    with pytest.raises(ScenarioError, match=told):
        load_scenario(path)


@pytest.mark.parametrize("key", ["trace_column='a'", "trace_speed=2", "trace_scale=0.5"])
def test_what_concerns_traces_goes_only_with_them(tmp_path, key):
    path = folder_of(tmp_path)
    closed = ("traffic.arrivals=poisson", "stages=[{rate_per_s = 1, duration_s = 5}]")
    with pytest.raises(ScenarioError, match=r"goes only with traffic.arrivals"):
        load_scenario(path, overrides=(*closed, f"traffic.{key}"))
