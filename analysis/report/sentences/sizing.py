"""Sentences about sizes: from one run, and from several."""

import math
from collections.abc import Sequence
from typing import Final

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.mwaa import partition_of
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told, told_each
from mwaa_headroom.analysis.results import SizingRow, StageLabel
from mwaa_headroom.analysis.statistics import Estimate

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
    between_runs: float,
    fewest_webservers: int | None,
) -> str:
    value, low, high = rate_of_one_per_s
    taken = f", runs differing by {words.share(between_runs)}" if between_runs else ""
    text = (
        f"One call of this mix costs {1000 * demand_s:.1f} ms of CPU, so a webserver with "
        f"{webserver_cpu:g} CPU serves {value:.1f} calls/s ({low:.1f}-{high:.1f}{taken}) "
        f"at {words.share(utilisation_target)} utilisation, and {target.rate_per_s:g} calls/s need "
        f"{target.webservers} of them."
    )
    if fewest_webservers is not None:
        text += f" Amazon MWAA runs at least {fewest_webservers}, except in mw1.micro."
    return text


@says("sizing.throttled")
def _(rate_per_s: float, admitted_per_s: Estimate) -> str:
    admitted = words.number(admitted_per_s.value)
    ends = f"{words.number(admitted_per_s.low)}-{words.number(admitted_per_s.high)}"
    return (
        f"No webserver count reaches {words.calls_per_s(rate_per_s)} through InvokeRestApi "
        f"(throttle: {admitted}/s admitted, 95 % interval {ends}); send fewer calls, or "
        "send them with web login tokens."
    )


@says("sizing.stopped_elsewhere")
def _(rate_per_s: float, bottleneck: str, stopped_per_s: float) -> str:
    return (
        f"No webserver count is known to reach {words.calls_per_s(rate_per_s)}: "
        f"{words.calls_per_s(stopped_per_s)} were stopped by {words.stopped_by(bottleneck)}, which "
        "more webservers are not known to relieve."
    )


@says("sizing.more_than_allowed")
def _(target: SizingRow, most_webservers: int) -> str:
    return (
        f"No webserver count reaches {words.calls_per_s(target.rate_per_s)}: {target.webservers} "
        f"are needed and Amazon MWAA allows at most {most_webservers} of this class; use a larger "
        "environment class."
    )


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
        f"{webservers + 1} are needed is open."
    )


def _about(periods: int, period_s: float | None) -> str:
    """How long so many take: "about 12 min (710 metric periods)"."""
    if period_s is None:
        return f"{periods} metric periods"
    length_s = periods * period_s
    units = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))
    unit_s, unit = next((u for u in units if length_s >= 2 * u[0]), units[-1])
    return f"about {math.ceil(length_s / unit_s)} {unit} ({periods} metric periods)"


_PRICE_LISTS: Final = {  # by partition; the first has GovCloud too
    "aws": "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws",
    "aws-cn": "https://pricing.cn-north-1.amazonaws.com.cn/offers/v1.0/cn",
}
_UNDOCUMENTED: Final = (
    "AWS does not document the number of periods, the step and the cooldowns: usual ones are taken."
)


def measured_cpu(environment_kind: str) -> str:
    """What the demand was measured on, where that was not AWS."""
    return "this machine's CPU" if environment_kind == "local" else "the simulated CPU"


# What was asked.


@says("size.load_of_rates")
def _(low_per_s: float, high_per_s: float) -> str:
    rates = f"{low_per_s:g}" if low_per_s == high_per_s else f"{low_per_s:g}-{high_per_s:g}"
    return f"{rates} calls/s"


@says("size.load_of_trace")
def _(name: str, length_s: int, mean_per_s: float, busiest_per_s: float, window_s: int) -> str:
    return (
        f"{name}: {_length(length_s)}, {words.calls_per_s(mean_per_s)} on average, "
        f"{words.calls_per_s(busiest_per_s)} in its busiest "
        f"{'minute' if window_s == 60 else f'{window_s} s'}"
    )


def _length(seconds: int) -> str:
    units = (("d", 86_400), ("h", 3600), ("min", 60))
    unit, unit_s = next(((u, n) for u, n in units if seconds >= 2 * n), ("s", 1))
    return f"{seconds / unit_s:.3g} {unit}" if unit_s > 1 else f"{seconds} s"


