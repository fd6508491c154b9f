"""The values of the rule's unknowns that a fit tries, and how people read what is left of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, Literal

from analysis.policy.parameters import PolicyParameters

DATAPOINTS: Final = tuple((m, n) for n in range(1, 6) for m in range(1, n + 1))  # M of N periods
STATISTICS: Final[tuple[Literal["Average", "Maximum"], ...]] = ("Average", "Maximum")
SCOPES: Final[tuple[Literal["per_webserver", "total"], ...]] = ("per_webserver", "total")
STEPS: Final = (1, 2, 3)
QUIET_PERIODS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
CPU_BELOW_PERCENT: Final = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0)
CONNECTIONS_BELOW: Final = (1.0, 2.0, 5.0, 10.0, 15.0)
_COOLDOWNS_IN_PERIODS: Final = range(1, 13)
_LONG_COOLDOWNS_S: Final = (90.0, 120.0, 180.0, 240.0, 300.0, 600.0, 900.0)


@dataclass(frozen=True, slots=True)
class Ladder:
    """Ascending values, each standing for all above the one before it, the last for all beyond."""

    values: tuple[float, ...]

    def holding(self, value: float) -> float:
        """The one that stands for a value."""
        return next((each for each in self.values if value <= each), self.values[-1])

    def described(self, fitting: Iterable[float]) -> tuple[str, ...]:
        """Neighbours joined: "at most 10 s", "over 5 s, up to 15 s", "over 600 s"."""
        places = sorted(self.values.index(value) for value in set(fitting))
        return tuple(self._range(first, last) for first, last in _joined(places))

    def _range(self, first: int, last: int) -> str:
        over = f"over {self.values[first - 1]:g} s" if first else ""
        up_to = f"{self.values[last]:g} s" if last < len(self.values) - 1 else ""
        if over and up_to:
            return f"{over}, up to {up_to}"
        return over or (f"at most {up_to}" if up_to else "any")


def cooldown_ladder(period_s: float) -> Ladder:
    """Cooldowns that can act differently: whole periods first, then coarser."""
    short = [periods * period_s for periods in _COOLDOWNS_IN_PERIODS]
    return Ladder((*short, *(long for long in _LONG_COOLDOWNS_S if long > short[-1])))


def scale_out_rules(base: PolicyParameters) -> Iterator[PolicyParameters]:
    """Every way to scale out, with the cooldown of `base`; none of them scales in."""
    for (m, n), statistic, scope, step in product(DATAPOINTS, STATISTICS, SCOPES, STEPS):
        yield replace(
            base,
            datapoints_to_alarm=m,
            evaluation_periods=n,
            statistic=statistic,
            connections_scope=scope,
            scale_out_step=step,
            scale_in_cpu_below_percent=0.0,
        )


def scale_in_rules(base: PolicyParameters) -> Iterator[PolicyParameters]:
    """Every way to scale in, with the cooldown of `base`, which says how it scales out."""
    for periods, cpu, connections, step in product(
        QUIET_PERIODS, CPU_BELOW_PERCENT, CONNECTIONS_BELOW, STEPS
    ):
        yield replace(
            base,
            scale_in_periods=periods,
            scale_in_cpu_below_percent=cpu,
            scale_in_connections_below=connections,
            scale_in_step=step,
        )


def described_points(
    tried: tuple[float, ...], fitting: Iterable[float], unit: str
) -> tuple[str, ...]:
    """Values that were tried themselves, neighbours joined: "20 to 40 %"."""
    places = sorted(tried.index(value) for value in set(fitting))
    return tuple(
        f"{tried[first]:g}{unit}" if first == last else f"{tried[first]:g} to {tried[last]:g}{unit}"
        for first, last in _joined(places)
    )


def _joined(places: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and place == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs
