"""`headroom observe` against an imitation of AWS."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aws_imitation import Imitation, Minute, serving
from json_outputs import checked

from mwaa_headroom.harness.aws.collector import SPELLINGS
from mwaa_headroom.harness.cli.main import main
from mwaa_headroom.harness.errors import HeadroomError, UsageError
from mwaa_headroom.harness.run.observing import calls_of, moment_of, observe_environment

DAY_S = 86_400.0


def busy_mornings(at_s: float) -> Minute:
    """Two webservers, from nine to ten in the morning four that are busy."""
    if at_s % DAY_S // 3600 == 9:
        return Minute(webservers=4, cpu_percent=75.0, connections=20.0)
    return Minute()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Imitation]:
    with serving(Imitation(region="cn-north-1")) as aws:
        aws.minute = busy_mornings
        for name, value in aws.variables().items():
            monkeypatch.setenv(name, value)
        yield aws


def observe(aws: Imitation, from_s: float, to_s: float, growth: float = 1.0):  # type: ignore[no-untyped-def]
    return observe_environment(
        aws.name,
        region=aws.region,
        profile=None,
        from_s=from_s,
        to_s=to_s,
        growth=growth,
        calls=None,
        now_s=time.time(),
    )


def morning(days_ago: int) -> tuple[float, float]:
    """From eight to eleven."""
    midnight_s = (time.time() // DAY_S - days_ago) * DAY_S
    return midnight_s + 8 * 3600, midnight_s + 11 * 3600


def test_a_morning_of_last_week_minute_by_minute(aws: Imitation) -> None:
    from_s, to_s = morning(3)
    seen = observe(aws, from_s, to_s)
    assert (seen.period_s, seen.known_fraction) == (60.0, 1.0)
    assert seen.above_cpu_fraction == seen.above_connections_fraction == pytest.approx(1 / 3)
    assert [(c.at_s - from_s, c.to_count) for c in seen.changes] == [(3600, 4), (7200, 2)]
    assert seen.busiest_hours[0].start_s == from_s + 3600
    assert seen.busy_peak == pytest.approx(3.0)
    assert seen.environment.max_webservers == aws.environment["MaxWebservers"]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_of_longer_ago_there_are_five_minutes_and_the_additional_webservers_are_still_found(
    aws: Imitation, spelling: str
) -> None:
    """ListMetrics knows only what had samples in the last two weeks."""
    aws.additional_cluster = spelling
    two_weeks_ago_s = time.time() - 14.5 * DAY_S
    aws.minute = lambda at_s: busy_mornings(at_s) if at_s < two_weeks_ago_s else Minute()
    seen = observe(aws, *morning(20))
    assert seen.period_s == 300.0
    assert [c.to_count for c in seen.changes] == [4, 2]
    assert seen.busy_peak == pytest.approx(3.0)
    assert seen.connections is not None
    assert seen.connections.highest == 20.0


def test_nothing_but_reads_is_sent(aws: Imitation) -> None:
    observe(aws, *morning(2))
    assert {operation for _, operation in aws.seen} == {
        "GetEnvironment",
        "ListMetrics",
        "GetMetricData",
    }


def test_who_may_not_ask_for_the_environment_still_gets_its_metrics(aws: Imitation) -> None:
    statement = {"Effect": "Allow", "Action": "cloudwatch:*", "Resource": "*"}
    aws.policy = {"Version": "2012-10-17", "Statement": [statement]}
    seen = observe(aws, *morning(2))
    assert seen.exit_code == 0
    assert "observed.environment_unknown" in {each.code for each in seen.findings}


def test_times_that_cannot_be(aws: Imitation) -> None:
    now_s = time.time()
    with pytest.raises(UsageError, match="455 days"):
        observe(aws, now_s - 500 * DAY_S, now_s)
    with pytest.raises(UsageError, match="before --to"):
        observe(aws, now_s, now_s - 60)
    with pytest.raises(HeadroomError, match="no date"):
        moment_of("last Monday")
    assert moment_of("2026-11-23T08:00+01:00") == moment_of("2026-11-23T07:00")


def test_the_command_prints_and_writes_the_answer(
    aws: Imitation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = (f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M}" for at_s in morning(1))
    given = ["observe", "--environment", aws.name, "--growth", "2", "--output", str(tmp_path)]
    given += [word for pair in zip(("--from", "--to"), moments, strict=True) for word in pair]
    log = tmp_path / "log.csv"
    log.write_text("time_s\n" + "".join(f"{morning(1)[0] + 2 * i}\n" for i in range(5401)))
    given += ["--calls", str(log)]
    with pytest.raises(SystemExit) as ended:
        main([*given, "--json"])
    assert ended.value.code == 0
    tree = checked("observe", capsys.readouterr().out)
    assert tree["growth"] == 2.0
    assert tree["calls_per_s"]["mean"] == pytest.approx(0.5)
    assert tree["needed"][0]["in_busiest_window"] == 9  # 2 x 3 busy at 70 %: 8.6
    assert (tmp_path / "observed.html").is_file()
    assert (tmp_path / "plots" / "observed.png").is_file()


def test_calls_of_cloudtrail_and_rates_of_a_dashboard_are_told_by_the_clock(tmp_path: Path) -> None:
    log, rates, undated = tmp_path / "log.csv", tmp_path / "rates.csv", tmp_path / "undated.csv"
    log.write_text("eventtime,eventname\n2026-11-23T08:00:00Z,a\n2026-11-23T08:00:04Z,b\n")
    rates.write_text("time,rate_per_s\n1795939200,2\n1795939260,4\n1795939320,0\n")
    undated.write_text("time_s\n0\n4\n")

    eight_s = moment_of("2026-11-23T08:00Z")
    of_log, of_rates = calls_of(log), calls_of(rates)
    assert of_log.at_s.tolist() == [eight_s, eight_s + 4]
    assert of_log.per_s(of_log.at_s[:1], 4.0).tolist() == [0.25]
    assert of_rates.per_s(of_rates.at_s[:2], 60.0).tolist() == [2.0, 4.0]
    with pytest.raises(UsageError, match=r"undated\.csv has no dates"):
        calls_of(undated)
