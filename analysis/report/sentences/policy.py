"""What runs do not tell of the scaling rule, and how far a simulated load can be trusted."""

from collections.abc import Sequence

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report.sentences import says, told, told_each
from mwaa_headroom.analysis.report.words import webservers as counted

says("policy.no_metrics", "{run_id} has no webserver metrics.")
says(
    "policy.unlike_runs",
    "Runs that are not alike do not tell of one scaling rule: give those that are.",
)
says(
    "policy.no_run_scales",
    "The scaling rule cannot be fitted: there is no run that can scale; run a scenario whose load "
    "rises past 70 % CPU with max_webservers above min_webservers.",
)
says(
    "policy.no_scale_out",
    "The scaling rule cannot be fitted: there is no run in which a webserver was added; run a "
    "scenario whose load rises past 70 % CPU with max_webservers above min_webservers.",
)
says(
    "policy.thresholds_differ",
    "The runs differ in their metric period or thresholds; fit them one by one.",
)
says(
    "policy.range_not_interval",
    "The range is all that fits the record, not a confidence interval.",
)
says(
    "policy.start_with_datapoints",
    "Decisions are not recorded, so the time to start is known only together with the number of "
    "periods until the decision.",
)
says(
    "policy.start_unknown",
    "No webserver that was asked for came into service before its record ended, so the time to "
    "start is not known; {taken_s:.4g} s is assumed, and up to {longest_s:.4g} s are tried.",
)
says(
    "policy.start_varies",
    "Webservers took {low_s:.3g} to {high_s:.3g} s to start, as far as the count tells: with a "
    "constant time the rule does not explain when they came.",
)
says(
    "policy.step_unseen",
    "The load takes CPU to {asked_percent:.0f} % where webservers are added; the runs show only up "
    "to {seen_percent:.0f} % how many are added at once, and it may be more beyond that: record a "
    "run with as large a step of the load.",
)
# Why a parameter is not determined: phrases.
says("policy.any_value", "any value fits")
says("policy.no_scale_in", "no webserver was removed while it was watched")
says("policy.never_ready", "none came into service in the {low_s:.3g} s until its record ended")
says(
    "policy.no_decisions",
    "decisions are not recorded: it goes with the number of periods until one",
)
says(
    "policy.cpus_unknown",
    "{run_id} does not say how many CPUs a webserver has, so its load cannot be simulated.",
)
says(
    "policy.busy_without_calls",
    "{run_id} shows webservers that are busy without calls, so no load can be simulated; record a "
    "run in which they are not.",
)
says(
    "policy.closed_load",
    "The load of {run_id} came from users who wait for answers, so it would have been another with "
    "other webservers; only open loads can be simulated.",
)
says(
    "policy.load_too_high",
    "The load would be {peak_per_s:g} calls/s at its peak; at most {most_per_s:g} can be "
    "simulated: give a smaller --scale.",
)
says(
    "policy.expected_numbers",
    "Simulated calls are expected numbers of the recorded mix: chance is not in them, nor a "
    "backlog that stays on the webservers that have it.",
)
says(
    "policy.widened",
    "The ranges of lost calls are widened by a factor of {failed:.1f} (failed) and {slow:.1f} "
    "(slow): as far as replays were off, but at least {least:g}.",
)
says(
    "policy.more_than_allowed",
    "Amazon MWAA allows {allowed} webservers; up to {simulated} were simulated.",
)
says(
    "policy.not_simulated",
    "The throttle of the service and the metadata database are not simulated: the load may break "
    "on them first.",
)


@says("policy.pinned")
def _(run_id: str, webservers: int) -> str:
    return f"{run_id} is pinned at {counted(webservers)} and tells nothing about the rule."


@says("policy.mismatch")
def _(explained: int, changes: int, extra: int, off_periods: float) -> str:
    periods = f"{off_periods:g} period{'' if off_periods == 1 else 's'}"
    return (
        "The recorded changes do not follow the documented rule with any of the values tried: "
        f"{_explained(explained, changes, extra)}, off by {periods} in all. "
        "The environment may scale by something that these runs do not show."
    )


@says("policy.rule_not_followed")
def _(explained: int, changes: int, extra: int) -> str:
    return (
        "No load can be simulated, because the environment does not scale by the documented rule: "
        f"{_explained(explained, changes, extra)}."
    )


def _explained(explained: int, changes: int, extra: int) -> str:
    noun = "change is" if changes == 1 else "changes are"
    told_extra = f", and it makes {extra} that were not recorded" if extra else ""
    return f"{explained} of {changes} {noun} explained by the best{told_extra}"


@says("policy.few_changes")
def _(changes: int) -> str:
    return (
        f"Only {changes} change{'' if changes == 1 else 's'} of the webserver count could be used; "
        "each further one tells more of the rule apart."
    )


@says("policy.no_demand")
def _(run_id: str, why: Sequence[Finding]) -> str:
    reason = " ".join(told_each(why)) or "no call reached a webserver."
    return f"{run_id} gives no service demand, so its load cannot be simulated: {reason}"


@says("policy.first_run_unusable")
def _(why: Finding) -> str:
    return f"The load to simulate is that of the first run, but {told(why)} Name another first."
