"""The sentences of a report about scaling: every change, what it cost, how well it fit."""

from collections.abc import Iterator

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.results import Elasticity, ScalingEvent, TransientCost


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
        because = told(event.reason)
        decision = f"decision ({because})" if because else "decision"
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


def elasticity_sentences(elasticity: Elasticity | None) -> tuple[str, ...]:
    """How well the webserver count followed the need; who says so comes last."""
    if elasticity is None:
        return ()
    return tuple(_elasticity(elasticity))


def _elasticity(elasticity: Elasticity) -> Iterator[str]:
    if elasticity.refusal:
        yield told(elasticity.refusal)
        return
    yield shortage(elasticity)
    if words.is_known(elasticity.over_time):
        yield _told(
            "Too many webservers",
            elasticity.over_time,
            elasticity.over_provisioned,
            "more than were needed",
        )
    if elasticity.needed_by:
        yield told(elasticity.needed_by)


def shortage(elasticity: Elasticity | None) -> str:
    """How long and how far webservers were too few; "" where the need is not known.

    "Too few webservers 18 % of the time, then on average 9 % fewer than were needed."
    """
    if elasticity is None or not words.is_known(elasticity.under_time):
        return ""
    return _told(
        "Too few webservers",
        elasticity.under_time,
        elasticity.under_provisioned,
        "fewer than were needed",
    )


def _told(what: str, time: float, by: float | None, how: str) -> str:
    if not time:
        return f"{what}: never."
    # The metric is a mean over all the time; people ask how bad it was while it was.
    then = f", then on average {words.share(by / time)} {how}" if words.is_known(by) else ""
    return f"{what} {words.share(time)} of the time with load{then}."
