"""Of the rules that explain recorded runs as well as the one taken, those at the ends.

To scale out: those with the least and the largest of each value. The way back: for each value the
quickest and the slowest, the other values being as quick and as slow as fits too. Where no scale-in
was seen nearly all fits, and these are two: the quickest and the slowest of the whole grid.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from analysis.policy.parameters import PolicyParameters
from analysis.policy.results import FittedRule
from analysis.policy.search import Candidate
from analysis.policy.starting import StartTime

WAY_OUT: Final = (
    "datapoints_to_alarm",
    "evaluation_periods",
    "statistic",
    "connections_scope",
    "scale_out_step",
    "scale_out_cooldown_s",
)
_QUICKER: Final = {  # 1: a larger value removes webservers sooner, -1: a smaller one does
    "scale_in_periods": -1,
    "scale_in_cpu_below_percent": 1,
    "scale_in_connections_below": 1,
    "scale_in_step": 1,
    "scale_in_cooldown_s": -1,
}
WAY_BACK: Final = tuple(_QUICKER)


def with_way_back(out: PolicyParameters, back: PolicyParameters) -> PolicyParameters:
    """One rule's way to scale out with another's way back."""
    return replace(out, **{name: getattr(back, name) for name in WAY_BACK})


def alternatives(
    rule: FittedRule,
    out: Sequence[Candidate],
    within: Sequence[PolicyParameters],
    start: StartTime,
) -> tuple[FittedRule, ...]:
    """The rules to simulate beside the one taken.

    Args:
        rule: the one taken.
        out: ways to scale out that fit equally well; not empty.
        within: ways back that fit equally well; not empty.
        start: the time to start.
    """
    found = [
        *(
            FittedRule(with_way_back(each.policy, rule.policy), start.of(each))
            for each in _ends_out(out)
        ),
        *(replace(rule, start_s=end_s) for end_s in start.ends_s),
        *(
            replace(rule, policy=with_way_back(rule.policy, back))
            for back in ends_of_way_back(within)
        ),
    ]
    return tuple(dict.fromkeys(each for each in found if each != rule))


def ends_of_way_back(within: Sequence[PolicyParameters]) -> tuple[PolicyParameters, ...]:
    """The quickest and the slowest ways back, value by value; each once."""
    places = {
        name: {value: place for place, value in enumerate(sorted(values))}
        for name in WAY_BACK
        for values in ({getattr(each, name) for each in within},)
    }

    def quickness(policy: PolicyParameters) -> float:
        return sum(
            sign * places[name][getattr(policy, name)] / len(places[name])
            for name, sign in _QUICKER.items()
        )

    ranked = [(quickness(each), each) for each in within]
    ends = []
    for name, sign in _QUICKER.items():
        for pick in (max, min):
            _, end = pick(ranked, key=lambda each: (sign * getattr(each[1], name), each[0]))
            ends.append(end)
    return tuple(dict.fromkeys(ends))


def _ends_out(out: Sequence[Candidate]) -> Iterator[Candidate]:
    for name in WAY_OUT:
        for pick in (min, max):
            yield pick(out, key=lambda each: getattr(each.policy, name))
