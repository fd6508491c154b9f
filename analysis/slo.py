"""Service level objectives as one can type them: `p95(latency{operation=list_dags}) < 500ms`.

    slo        = function "(" metric [ "{" key "=" value "}" ] ")" comparison number [ unit ]
    function   = "p50" ... "p99.9" | "mean" | "max" | "min" | "rate" | "trend"
    comparison = "<" | "<=" | ">" | ">="
    unit       = "ms" | "s" | "%" | "%/h"

What a name means:

    latency        end - intended start (s), of calls that ended ok or were cut at a time limit;
                   other failures, often fast, would flatter it and are judged by errors
    service_time   end - actual start of the same calls (s)
    errors         calls not ok / calls sent; with a selector: calls that ended so / calls sent
    unsent         arrivals the generator did not send / arrivals
    goodput        arrivals that ended ok and within the latency thresholds / arrivals
    webserver.*    cpu and memory (fraction), connections (per webserver), count; max(cpu) is the
                   busiest webserver's busiest period, every other one the mean over webservers;
                   trend(memory): its growth an hour, met or broken when the 95 % interval says so
    database.*     cpu (fraction) and connections of the metadata database's writer; max is the
                   highest of the periods
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mwaa_headroom.analysis.errors import SloSyntaxError
from mwaa_headroom.analysis.nearest import did_you_mean
from mwaa_headroom.analysis.outcomes import LAYER_OF_OUTCOME, LAYERS

UNIT_SCALES: Final = {"ms": 0.001, "s": 1.0, "%": 0.01, "%/h": 0.01, "": 1.0}

# Generator and unsent are no errors of a call: they have a metric of their own.
ERROR_LAYERS: Final = tuple(layer for layer in LAYERS if layer != "generator")
ERROR_OUTCOMES: Final = tuple(name for name in LAYER_OF_OUTCOME if name not in ("ok", "unsent"))


@dataclass(frozen=True, slots=True)
class _Metric:
    functions: tuple[str, ...]
    units: tuple[str, ...]
    selectors: tuple[str, ...] = ()


_TIME = _Metric(("p50..p99.9", "mean", "max"), ("ms", "s"), ("operation",))
METRICS: Final[dict[str, _Metric]] = {
    "latency": _TIME,
    "service_time": _TIME,
    "errors": _Metric(("rate",), ("%",), ("operation", "layer", "outcome")),
    "unsent": _Metric(("rate",), ("%",)),
    "goodput": _Metric(("rate",), ("%",), ("operation",)),
    "webserver.cpu": _Metric(("max", "mean"), ("%",)),
    "webserver.memory": _Metric(("max", "mean", "trend"), ("%", "%/h")),
    "webserver.connections": _Metric(("max", "mean"), ("",)),
    "webserver.count": _Metric(("min", "max"), ("",)),
    "database.cpu": _Metric(("max", "mean"), ("%",)),
    "database.connections": _Metric(("max", "mean"), ("",)),
}
FUNCTIONS: Final = ("p50..p99.9", "mean", "max", "min", "rate", "trend")

_SHAPE = re.compile(
    r"""\s*(?P<function>[A-Za-z][A-Za-z0-9.]*)\s*
        \(\s*(?P<metric>[A-Za-z_.]+)\s*
           (?:\{\s*(?P<key>[A-Za-z_]+)\s*=\s*(?P<value>[^{}=,]*[^{}=,\s])\s*\})?\s*\)\s*
        (?P<comparison><=|>=|<|>)\s*
        (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(?P<unit>[A-Za-z%]*(?:/h)?)\s*""",
    re.VERBOSE | re.ASCII,
)
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. `str(slo)` is its canonical text, and parses to an equal value."""

    function: str  # "p95", "mean", "max", "min", "rate" or "trend"
    metric: str  # a key of METRICS
    selector_key: str | None  # "operation", "layer" or "outcome"
    selector_value: str | None
    comparison: str
    number: float  # as written, in `unit`
    unit: str
    text: str = field(compare=False)  # as written

    @property
    def threshold(self) -> float:
        """The threshold in base units: seconds, fraction, count."""
        return self.number / 1000 if self.unit == "ms" else self.number * UNIT_SCALES[self.unit]

    @property
    def percentile(self) -> float | None:
        """95.0 for p95; None for every other function."""
        found = _PERCENTILE.fullmatch(self.function)
        return float(found[1]) if found else None

    def is_met_by(self, observed: float) -> bool:
        """Whether `observed`, in base units, meets the objective."""
        match self.comparison:
            case "<":
                return observed < self.threshold
            case "<=":
                return observed <= self.threshold
            case ">":
                return observed > self.threshold
            case _:
                return observed >= self.threshold

    def __str__(self) -> str:
        selector = f"{{{self.selector_key}={self.selector_value}}}" if self.selector_key else ""
        number = repr(self.number).removesuffix(".0")
        return f"{self.function}({self.metric}{selector}) {self.comparison} {number}{self.unit}"


def parse_slo(text: str) -> Slo:
    """Understand one objective.

    Raises:
        SloSyntaxError: one sentence that names what is known instead.
    """
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise SloSyntaxError(
            f"The SLO '{text}' is not of the form 'p95(latency) < 800ms', 'rate(errors) < 1%' or "
            "'max(webserver.cpu) < 85%'."
        )
    slo = Slo(
        function=found["function"],
        metric=found["metric"],
        selector_key=found["key"],
        selector_value=found["value"],
        comparison=found["comparison"],
        number=float(found["number"]),
        unit=found["unit"],
        text=text,
    )
    if not math.isfinite(slo.number):
        raise SloSyntaxError(f"The SLO '{text}' compares with a number that is too large.")
    _check_function(slo)
    _check_selector(slo)
    _check_unit(slo)
    return slo


def _check_function(slo: Slo) -> None:
    metric = METRICS.get(slo.metric)
    if metric is None:
        raise SloSyntaxError(
            f"The SLO '{slo.text}' names the unknown metric '{slo.metric}'"
            f"{did_you_mean(slo.metric, METRICS)}; known are {_listed(METRICS)}."
        )
    name = "p50..p99.9" if slo.percentile else slo.function
    if name not in FUNCTIONS:
        raise SloSyntaxError(
            f"The SLO '{slo.text}' names the unknown function '{slo.function}'"
            f"{did_you_mean(slo.function, FUNCTIONS)}; known are {_listed(FUNCTIONS)}."
        )
    if name not in metric.functions:
        raise SloSyntaxError(
            f"The SLO '{slo.text}' asks for {slo.function} of {slo.metric}, "
            f"for which only {_listed(metric.functions)} is possible."
        )


def _check_selector(slo: Slo) -> None:
    if slo.selector_key is None:
        return
    known_keys = METRICS[slo.metric].selectors
    if slo.selector_key not in known_keys:
        raise SloSyntaxError(
            f"The SLO '{slo.text}' selects by '{slo.selector_key}', but {slo.metric} can be "
            f"selected by {_listed(known_keys) or 'nothing'}."
        )
    known_values = {"layer": ERROR_LAYERS, "outcome": ERROR_OUTCOMES}.get(slo.selector_key)
    if known_values and slo.selector_value not in known_values:
        raise SloSyntaxError(
            f"The SLO '{slo.text}' names the unknown {slo.selector_key} '{slo.selector_value}'"
            f"{did_you_mean(slo.selector_value, known_values)}; known are {_listed(known_values)}."
        )


def _check_unit(slo: Slo) -> None:
    is_trend = slo.function == "trend"
    units = tuple(u for u in METRICS[slo.metric].units if u.endswith("/h") is is_trend)
    if slo.unit not in units:
        wanted = f"a number with {' or '.join(units)}" if units != ("",) else "a number, no unit"
        raise SloSyntaxError(
            f"The SLO '{slo.text}' has the wrong unit: {slo.metric} is compared with {wanted}."
        )
    if slo.unit == "%" and slo.number > 100:
        raise SloSyntaxError(
            f"The SLO '{slo.text}' compares with more than 100 %; write a share of at most 100 %."
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
