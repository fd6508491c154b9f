"""A number with its uncertainty: what every estimator returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its confidence interval, or a refusal (value None, reason in warnings)."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    confidence: float = 0.95
    warnings: tuple[str, ...] = ()
