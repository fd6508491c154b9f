"""The steps of one scale-out in order, t0 to t5, with the gaps between them.

    t0 load step   t1 first period past a threshold ends   t2 decision
    t3 webserver count rises   t4 new webserver takes traffic   t5 SLO restored

A step that the record does not show is left out, and the gap is to the step before that is known.
Steps are in the order of their times, which may differ from that above: a count is seen to rise
only at the end of a metric period, in whose middle the webserver may already have taken traffic.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.results import ScalingEvent
from analysis.scaling.slo_windows import WINDOW_S


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a scale-out.

    `at_s` is in epoch seconds. What is read from metrics or windows lies in
    (at_s - resolution_s, at_s]; 0: exact, None: not known. Of a load step within a ramp or a trace
    the resolution is to both sides.
    """

    name: str
    at_s: float
    gap_s: float | None  # since the step before; None: this is the first
    resolution_s: float | None


def steps_of(event: ScalingEvent) -> tuple[Step, ...]:
    """The known steps of a scale-out, or the decision and the fall of the count of a scale-in."""
    steps: list[Step] = []
    for name, at_s, resolution_s in sorted(_known(event), key=lambda known: known[1]):
        gap_s = at_s - steps[-1].at_s if steps else None
        steps.append(Step(name, at_s, gap_s, resolution_s))
    return tuple(steps)


def _known(event: ScalingEvent) -> Iterator[tuple[str, float, float | None]]:
    counted_within_s = event.period_s
    if event.count_changed_s is not None and event.count_changed_after_s is not None:
        counted_within_s = event.count_changed_s - event.count_changed_after_s
    traffic_within_s = 0.0 if event.ready_s is not None else event.period_s
    rises = event.to_count > event.from_count
    for name, at_s, resolution_s in (
        ("load step", event.load_step_s, event.load_step_within_s),
        ("threshold passed", event.breach_s, event.period_s),
        ("decision", event.decision_s, 0.0),
        ("count rises" if rises else "count falls", event.count_changed_s, counted_within_s),
        ("takes traffic", event.takes_traffic_s, traffic_within_s),
        ("SLO restored", event.slo_restored_s, WINDOW_S),
    ):
        if at_s is not None:
            yield name, at_s, resolution_s
