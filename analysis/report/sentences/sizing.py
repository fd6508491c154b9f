"""How many webservers one run's rates need, and what to measure where that is open."""

import math

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.results import SizingRow, StageLabel

says("sizing.closed", "A closed workload has no rate to size for; run open arrivals.")
says(
    "sizing.cpu_not_known",
    "The CPUs of one webserver are not known; set environment.webserver_cpu in the scenario.",
)
says("sizing.no_call_reached_a_webserver", "No call reached a webserver.")
says(
    "sizing.no_rate_of_the_mix",
    "No stage sent the mix at a rate; set question.target_rate_per_s.",
)
says(
    "sizing.more_periods",
    "The interval of what one webserver serves is open: to decide, run stages at more rates that "
    "keep it between 5 and 70 % CPU, for more metric periods.",
)


@says("sizing.no_count")
def _(reason: Finding) -> str:
    return f"No webserver count can be given: {words.lowered(told(reason))}"


@says("sizing.demand_too_high")
def _(stage: StageLabel, at_least_cpu_fraction: float) -> str:
    return (
        f"{words.capital(words.stage_label(*stage))} met the SLO although the estimated demand "
        f"needs at least {100 * at_least_cpu_fraction:.0f} % of its webservers' CPU: the estimate "
        "is too high."
    )


@says("sizing.not_for_want_of_cpu")
def _(stage: StageLabel, at_most_cpu_fraction: float) -> str:
    return (
        f"{words.capital(words.stage_label(*stage))} broke the SLO although the estimated demand "
        f"needs at most {100 * at_most_cpu_fraction:.0f} % of its webservers' CPU: something other "
        "than CPU limits it, and more webservers by this estimate may not help."
    )


@says("sizing.never_enough")
def _(webserver_cpu: float, utilisation_target: float) -> str:
    return (
        f"No number of webservers with {webserver_cpu:g} CPU is enough: what they use without "
        f"calls is already above {words.share(utilisation_target)}."
    )


@says("sizing.needed")
def _(
    target: SizingRow,
    demand_s: float,
    webserver_cpu: float,
    utilisation_target: float,
    rate_of_one_per_s: tuple[float, float, float],
    most_webservers: int,
    fewest_webservers: int | None,
) -> str:
    value, low, high = rate_of_one_per_s
    text = (
        f"One call of this mix costs {1000 * demand_s:.1f} ms of CPU, so a webserver with "
        f"{webserver_cpu:g} CPU serves {value:.1f} calls/s ({low:.1f}-{high:.1f}) at "
        f"{words.share(utilisation_target)} utilisation, and {target.rate_per_s:g} calls/s need "
        f"{target.webservers} of them."
    )
    if not target.within_limits:
        text += f" Amazon MWAA allows at most {most_webservers}: use a larger environment class."
    if fewest_webservers is not None:
        text += f" Amazon MWAA runs at least {fewest_webservers}, except in mw1.micro."
    return text


@says("sizing.too_close")
def _(
    webservers: int, environment_class: str, rate_per_s: float, utilisation_target: float | None
) -> str:
    doubt = _doubt(webservers, environment_class, rate_per_s, utilisation_target)
    return f"{doubt} It is too close to be decided by measuring: take {webservers + 1}."


@says("sizing.close")
def _(
    webservers: int,
    environment_class: str,
    rate_per_s: float,
    utilisation_target: float | None,
    more_runs: int,
    periods: int,
    period_s: float | None,
) -> str:
    how_often = {0: "", 1: " in a further run"}.get(more_runs, f" in {more_runs} more runs")
    return (
        f"{_doubt(webservers, environment_class, rate_per_s, utilisation_target)} To decide, hold "
        f"{words.calls_per_s(rate_per_s)} with MinWebservers = MaxWebservers = {webservers}"
        f"{how_often} for {_about(periods, period_s)}{' each' if more_runs > 1 else ''}."
    )


def _doubt(
    webservers: int, environment_class: str, rate_per_s: float, utilisation_target: float | None
) -> str:
    of_class = f"{environment_class} webservers" if environment_class else "webservers"
    enough = (
        "meet the SLO"
        if utilisation_target is None
        else f"stay at or below {words.share(utilisation_target)} CPU"
    )
    return (
        f"Whether {webservers} {of_class} {enough} at {words.calls_per_s(rate_per_s)} or "
        f"{webservers + 1} are needed is within the uncertainty."
    )


def _about(periods: int, period_s: float | None) -> str:
    """How long so many take: "about 12 min (710 metric periods)"."""
    if period_s is None:
        return f"{periods} metric periods"
    length_s = periods * period_s
    units = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))
    unit_s, unit = next((u for u in units if length_s >= 2 * u[0]), units[-1])
    return f"about {math.ceil(length_s / unit_s)} {unit} ({periods} metric periods)"
