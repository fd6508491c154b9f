"""How a stage was judged: the lines of the SLO, whether it settled, and why it is undecided."""

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says
from mwaa_headroom.analysis.slo import Slo

says("judge.no_calls", "There are no calls in this window.")
says("judge.few_calls", "{function} needs at least {needed} calls, there are {calls}.")
says("judge.no_periods", "No whole metric period with {metric} lies in this window.")
says("judge.not_reported", "{metric} was not reported in this window.")

says("trial.generator_was_the_limit", "The load generator was the limit.")
says("trial.not_to_its_end", "The stage did not run to its end.")
says("trial.not_judged", "A line of the SLO could not be judged, or there is none.")
says("trial.rate_not_held", "Its rate was not held.")
says("trial.one_operation", "It sent only {operation}, not the mix.")

says("steady.load_varies", "The load of a ramp or a trace changes, so there is nothing to settle.")
says(
    "steady.too_short",
    "Whether a stage settled needs at least {needed_s:.0f} s after the warm-up at this rate, "
    "there were {measured_s:.0f} s.",
)
says(
    "steady.none_ended",
    "None of its calls ended before the stage did, so it cannot be seen whether its latency had "
    "settled.",
)


@says("judge.none_ok")
def _(operation: str | None) -> str:
    what = f"call of {operation}" if operation else "call"
    return f"No {what} ended ok in this window."


@says("judge.cut_calls")
def _(slo: Slo, cut_calls: int, at_least: float) -> str:
    observed = words.observed_text(slo, at_least)
    return f"{cut_calls} calls were cut at a time limit: it was at least {observed}."


@says("steady.mostly_cut")
def _(cut_fraction: float) -> str:
    return (
        f"{100 * cut_fraction:.0f} % of its calls were cut at their time limit, so it cannot be "
        "seen whether its latency had settled."
    )


@says("steady.rising")
def _(fraction_per_min: float) -> str:
    return (
        f"Its latency still rose, by {100 * fraction_per_min:.0f} % of its mean a minute, so a "
        "longer stage would have been slower."
    )


@says("steady.changed")
def _(what: str, rose: bool, after_s: float) -> str:
    how = "more than doubled" if rose else "fell to less than half"
    return f"Its {what} {how} after {after_s:.0f} s, so no steady state was seen."
