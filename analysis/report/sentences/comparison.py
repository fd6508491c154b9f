"""Sentences about runs that are compared, and about runs that are not alike."""

from collections.abc import Mapping, Sequence

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.report.words import byte_size, lowered

_MOST_HOSTS = 2


@says("identity.not_finished")
def _(run_id: str, status: str) -> str:
    return f"Run {run_id} is incomplete ({'cut off' if status == 'running' else status}); rerun it."


@says("identity.incomplete_record")
def _(run_id: str, why: Finding | None) -> str:
    return f"Run {run_id} has an incomplete record: {lowered(told(why)) or 'a part is missing.'}"


@says("identity.environment_changed")
def _(run_id: str, names: Sequence[str]) -> str:
    return f"The environment of run {run_id} was changed while it ran: {', '.join(names)}."


@says("identity.generator_past_limits")
def _(run_id: str, why: Finding | None) -> str:
    return (
        f"In run {run_id} the load generator was past its limits: "
        f"{lowered(told(why)) or 'it was too busy.'}"
    )


@says("identity.failed_before")
def _(run_id: str, why: Finding) -> str:
    return f"In run {run_id} calls failed before the environment: {lowered(told(why))}"


@says("identity.host_disturbed")
def _(run_id: str, why: Finding) -> str:
    return f"Run {run_id} cannot be compared: {told(why)}"


@says("identity.unlike")
def _(what: str, values: Sequence[tuple[str, str]]) -> str:
    told_values = "; ".join(f"{value} ({who})" for value, who in values)
    return f"The runs differ in {what}: {told_values}."


says(
    "comparison.nothing_to_judge",
    "The runs have nothing to judge: no stage in which the SLO held in every baseline run, and no "
    "service demand.",
)
says(
    "comparison.on_both_sides",
    "Run {run_id} is given on both sides: a run cannot be compared with itself.",
)
says(
    "comparison.not_after_correction",
    "Worse than the margin by itself, but not after correction for the number of metrics.",
)
says("comparison.lower_bound", "In {runs} {side} runs it is only a lower bound.")
says(
    "comparison.few_values",
    "Only {baseline} baseline and {contender} contender runs have a value above 0.",
)


@says("comparison.no_turns")
def _(one_side_first: bool) -> str:
    how = (
        "All runs of one side came before all of the other"
        if one_side_first
        else "The sides took few turns"
    )
    return (
        f"{how}, so whatever else changed meanwhile looks like a change too: interleave the runs."
    )


@says("comparison.other_hosts")
def _(baseline: Sequence[tuple[str, int]], contender: Sequence[tuple[str, int]]) -> str:
    return (
        f"The sides ran on different hosts, baseline on {_hosts(baseline)}; contender on "
        f"{_hosts(contender)}: what differs between the hosts looks like a change too. Run both "
        "sides on one host, or as many runs of each on every host."
    )


def _hosts(hosts: Sequence[tuple[str, int]]) -> str:
    named = [f"{host} (runs: {runs})" for host, runs in hosts[:_MOST_HOSTS]]
    others = len(hosts) - len(named)
    return " and ".join([*named, f"{others} others"] if others else named)


@says("comparison.drift")
def _(drift: float, is_share: bool) -> str:
    return (
        f"From the first run to the last it drifted by {_drift(drift, is_share)}, whatever the "
        "side, and the sides did not take turns: interleave the runs."
    )


says(
    "comparison.others_drift",
    "Other metrics drifted, and the sides did not take turns: interleave the runs.",
)


@says("comparison.drift_taken_off")
def _(metrics: Sequence[tuple[str, float, bool]]) -> str:
    told_metrics = "; ".join(
        f"{name} by {_drift(drift, is_share)}" for name, drift, is_share in metrics
    )
    return (
        f"From the first run to the last, whatever the side, there was a drift: {told_metrics}. "
        "The sides took turns, so it was taken off."
    )


def _drift(drift: float, is_share: bool) -> str:
    return f"{100 * drift:+.2g} points" if is_share else f"{100 * (drift - 1):+.0f} %"


says(
    "history.few_runs",
    "A history needs at least {needed} valid runs, there are {runs}; with fewer, compare two sets "
    "(headroom compare).",
)
says(
    "history.no_metric",
    "No metric is known in {needed} runs: there is neither a stage in which the SLO held nor a "
    "service demand.",
)
says("history.few_values", "Known in {values} runs only, change points need {needed}.")


@says("comparison.other_work")
def _(operation: str, baseline_bytes: float, contender_bytes: float, limit_factor: float) -> str:
    return (
        f"{operation} answered {_sizes(contender_bytes, baseline_bytes)}, more than a factor of "
        f"{limit_factor:g} apart, so the sides cannot be taken to have done the same work, and "
        "nothing that its calls enter is judged; compare page limits and data of both sides."
    )


@says("comparison.answers_differ")
def _(operation: str, baseline_bytes: float, contender_bytes: float) -> str:
    return f"{operation} answered {_sizes(contender_bytes, baseline_bytes)}."


def _sizes(contender_bytes: float, baseline_bytes: float) -> str:
    after, before = (byte_size(each) for each in (contender_bytes, baseline_bytes))
    return f"{after} (p50) instead of {before}"


@says("comparison.too_few_runs")
def _(baseline: int, contender: int, gate_metrics: int, needed: int) -> str:
    of = f"{gate_metrics} metrics" if gate_metrics > 1 else "1 metric"
    return (
        f"{baseline} baseline and {contender} contender runs can never show a regression in a gate "
        f"of {of}: make at least {needed} of each, taking turns."
    )


@says("comparison.not_measured")
def _(side: str, lacking: int, runs: int, why: Finding | None) -> str:
    return (
        f"{lacking} of {runs} {side} runs have no value: "
        f"{lowered(told(why)) or 'it was not measured.'}"
    )


@says("comparison.same_airflow")
def _(versions: Sequence[str]) -> str:
    return f"Both sides ran the same Airflow ({', '.join(versions) or 'not known'})."


@says("history.left_out")
def _(why: Finding) -> str:
    return f"Left out: {told(why)}"


says(
    "comparison.few_pairs",
    "An answer needs at least {needed} pairs of runs.",
)
says("upgrade.no_pair", "No pair of runs counts yet.")


says(
    "upgrade.not_pinned",
    "The {side}'s webservers may scale, which changes what its calls cost and how long they take: "
    "make its minimum and maximum equal.",
)


@says("upgrade.unlike_hosts")
def _(slower: float) -> str:
    which, factor = ("contender", slower) if slower > 1 else ("baseline", 1 / slower)
    return (
        f"While the {which} ran, the host took {100 * (factor - 1):.0f} % longer for the same "
        "piece of work than beside the other run."
    )


@says("upgrade.other_answers")
def _(operation: str, baseline: Mapping[str, float], contender: Mapping[str, float]) -> str:
    return (
        f"{operation}: the baseline answers {_endings(baseline)}, the contender "
        f"{_endings(contender)}."
    )


def _endings(shares: Mapping[str, float]) -> str:
    return ", ".join(
        f"{ending} ({100 * share:.0f} %)"
        for ending, share in sorted(shares.items(), key=lambda each: -each[1])
    )
