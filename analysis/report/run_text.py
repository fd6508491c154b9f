"""What is said of one run from its numbers: the headline, which run it was, its load and scaling.

Sentences about findings are in `sentences`; here is what no finding stands for.
"""

from collections.abc import Iterator, Sequence

from mwaa_headroom.analysis.generator.limits import UNSENT_LIMIT
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.run_tables import stage_verdict
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import (
    CapacityResult,
    Elasticity,
    GeneratorHealth,
    RetryResult,
    RunAnalysis,
    ScalingEvent,
    SloResult,
    TransientCost,
    TruthCheck,
)


def headline(analysis: RunAnalysis) -> str:
    """The answer in a few words, for the top of the page."""
    verdict, capacity, sizing = analysis.verdict, analysis.capacity, analysis.sizing
    if verdict.exit_code == 130:
        return "Interrupted"
    if sizing and sizing.impossible and sizing.impossible in verdict.reasons:
        return "Out of reach"
    if not verdict.answered:
        return "Inconclusive"
    if analysis.question == "check":
        return _check_headline(analysis)
    if sizing and sizing.target and sizing.target.webservers is not None:
        cpu = sizing.webserver_cpu
        needed = words.sized_webservers(sizing.target.webservers, analysis.environment, cpu)
        return f"{needed} for {words.calls_per_s(sizing.target.rate_per_s)}"
    return _capacity_headline(capacity) if capacity else "No stage met the SLO"


def _check_headline(analysis: RunAnalysis) -> str:
    if analysis.verdict.passed:
        return "SLO met" if analysis.slo else "Check passed"
    judged = all(stage.speaks for stage in analysis.stages)
    broken = any(stage_verdict(stage) is False for stage in analysis.stages) or (
        judged and any(line.met is False for line in analysis.slo)
    )
    missed = any(not each.met for each in analysis.expectations)
    return "Expectations not met" if missed and not broken else "SLO not met"


def _capacity_headline(capacity: CapacityResult) -> str:
    """Where the SLO breaks, unless another count took more: then what that one was seen to take."""
    between = capacity.rate_per_s
    if between and words.is_known(between.value) and not _another_took_more(capacity):
        return f"{words.calls_per_s(between.value)}{_with(capacity.rate_webservers)}"
    if not words.is_known(capacity.highest_rate_per_s):
        return "No stage met the SLO"
    at_least = "At least " if capacity.bottleneck == "not_reached" else ""
    return f"{at_least}{_highest(capacity)}"


def capacity_sentence(capacity: CapacityResult | None) -> str:
    """The rate at which the SLO breaks: "24.1 calls/s (22.8-25.6) with 2 webservers; ...".

    When the highest stage that met the SLO had another count, that one is told as well. "" where
    only stages are known, which the verdict tells.
    """
    if capacity is None or capacity.rate_per_s is None:
        return ""
    if not words.is_known(capacity.rate_per_s.value):
        return ""
    rate = f"{words.rate_estimate(capacity.rate_per_s)}{_with(capacity.rate_webservers)}"
    higher = f"{_highest(capacity)} met the SLO" if _another_took_more(capacity) else ""
    stopped = words.STOPPED_BY.get(capacity.bottleneck, "")
    by = f"more was stopped by {stopped}" if stopped else ""
    also = ", ".join(part for part in (higher, by) if part)
    return f"{rate}; {also}." if also else f"{rate}."


def chances_sentence(capacity: CapacityResult | None) -> str:
    """Whether the highest stage that met the SLO would again, and the next one; "": not known."""
    if capacity is None or capacity.highest_holds is None:
        return ""
    sure = words.chance(capacity.highest_holds)
    again = f"{_highest(capacity)} meet the SLO with a probability of {sure}"
    if capacity.next_rate_per_s is None or capacity.next_holds is None:
        return f"In the long run {again}."
    following = words.calls_per_s(capacity.next_rate_per_s)
    return f"In the long run {again}, {following} with one of {words.chance(capacity.next_holds)}."


def _another_took_more(capacity: CapacityResult) -> bool:
    """Whether the highest stage that met the SLO had another count than the estimate is of."""
    return capacity.rate_webservers != capacity.webservers


def _highest(capacity: CapacityResult) -> str:
    return f"{words.calls_per_s(capacity.highest_rate_per_s)}{_with(capacity.webservers)}"


def _with(webservers: int | None) -> str:
    return f" with {words.webservers(webservers)}" if webservers else ""