# Why there is no size.


says("size.run_given_twice", "Run {run_id} was given twice: the same evidence counts only once.")
says("size.no_cpu_cost", "A call seems to cost no CPU.")


@says("size.unusable_run")
def _(run_id: str, reason: Finding) -> str:
    return f"Run {run_id} cannot be sized from: {words.lowered(told(reason))}"


@says("size.targets_differ")
def _(utilisations: Sequence[float]) -> str:
    shown = ", ".join(f"{100 * target:g} %" for target in utilisations)
    return f"The runs differ in question.utilisation_target: {shown}."


@says("size.no_prices")
def _(region: str) -> str:
    offers = _PRICE_LISTS.get(partition_of(region), _PRICE_LISTS["aws"])
    return (
        f"There are no prices of {region}: write a table of it into a file like "
        f"harness/aws/prices.toml, from {offers}/AmazonMWAA/current/{region}/index.json, and give "
        "it with --prices FILE."
    )


# Why a setting does not do.


@says("size.unsure_at_peak")
def _(rate_per_s: float, webservers: int, probability: float) -> str:
    return (
        f"At {words.calls_per_s(rate_per_s)}, {webservers} are enough with a probability of "
        f"{100 * probability:.3g} % only."
    )


@says("size.unsure")
def _(webservers: int | None, probability: float) -> str:
    who = "those in service" if webservers is None else str(webservers)
    return f"Under the load, {who} are enough with a probability of {100 * probability:.3g} %."


@says("size.too_many_slow")
def _(share: float, allowed: float) -> str:
    return (
        f"{100 * share:.3g} % of the calls would be slow or fail, the SLO allows "
        f"{100 * allowed:.3g} %."
    )


@says("size.too_many_failed")
def _(share: float, allowed: float) -> str:
    return f"{100 * share:.3g} % of the calls would fail, the SLO allows {100 * allowed:.3g} %."


# What to measure.


@says("size.deciding")
def _(measurements: Sequence[Finding]) -> str:
    return " ".join(map(told, measurements))


@says("size.slo_rate_open")
def _(reasons: Sequence[Finding]) -> str:
    known = "The rate at which the SLO breaks is not known well enough."
    return " ".join((known, *told_each(reasons)))


@says("size.webservers_may_not_help")
def _(rate_per_s: float, webservers: int) -> str:
    return (
        "The SLO broke for something other than CPU, so nobody knows whether more webservers help: "
        f"to decide, hold {words.calls_per_s(rate_per_s)} with MinWebservers = MaxWebservers = "
        f"{webservers}, and size from that run."
    )


@says("size.start_time_decides")
def _(rate_per_s: float, webservers: int) -> str:
    return (
        "Whether the bursts of the trace outrun autoscaling depends on how long a webserver takes "
        f"to start: to decide, measure it in a run with MinWebservers {webservers} and a larger "
        f"MaxWebservers, whose load steps to {words.calls_per_s(rate_per_s)} at once."
    )


# What the size rests on.


@says("size.start_assumed")
def _(start_s: float, period_s: float) -> str:
    return (
        f"No run shows how long a webserver takes to start, so {start_s:g} s and metric periods "
        f"of {period_s:g} s are taken, unverified. {_UNDOCUMENTED}"
    )


@says("size.start_measured")
def _(start_s: Sequence[float], period_s: float, on_aws: bool) -> str:
    span = "" if len(start_s) == 1 else f" ({min(start_s):.0f}-{max(start_s):.0f})"
    return (
        f"A webserver takes {start_s[0]:.0f} s{span} from the decision, and metric periods are "
        f"{period_s:g} s, as the runs show"
        f"{'' if on_aws else ', though not on AWS'}. {_UNDOCUMENTED}"
    )


@says("size.same_cpu_time")
def _(environment_kind: str) -> str:
    return (
        "A call costs as much CPU there as it did here: this holds if a vCPU of AWS is as fast as "
        f"{measured_cpu(environment_kind)}, which was not measured."
    )


