"""Sentences about capacity: of one run, and over webserver counts."""

import math
from collections.abc import Iterable, Sequence

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.results import SloResult, StageLabel
from mwaa_headroom.analysis.slo import Slo

says(
    "capacity.closed",
    "A closed workload cannot tell a capacity: its users wait for slow answers and so send less, "
    "just when a rate would be too high; ask with open arrivals (poisson, constant or trace).",
)
says("capacity.no_stage", "No stage was measured.")
says("capacity.no_lines", "The SLO has no lines, so there is nothing that could break.")
says("capacity.none_judged", "No stage could be judged; see why in the table of stages.")
says(
    "capacity.count_not_constant",
    "No stage had one webserver count from its beginning to its end; pin it with "
    "MinWebservers = MaxWebservers.",
)
says(
    "capacity.count_changed",
    "The webserver count changed between the stages that met the SLO and those that broke it; pin "
    "it with MinWebservers = MaxWebservers.",
)
says(
    "capacity.broke_yet_held",
    "The SLO broke at {broke_per_s:.4g} calls/s, but all stages taken together it held up to "
    "{highest_per_s:.4g} calls/s, the highest rate; hold these stages again and for longer.",
)
says(
    "capacity.still_held",
    "The SLO still held at {highest_per_s:.4g} calls/s, the highest rate; add a stage at about "
    "{next_per_s:g} calls/s.",
)
says(
    "capacity.broken_at_lowest",
    "The SLO was broken even at {lowest_per_s:.4g} calls/s, the lowest rate; add a stage at about "
    "{next_per_s:g} calls/s.",
)
says(
    "capacity.wide_bracket",
    "Nothing was measured between {below_per_s:.4g} and {above_per_s:.4g} calls/s; add a stage at "
    "about {next_per_s:g} calls/s.",
)
says(
    "capacity.short_stages",
    "Stages measured for {measured_s:.0f} s are short against the ups and downs of their latency, "
    "so the interval is likely too narrow; hold them for at least {needed_s:.0f} s.",
)
says(
    "capacity.heavy_tail",
    "The slowest calls are so much slower than the others (their number falls with the time to the "
    "power of only -{exponent:.1f}) that a few of them decide what a stage sees, so the interval "
    "is likely too narrow; look for what makes calls that slow, or repeat the run.",
)
says(
    "capacity.open_below",
    "The interval goes below the lowest rate, {lowest_per_s:.4g} calls/s; add a stage at about "
    "{next_per_s:g} calls/s.",
)
says(
    "capacity.open_above",
    "The interval goes above the highest rate, {highest_per_s:.4g} calls/s; add a stage at about "
    "{next_per_s:g} calls/s.",
)
says("bottleneck.throttle", "the service refused {throttled} of {sent} calls (throttled)")
says("bottleneck.airflow", "Airflow itself answered {from_airflow} of {failed} failed calls")
says("bottleneck.no_metrics", "the CPU of the webservers is not known, so it cannot be told why")


@says("capacity.stopped")
def _(
    stage: StageLabel, rate_per_s: float, broken: tuple[SloResult, ...], evidence: Finding
) -> str:
    lines = _broken_lines(broken)
    return f"{_capital_stage(stage, rate_per_s)} broke the SLO ({lines}): {told(evidence)}."


@says("capacity.generator_limit")
def _(stage: StageLabel, rate_per_s: float, reason: Finding) -> str:
    return f"In {_stage(stage, rate_per_s)} the load generator was the limit: {told(reason)}"


@says("capacity.not_judged")
def _(stage: StageLabel, rate_per_s: float, reason: Finding | None) -> str:
    return f"{_capital_stage(stage, rate_per_s)} could not be judged: {told(reason)}"


@says("capacity.not_reached")
def _(stage: StageLabel, rate_per_s: float) -> str:
    return (
        f"{_capital_stage(stage, rate_per_s)} was the highest and met the SLO; add a stage with a "
        "higher rate."
    )


@says("capacity.lower_stage_broke")
def _(
    stage: StageLabel,
    rate_per_s: float,
    webservers: int | None,
    highest: StageLabel,
    highest_rate_per_s: float,
    highest_webservers: int | None,
) -> str:
    why = "the environment did not behave the same all the time"
    if (webservers or math.inf) < (highest_webservers or 0):
        began_with = words.webservers(webservers)
        why = f"it began with {began_with}, the other one had {highest_webservers}"
    return (
        f"{_capital_stage(stage, rate_per_s)} broke the SLO although "
        f"{_stage(highest, highest_rate_per_s)} met it: {why}."
    )


@says("capacity.may_collapse")
def _(rate_per_s: float, before_s: float, after_s: float) -> str:
    return (
        f"{rate_per_s:.4g} calls/s may collapse: the SLO held at that rate and above before the "
        f"overload, but broke right after it, when calls took {words.duration(after_s)} on average "
        f"instead of {words.duration(before_s)} and nothing was worked off. What holds before an "
        "overload is no capacity then; add stages at lower rates after it, to find what holds in "
        "any case."
    )


@says("capacity.not_recovered")
def _(stage: StageLabel, rate_per_s: float) -> str:
    return (
        f"After {_stage(stage, rate_per_s)} not even the light load met the SLO again while it was "
        "watched: rates that held before it may collapse once they were overloaded."
    )