def observed(result: SloResult) -> str:
    """What an SLO line saw, or why it could not be judged."""
    if result.met is None:
        return f"not judged: {told(result.reason) or 'no reason was recorded'}"
    text = words.observed_words(result)
    return f"{text} ({told(result.reason)})" if result.reason else text


def about(analysis: RunAnalysis) -> str:
    """Which run of what, and what load it was: one line."""
    facts = analysis.environment
    airflow = f"Airflow {facts['airflow_version']}" if facts.get("airflow_version") else ""
    run = (analysis.run_id, *_environment(facts), airflow, _length(analysis))
    load = [analysis.workload, f"{analysis.transport.replace('_', ' ')} transport"]
    load += [f"{analysis.retries.mode} retries"] if analysis.retries else []
    return "; ".join([", ".join(part for part in run if part), *load])


def _environment(environment: dict[str, object]) -> Iterator[str]:
    for key in ("name", "kind", "environment_class"):
        if environment.get(key):
            yield str(environment[key])
    facts = _stated(environment)
    cpu = facts.get("webserver_cpu")
    if cpu and not environment.get("environment_class"):
        unlimited = " (not limited)" if facts.get("cpu_limited") is False else ""
        yield f"webservers of {cpu:g} CPU{unlimited}"


def is_virtual(analysis: RunAnalysis) -> bool:
    """Whether the run took place in a simulation only."""
    return _stated(analysis.environment).get("virtual_time") is True


def _stated(environment: dict[str, object]) -> dict[str, object]:
    facts = environment.get("facts")
    return facts if isinstance(facts, dict) else {}


def _length(analysis: RunAnalysis) -> str:
    took = words.delay(analysis.ended_at_s - analysis.started_at_s)
    ended = "cut off" if analysis.status == "running" else analysis.status
    return f"{ended} after {took}" if took != words.UNKNOWN else ended


def generator(health: GeneratorHealth) -> str:
    """The verdict on the load generator, with the figures it rests on: "fine (lag p99 2 ms)"."""
    if any(reason.code == "generator.ended" for reason in health.reasons):
        verdict = "ended before it should"
    elif health.ok:
        # Judged all the same, because it can only have made the result look better.
        within = health.unsent <= UNSENT_LIMIT * health.arrivals
        verdict = "fine" if within else "within its limits where the verdict rests on it"
    elif [reason.code for reason in health.reasons] == ["generator.not_counted"]:
        verdict = "not known to be fine"
    else:
        verdict = "past its limits"
    return f"{verdict} ({', '.join(_generator_figures(health))})"


def _generator_figures(health: GeneratorHealth) -> Iterator[str]:
    if words.is_known(health.lag_p99_s):
        yield f"lag p99 {words.duration(health.lag_p99_s)}"
    yield f"{health.unsent or 'none'} of {health.arrivals} arrivals unsent"
    if health.rows != health.arrivals:
        yield f"{health.rows} rows"
    if words.is_known(health.longest_stall_s):
        longest = f"longest stall {words.duration(health.longest_stall_s)}"
        yield longest if health.longest_stall_s else "no stall"
    if words.is_known(health.cpu_fraction_max):
        yield f"at most {words.share(health.cpu_fraction_max)} of one core"
    if len(health.workers) > 1:
        yield f"{len(health.workers)} load processes"


def retries(result: RetryResult) -> Iterator[str]:
    """What the client's own retries did, one sentence each."""
    if not result.repeated:
        yield f"None of {result.sent} calls was sent more than once."
        return
    yield (
        f"{result.repeated} of {result.sent} calls were sent more than once, {result.attempts} "
        f"attempts in all; {result.repeated_ok} of them ended ok: errors that the retries hid."
    )
    if result.duplicate_triggers:
        yield (
            f"Duplicate triggers: {result.duplicate_triggers}. Airflow had taken them before they "
            "were repeated and answered 409; without a run id given by the caller, each would have "
            "been a second DAG run."
        )