says(
    "size.rate_grows_with_cpu",
    "Webservers with more CPU than the {webserver_cpus:g} measured serve as much more: the same "
    "CPU per call, the same of their own without calls.",
)
says(
    "size.slo_rate_grows",
    "The rate at which the SLO broke grows in proportion to the webservers and to what their CPU "
    "serves.",
)
says(
    "size.slo_rate_without_lower_end",
    "The probability is that of the webservers' CPU staying at or below its target, and at most "
    "what is known of the rate at which the SLO breaks: the runs do not tell below which rate per "
    "webserver it surely holds.",
)
says(
    "size.slo_rate_unknown",
    "No run shows where the SLO breaks, so the probability is that of the webservers' CPU staying "
    "at or below its target; `headroom capacity` finds the SLO's limit.",
)
says("size.even_range", "Every rate of the range is as likely as any other.")
says(
    "size.busiest_day",
    "Of the trace, the 24 hours with the most calls are played against the scaling rule.",
)
says(
    "size.only_webservers",
    "Classes also differ in schedulers, workers, database and DAGs they are meant for; only "
    "webservers are sized here.",
)


@says("size.interval_over_runs")
def _(runs: int, between_runs: float) -> str:
    taken = f"that like runs differ by {words.share(between_runs)} is taken"
    if runs == 1:
        own = f"{taken} into the interval" if between_runs else "the interval is its own"
        return f"One run: {own}; three or more tell how runs differ."
    if runs == 2:
        own = f"their own errors ({taken} into them)" if between_runs else "their own errors"
        return (
            f"Two runs: the interval is that of {own} or of their difference, whichever "
            "is wider; two tell little of how runs differ, so make a third: it narrows the "
            "interval much."
        )
    return f"The interval is that of the mean over {runs} runs, by how these differ."


@says("size.classes_left_out")
def _(names: Sequence[str]) -> str:
    return (
        f"Left out: {', '.join(names)}, whose webservers have no more CPU than those of a smaller "
        "class."
    )


# What limits it.


@says("size.stopped_by_another_limit")
def _(run_id: str, bottleneck: str, may_help: bool, rate_per_s: float) -> str:
    return (
        f"Run {run_id} was stopped by {words.stopped_by(bottleneck)}: more webservers "
        f"{'may not' if may_help else 'do not'} help against that, and "
        f"{words.calls_per_s(rate_per_s)} may be out of reach."
    )


@says("size.stop_says_nothing")
def _(run_id: str, bottleneck: str) -> str:
    return (
        f"Run {run_id} was stopped by {words.stopped_by(bottleneck)}, which says nothing of how "
        "many webservers the SLO needs."
    )


@says("size.slo_with_cpu")
def _(slo: str, rate_per_s: float, webservers: int, found: Estimate) -> str:
    return f"{_expected(slo, rate_per_s, webservers, found)}."


@says("size.slo_before_cpu")
def _(slo: str, rate_per_s: float, webservers: int, found: Estimate) -> str:
    return (
        f"{_expected(slo, rate_per_s, webservers, found)}, so the SLO may break before the CPU is "
        "at its limit, as it does where service times differ much, webservers are single-threaded "
        "or load is spread unevenly; a run up to where the SLO breaks tells (`headroom capacity`)."
    )


def _expected(slo: str, rate_per_s: float, webservers: int, found: Estimate) -> str:
    return (
        f"{slo}: by the latency in the stages, {words.calls_per_s(rate_per_s)} on "
        f"{words.webservers(webservers)} come to {words.duration_estimate(found)}, without bursts"
    )


@says("size.slo_rate_of_run")
def _(run_id: str, reason: Finding) -> str:
    return f"Where the SLO breaks in run {run_id}: {words.lowered(told(reason))}"


says("size.generator_past_limits", "In run {run_id} the load generator was past its limits.")


@says("size.stage_left_out")
def _(run_id: str, stage: StageLabel, reason: Finding) -> str:
    return f"{words.capital(words.stage_label(*stage))} of run {run_id} is left out: {told(reason)}"


@says("size.load_far_beyond")
def _(rate_per_s: float, highest_per_s: float) -> str:
    return (
        f"{words.calls_per_s(rate_per_s)} are more than twice the highest rate of the runs, "
        f"{words.calls_per_s(highest_per_s)}: what else gets busy on the way, such as the "
        "database, was not seen."
    )


says(
    "size.prices_incomplete",
    "Not every setting that is sure enough has a price, so the smallest class with the fewest "
    "webservers is recommended: a larger one may be cheaper.",
)
