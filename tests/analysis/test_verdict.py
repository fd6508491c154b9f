"""What a check may conclude when the load generator was the limit in one of its stages."""

from mwaa_headroom.analysis.findings import note, refusal
from mwaa_headroom.analysis.results import SloResult, StageStats
from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.analysis.stages import share
from mwaa_headroom.analysis.statistics import Estimate
from mwaa_headroom.analysis.verdict import judge_check

LATENCY = parse_slo("p95(latency) < 1s")
BROKEN = SloResult(LATENCY, 1.5, met=False)
HELD = SloResult(LATENCY, 0.5, met=True)
LATE = refusal("generator.late", lag_p99_s=0.2, limit_s=0.1)


def stage(index: int, line: SloResult, *, generator_ok: bool) -> StageStats:
    return StageStats(
        index=index,
        name="",
        rate_per_s=10.0,
        started_at_s=0.0,
        measured_from_s=0.0,
        ended_at_s=100.0,
        complete=True,
        arrivals=1000,
        sent=1000,
        unsent=0,
        offered_per_s=10.0,
        achieved_per_s=10.0,
        goodput_per_s=10.0,
        latency_s={"p95": Estimate(line.observed)},
        service_time_s={},
        lag_p99_s=0.0,
        error_rate=share(0, 1000),
        error_rate_by_layer={},
        outcomes={"ok": 1000},
        operations=(),
        webservers_min=2,
        webservers_max=2,
        webserver_cpu_percent=50.0,
        webserver_cpu_max_percent=60.0,
        connections_max=10.0,
        slo=(line,),
        met_slo=line.met,
        generator_ok=generator_ok,
        generator_reason=None if generator_ok else LATE,
    )


def test_a_healthy_stage_that_broke_the_slo_counts_beside_a_doubtful_one() -> None:
    stages = [stage(0, HELD, generator_ok=False), stage(1, BROKEN, generator_ok=True)]
    verdict = judge_check((BROKEN,), stages, (), status="finished")
    assert verdict.exit_code == 3
    assert verdict.reasons == (
        note("verdict.slo_broken", result=BROKEN, stage=(1, "")),
        refusal("verdict.generator_limit", stage=(0, ""), reason=LATE),
    )


def test_a_doubtful_stage_and_the_whole_it_is_part_of_break_nothing() -> None:
    stages = [stage(0, BROKEN, generator_ok=False), stage(1, HELD, generator_ok=True)]
    verdict = judge_check((BROKEN,), stages, (), status="finished")
    assert (verdict.exit_code, verdict.passed) == (5, None)


def test_what_a_run_broke_that_broke_down_itself_is_not_counted() -> None:
    stages = [stage(0, BROKEN, generator_ok=True)]
    verdict = judge_check((BROKEN,), stages, (), status="failed")
    assert verdict.exit_code == 5
    assert verdict.reasons == (refusal("verdict.not_to_its_end"),)