def scaling_sentence(event: ScalingEvent, started_at_s: float) -> str:
    """What one change of the webserver count was caused by, and how long it took.

    "2 to 3 webservers: CPU above 70 % at 00:42, decision +5 s, third webserver ready +17 s."
    Every delay is counted from the first moment of the sentence.
    """
    steps = [(text, time_s) for text, time_s in _scaling_steps(event) if words.is_known(time_s)]
    change = f"{event.from_count} to {event.to_count} webservers"
    if not steps:
        return f"{change}: the record does not show when."
    (first, anchor_s), *rest = steps
    after = (
        f" ({words.delay(anchor_s - event.load_step_s)} after the load rose)"
        if words.is_known(event.load_step_s) and anchor_s >= event.load_step_s
        else ""
    )
    delays = "".join(f", {text} +{words.delay(time_s - anchor_s)}" for text, time_s in rest)
    at = words.clock(anchor_s - started_at_s)
    return f"{change}: {first} at {at}{after}{delays}{_consequence(event)}."


def _scaling_steps(event: ScalingEvent) -> tuple[tuple[str, float | None], ...]:
    decision, ready = "decision", f"{words.ordinal(event.to_count)} webserver ready"
    if event.to_count < event.from_count:
        decision = f"decision ({told(event.reason)})" if event.reason else "decision"
        ready = f"down to {event.to_count}"
    counted_s, traffic_s = event.count_changed_s, event.takes_traffic_s
    if event.ready_s is not None:
        counted_s = traffic_s = None  # told more exactly by its readiness
    return (
        (told(event.reason) or "threshold passed", event.breach_s),
        (decision, event.decision_s),
        (ready, event.ready_s),
        (f"{words.webservers(event.to_count)} in the metrics", counted_s),
        ("takes traffic", traffic_s),
        ("SLO restored", event.slo_restored_s),
    )


def _consequence(event: ScalingEvent) -> str:
    """Whether taking webservers away was one too many."""
    if event.to_count > event.from_count or event.slo_broke is None:
        return ""
    return "; the SLO broke after it" if event.slo_broke else "; the SLO held after it"


def cost_sentence(event: ScalingEvent) -> str:
    """What callers paid for a scale-out; "" where that is not known.

    "Until the SLO held again, 41 s after the load step, 212 of 1870 calls were slow and 13 failed."
    """
    cost = event.cost
    if cost is None or not cost.calls:
        return ""
    after = words.delay(cost.to_s - cost.from_s)
    were = "was" if cost.slow_calls == 1 else "were"
    paid = f"{cost.slow_calls} of {cost.calls} calls {were} slow and {cost.errors or 'none'} failed"
    if not cost.slow_calls and not cost.errors:
        paid = f"none of {cost.calls} calls was slow or failed"
    when = (
        f"Until the SLO held again, {after} after the load step,"
        if cost.ended
        else f"The SLO did not hold again in the {after} it was watched after the load step:"
    )
    return f"{when} {paid}{_usual(cost)}."


def _usual(cost: TransientCost) -> str:
    """What there would have been without the load step, where that is worth a word."""
    slow = max(round(cost.slow_calls - cost.excess_slow_calls), 0)
    failed = max(round(cost.errors - cost.excess_errors), 0)
    if not slow and not failed:
        return ""
    return f"; at the shares before the load step it would have been {slow} and {failed}"


def elasticity(result: Elasticity | None) -> Iterator[str]:
    """How well the webserver count followed the need; who says so comes last.

    "Too few webservers 18 % of the time with load, then on average 9 % fewer than were needed."
    """
    if result is None:
        return
    if result.refusal:
        yield told(result.refusal)
        return
    for what, time, by, how in (
        ("few", result.under_time, result.under_provisioned, "fewer"),
        ("many", result.over_time, result.over_provisioned, "more"),
    ):
        if time == 0:
            yield f"Too {what} webservers: never."
        elif words.is_known(time):
            # The metric is a mean over all the time; people ask how bad it was while it was.
            amount = f"{words.share(by / time)} {how}" if words.is_known(by) else ""
            then = f", then on average {amount} than were needed" if amount else ""
            yield f"Too {what} webservers {words.share(time)} of the time with load{then}."
    if result.needed_by:
        yield told(result.needed_by)


def truth_sentence(checks: Sequence[TruthCheck]) -> str:
    """How many estimates hold the truth of simulated webservers, and which do not; "": none."""
    judged = [check for check in checks if check.within is not None]
    if not judged:
        return ""
    missed = [check.what for check in judged if check.within is False]
    but = f"; not of the {words.enumerated(missed)}" if missed else ""
    intervals = f"{len(judged)} interval{'' if len(judged) == 1 else 's'}"
    return f"Truth of the simulation: inside {len(judged) - len(missed)} of {intervals}{but}."
