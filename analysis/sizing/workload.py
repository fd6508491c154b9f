"""What the simulator needs to know of the runs: the calls, the SLO's shares, the autoscaling."""

from collections.abc import Sequence
from statistics import fmean, median

from analysis.calls import is_latency_limit
from analysis.policy.costs import workload_of as recorded_workload
from analysis.policy.parameters import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT, PolicyParameters
from analysis.policy.workload import Workload
from analysis.results import RunAnalysis
from analysis.scaling.delay import scale_out_delays
from analysis.sizing.bursts import Allowance, Autoscaling
from analysis.sizing.pooling import pool
from analysis.sizing.results import SizedRun
from analysis.slo import Slo, parse_slo

PERIOD_S = 60.0  # at which Amazon MWAA publishes
_UNDOCUMENTED = (
    "AWS does not document the number of periods, the step and the cooldowns: usual ones are taken."
)
START_S = 120.0  # AWS says "a few minutes" of a change of configuration, nothing of scaling


def slos_of(run: RunAnalysis) -> tuple[Slo, ...]:
    """The lines of the run's SLO."""
    judged = run.slo or next((stage.slo for stage in run.stages if stage.slo), ())
    return tuple(parse_slo(line.slo) for line in judged)


def allowance_of(slos: Sequence[Slo]) -> Allowance:
    """Shares of calls that may be slow or fail, by the strictest lines about all calls."""
    overall = [slo for slo in slos if slo.selector_value is None]
    slow = [1.0 - (slo.percentile or 100.0) / 100.0 for slo in overall if is_latency_limit(slo)]
    failed = [
        slo.threshold for slo in overall if slo.metric == "errors" and slo.comparison[0] == "<"
    ]
    return Allowance(min(slow, default=None), min(failed, default=None))


def workload_of(
    runs: Sequence[RunAnalysis], sized: Sequence[SizedRun], webserver_cpu: float
) -> Workload:
    """Calls as all runs together show them, on webservers with so many CPUs.

    Raises:
        ValueError: such a webserver has no CPU left for calls.
    """
    demand_s = pool([run.demand_s for run in sized]).estimate.value or 0.0
    background = fmean(run.background_cpu.value or 0.0 for run in sized)
    limits_s = [slo.threshold for slo in slos_of(runs[0]) if is_latency_limit(slo)]
    recorded = [found for run in runs if isinstance(found := recorded_workload(run), Workload)]
    return Workload(
        demand_s=demand_s,
        background_cpu=background,
        webserver_cpu=webserver_cpu,
        latency_s=median([each.latency_s for each in recorded] or [0.0]),
        slow_after_s=min(limits_s, default=None),
        connections_per_call=median([each.connections_per_call for each in recorded] or [1.0]),
    )


def autoscaling_of(runs: Sequence[RunAnalysis]) -> Autoscaling:
    """The documented rule with the times that the runs show, or else usual ones."""
    facts = runs[0].environment.get("facts")
    facts = facts if isinstance(facts, dict) else {}
    policy = PolicyParameters(
        cpu_above_percent=float(facts.get("scale_out_cpu_percent", CPU_ABOVE_PERCENT)),
        connections_above=float(facts.get("scale_out_connections", CONNECTIONS_ABOVE)),
    )
    shown = _start_s(runs, policy)
    if shown is None:
        return Autoscaling(
            policy,
            PERIOD_S,
            (START_S,),
            f"No run shows how long a webserver takes to start, so {START_S:g} s and metric "
            f"periods of {PERIOD_S:g} s are taken, unverified. {_UNDOCUMENTED}",
        )
    period_s = runs[0].periods[0].period_s
    span = "" if len(shown) == 1 else f" ({min(shown):.0f}-{max(shown):.0f})"
    here = "" if runs[0].environment.get("kind") == "aws" else " of the stand-in, not of AWS"
    return Autoscaling(
        policy,
        period_s,
        shown,
        f"A webserver takes {shown[0]:.0f} s{span} from the decision, and metric "
        f"periods are {period_s:g} s, as the runs show{here}. {_UNDOCUMENTED}",
    )


def _start_s(runs: Sequence[RunAnalysis], policy: PolicyParameters) -> tuple[float, ...] | None:
    """From decision to service: the mean over the runs' scale-outs and the ends of its interval."""
    delays = scale_out_delays([event for run in runs for event in run.scaling])
    found = delays.provisioning
    if found.value is None or not runs[0].periods:
        return None
    # Where nobody tells of decisions, the first of the rule's periods had just ended.
    early_s = 0.0
    if delays.detected_by != "decision":
        early_s = (policy.datapoints_to_alarm - 1) * runs[0].periods[0].period_s
    ends = (found.value, found.low, found.high)
    shown = [max(0.0, round(end - early_s, 1)) for end in ends if end is not None]
    return tuple(dict.fromkeys(shown))
