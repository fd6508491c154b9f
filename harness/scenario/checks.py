"""What must fit together in a scenario, beyond what one key can tell.

Every check raises `ValueError` with a sentence that names the key.
"""

from typing import TYPE_CHECKING, Final

from analysis.records.schema import RECOVERY_ARRIVALS_FROM
from analysis.slo import parse_slo

if TYPE_CHECKING:  # the model calls these checks
    from harness.scenario.model import Scenario, Stage

# Per kind of arrivals, the keys of a stage that only some kinds know: needed, and allowed.
_STAGE_KEYS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "poisson": (("rate_per_s",), ("ramp_to_rate_per_s",)),
    "constant": (("rate_per_s",), ("ramp_to_rate_per_s",)),
    "trace": (("trace_file", "rate_per_s", "peak_rate_per_s"), ()),  # the rates are filled in
    "closed": (("users",), ()),
}
_SOME_KINDS_KEYS: Final = (
    "rate_per_s",
    "ramp_to_rate_per_s",
    "trace_file",
    "peak_rate_per_s",
    "users",
)

CALLS_PER_CLOSED_STAGE: Final = 10**8  # numbers kept for one stage
_LUCK: Final = 2  # random arrivals may be more than expected


def check_together(scenario: "Scenario") -> None:
    """Raise `ValueError` at the first thing that does not fit."""
    _check_traffic(scenario)
    for index, stage in enumerate(scenario.stages):
        _check_stage_keys(scenario.traffic.arrivals, f"stages[{index}]", stage)
        _check_operation(scenario, f"stages[{index}]", stage)
        _check_harmless(scenario, f"stages[{index}]", stage)
    _check_recovery(scenario)
    _check_slo(scenario)
    _check_numbers(scenario)


def _check_traffic(scenario: "Scenario") -> None:
    traffic = scenario.traffic
    if traffic.retries != "off" and traffic.transport != "boto3":
        raise ValueError(
            f'traffic.retries = "{traffic.retries}" is a mode of botocore\'s: it needs '
            'traffic.transport = "boto3"'
        )
    is_closed = traffic.arrivals == "closed"
    if is_closed and scenario.question.ask == "capacity":
        raise ValueError(
            'question.ask = "capacity" cannot be answered by traffic.arrivals = "closed": users '
            "who wait for answers never offer more than the environment takes"
        )
    if traffic.retries == "adaptive" and scenario.question.ask == "capacity":
        raise ValueError(
            'question.ask = "capacity" cannot be answered with traffic.retries = "adaptive", which '
            "sends less by itself when it is throttled; choose another mode, or ask a check"
        )
    if is_closed and traffic.think_time_s is None:
        raise ValueError('traffic.think_time_s is missing, which traffic.arrivals = "closed" needs')
    if not is_closed and traffic.think_time_s is not None:
        raise ValueError('traffic.think_time_s goes only with traffic.arrivals = "closed"')


def _check_stage_keys(arrivals: str, place: str, stage: "Stage") -> None:
    needed, allowed = _STAGE_KEYS[arrivals]
    for key in needed:
        if getattr(stage, key) is None:
            raise ValueError(
                f'{place}.{key} is missing, which traffic.arrivals = "{arrivals}" needs'
            )
    for key in _SOME_KINDS_KEYS:
        if key not in needed + allowed and getattr(stage, key) is not None:
            raise ValueError(f'{place}.{key} does not go with traffic.arrivals = "{arrivals}"')


def _check_operation(scenario: "Scenario", place: str, stage: "Stage") -> None:
    mix = scenario.traffic.mix
    if stage.operation is None:
        return
    if stage.operation not in mix:
        raise ValueError(
            f"{place}.operation is '{stage.operation}', which is not in traffic.mix "
            f"({', '.join(mix)})"
        )
    if scenario.question.ask == "capacity":
        raise ValueError(
            f'{place}.operation does not go with question.ask = "capacity", which is about the '
            "whole mix; ask a check"
        )


def _check_harmless(scenario: "Scenario", place: str, stage: "Stage") -> None:
    limits, highest_per_s = scenario.limits, scenario.highest_rate_per_s(stage)
    if highest_per_s > limits.max_rate_per_s:
        raise ValueError(
            f"{place} asks for {highest_per_s:g} calls/s, "
            f"above limits.max_rate_per_s = {limits.max_rate_per_s:g}"
        )
    if stage.users is not None and stage.users > limits.max_in_flight:
        raise ValueError(
            f"{place} has {stage.users} users, above limits.max_in_flight = {limits.max_in_flight}"
        )


def _check_numbers(scenario: "Scenario") -> None:
    most = [scenario.highest_rate_per_s(stage) * stage.duration_s for stage in scenario.stages]
    is_closed = scenario.traffic.arrivals == "closed"
    if _LUCK * max(most) > CALLS_PER_CLOSED_STAGE and is_closed:
        raise ValueError(
            f"a stage may make up to {max(most):.2g} calls, for a closed workload at most "
            f"{CALLS_PER_CLOSED_STAGE / _LUCK:.2g} can be numbered: make it shorter"
        )
    if _LUCK * sum(most) > RECOVERY_ARRIVALS_FROM and not is_closed:
        raise ValueError(
            f"the stages may make up to {sum(most):.2g} calls, in one run at most "
            f"{RECOVERY_ARRIVALS_FROM / _LUCK:.2g} can be numbered: make several scenarios of them"
        )


def _check_recovery(scenario: "Scenario") -> None:
    rate_per_s, limits = scenario.recovery.rate_per_s, scenario.limits
    if rate_per_s is None:
        return
    if scenario.traffic.arrivals == "closed":
        raise ValueError('recovery.rate_per_s does not go with traffic.arrivals = "closed"')
    if rate_per_s > limits.max_rate_per_s:
        raise ValueError(
            f"recovery.rate_per_s = {rate_per_s:g} is above "
            f"limits.max_rate_per_s = {limits.max_rate_per_s:g}"
        )


def _check_slo(scenario: "Scenario") -> None:
    expect, mix = scenario.expect, scenario.traffic.mix
    if not scenario.slo and not (expect.dags or expect.healthy_components):
        raise ValueError("slo must not be empty: without it nothing can be judged")
    for index, text in enumerate(scenario.slo):
        slo = parse_slo(text)
        if slo.selector_key == "operation" and slo.selector_value not in mix:
            raise ValueError(
                f"slo[{index}] names '{slo.selector_value}', which is not in traffic.mix "
                f"({', '.join(mix)})"
            )
    if scenario.question.ask == "capacity" and not scenario.slo:
        raise ValueError("a capacity question needs an slo")