@says("capacity.changed")
def _(rate_per_s: float, least_s: float, most_s: float, verdicts: tuple[str, str]) -> str:
    judged = "" if verdicts[0] == verdicts[1] else ", and the SLO was judged differently"
    return (
        f"The same rate, {rate_per_s:.4g} calls/s, did not behave the same at different times: "
        f"calls took {words.duration(least_s)} or {words.duration(most_s)} on average{judged}. "
        "Something else than the rate changed, so the interval is likely too narrow."
    )


@says("capacity.broke_without_curve")
def _(slo: Slo, broke_per_s: float) -> str:
    return (
        f"'{slo.text}' broke at {broke_per_s:.4g} calls/s; where between two stages it breaks "
        "cannot be told from a line of its kind."
    )


@says("capacity.lines_without_curve")
def _(slos: tuple[Slo, ...]) -> str:
    verb = "has no curve" if len(slos) == 1 else "have no curves"
    names = ", ".join(f"'{slo.text}'" for slo in slos)
    return f"{names} {verb} over the rate and only judged the stages."


@says("bottleneck.database")
def _(database_percent: float, cpu_percent: float | None, cpu_max_percent: float | None) -> str:
    return (
        f"the metadata database was at {database_percent:.0f} % CPU while the webservers were at "
        f"{_cpu(cpu_percent, cpu_max_percent)}, so more webservers are unlikely to help"
    )


@says("bottleneck.webserver_cpu")
def _(
    webservers: tuple[int, ...],
    database_percent: float | None,
    cpu_percent: float | None,
    cpu_max_percent: float | None,
) -> str:
    noun = "webserver" if webservers == (1,) else "webservers"
    of = f" of {' to '.join(map(str, webservers))} {noun}" if webservers else ""
    database = ""
    if database_percent is not None:
        database = f"; so was the metadata database, at {database_percent:.0f} % CPU"
    return f"the CPU{of} was busy: {_cpu(cpu_percent, cpu_max_percent)}{database}"


@says("bottleneck.connections")
def _(
    connections: float,
    database_percent: float | None,
    cpu_percent: float | None,
    cpu_max_percent: float | None,
) -> str:
    look_at = "the database and a connection pool"
    if database_percent is not None:
        look_at = f"a connection pool (the database was at {database_percent:.0f} % CPU)"
    return (
        f"{connections:.0f} connections were open at {_cpu(cpu_percent, cpu_max_percent)}; what "
        f"calls waited for is in no metric, look at {look_at}"
    )


@says("bottleneck.nothing_stands_out")
def _(cpu_percent: float | None, cpu_max_percent: float | None) -> str:
    return f"webservers were at {_cpu(cpu_percent, cpu_max_percent)} and nothing else stands out"


@says("capacity.broken_lines")
def _broken_lines(lines: Iterable[SloResult]) -> str:
    saw = (
        told(line.reason)
        if line.observed is None
        else f"{line.slo.text} was {words.observed_words(line)}"
        for line in lines
        if line.met is False
    )
    return "; ".join(saw).rstrip(".")


def _cpu(mean_percent: float | None, busiest_percent: float | None) -> str:
    if mean_percent is None:
        return "an unknown CPU"
    at_most = f" (at most {busiest_percent:.0f} %)" if busiest_percent is not None else ""
    return f"{mean_percent:.0f} % CPU{at_most}"


def _stage(stage: StageLabel, rate_per_s: float) -> str:
    return f"{words.stage_label(*stage)} ({rate_per_s:.4g} calls/s)"


def _capital_stage(stage: StageLabel, rate_per_s: float) -> str:
    return words.capital(_stage(stage, rate_per_s))


says("planning.no_run", "There is no run: give the directory of one.")
says(
    "capacity_curve.no_constant_count",
    "No stage had one webserver count from its beginning to its end: pin it with min_webservers = "
    "max_webservers and run it again.",
)


@says("capacity_curve.unusable_run")
def _(run_id: str, reason: Finding) -> str:
    return f"Run {run_id}: {told(reason)}"


@says("capacity_curve.left_out")
def _(reason: Finding) -> str:
    return f"Left out: {told(reason)}"


@says("capacity_curve.stage_left_out")
def _(run_id: str, stage: StageLabel, reason: Finding) -> str:
    return f"{words.capital(words.stage_label(*stage))} of {run_id} is no trial: {told(reason)}"


@says("capacity_curve.count_changed")
def _(stages: Sequence[tuple[StageLabel, str]]) -> str:
    names = ", ".join(f"{words.stage_label(*stage)} of {run_id}" for stage, run_id in stages)
    return f"The webserver count changed, or is not known, in {names}: no trial of any count."


@says("capacity_curve.of_count")
def _(webservers: int, reason: Finding) -> str:
    return f"With {words.webservers(webservers)}: {told(reason)}"


@says("capacity_curve.given_up")
def _(webservers: int, rate_per_s: float, trials: int) -> str:
    return (
        f"With {words.webservers(webservers)}: {rate_per_s:.4g} calls/s stayed undecided in "
        f"{trials} trials or more, so the search goes on below it."
    )
