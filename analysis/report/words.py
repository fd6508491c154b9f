"""Numbers as people read them: few digits, a unit everywhere, "-" for what is not known.

None, NaN and infinities never reach a reader; the reason is among the findings.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeGuard

from mwaa_headroom.analysis.results import SloResult
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Estimate, is_lower_bound

UNKNOWN: Final = "-"
STOPPED_BY: Final = {  # how people call a bottleneck; unknown and not_reached stopped nothing
    "throttle": "the service's throttle",
    "webserver_cpu": "webserver CPU",
    "connections": "connections",
    "database": "the metadata database",
    "airflow": "errors of Airflow",
    "generator": "the load generator",
}
NEARLY_CERTAIN: Final = 0.99  # beyond this, or its opposite, no probability is told apart
_ORDINALS: Final = ("", "first", "second", "third", "fourth", "fifth")


def is_known(value: float | None) -> TypeGuard[float]:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def significant(value: float, digits: int = 3) -> str:
    """At least `digits` significant digits, never an exponent: 0.412, 24.9, 1612."""
    return f"{value:.{_decimals(value, digits)}f}"


def trimmed(value: float) -> str:
    """Like `significant`, without trailing zeros: 25, 0.5, 24.9."""
    return _trim(significant(value))


def duration(seconds: float | None) -> str:
    """A latency, service time or demand: "4.21 ms", "612 ms", "1.24 s"."""
    if not is_known(seconds):
        return UNKNOWN
    scale, unit = _time_unit(seconds)
    return f"{significant(seconds * scale)} {unit}"


def delay(seconds: float | None) -> str:
    """How long something took on a human scale: "0.4 s", "17 s", "2 min 5 s"."""
    if not is_known(seconds):
        return UNKNOWN
    if 0 < abs(seconds) < 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if whole < 120:
        return f"{whole} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def clock(seconds: float | None) -> str:
    """Time since the start of the run: "00:42", "1:02:05"."""
    if not is_known(seconds):
        return UNKNOWN
    minutes, rest = divmod(max(round(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def time_of_day(epoch_s: float) -> str:
    """A moment as a reader compares it with logs: "14:03:22 UTC"."""
    return f"{datetime.fromtimestamp(epoch_s, UTC):%H:%M:%S} UTC"


def moment(epoch_s: float) -> str:
    """A day and a time: "Mon 2026-11-23 14:05 UTC"."""
    return f"{datetime.fromtimestamp(epoch_s, UTC):%a %Y-%m-%d %H:%M} UTC"


def share(fraction: float | None) -> str:
    """A fraction as per cent: "0.4 %", "12 %", "100 %"."""
    return percent(fraction * 100) if is_known(fraction) else UNKNOWN


def percent(value: float | None) -> str:
    """A number that already is per cent."""
    if not is_known(value):
        return UNKNOWN
    if value == 0 or value == 100:
        return f"{value:.0f} %"
    if 99 < value < 100:
        return f"{min(value, 99.9):.1f} %"  # nearly all is not all
    if value >= 10:
        return f"{value:.0f} %"
    return f"{_trim(significant(value, 2))} %"


def rate(per_s: float | None) -> str:
    """A rate of a column whose heading says the unit."""
    return significant(per_s) if is_known(per_s) else UNKNOWN


def calls_per_s(per_s: float | None) -> str:
    """A rate inside a sentence: "25 calls/s"."""
    return f"{trimmed(per_s)} calls/s" if is_known(per_s) else UNKNOWN


def count(value: float | None) -> str:
    """A whole number."""
    return f"{value:.0f}" if is_known(value) else UNKNOWN


def counted(number: float | None, noun: str) -> str:
    """So many of something: "1 run", "3 runs"."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def webservers(number: float | None) -> str:
    """A number of webservers: "1 webserver", "3 webservers"."""
    return counted(number, "webserver")


def span(low: float | None, high: float | None) -> str:
    """A range of whole numbers: "2-3", or "2" when both ends are equal or one is unknown."""
    known = [end for end in (low, high) if is_known(end)]
    if not known:
        return UNKNOWN
    return count(known[0]) if known[0] == known[-1] else f"{count(known[0])}-{count(known[-1])}"


def listed(numbers: Iterable[int]) -> str:
    """Whole numbers in order, neighbours joined: "1-3, 5"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(span(run[0], run[-1]) for run in runs)


def ordinal(number: int) -> str:
    """A place in a row: "third", "12th"."""
    return _ORDINALS[number] if 0 < number < len(_ORDINALS) else f"{number}th"


def enumerated(names: Sequence[str]) -> str:
    """Names inside a sentence: "p50, p95 and p99"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def lowered(sentence: str) -> str:
    """A sentence to go on with after a colon; a name in capitals keeps them."""
    return sentence if sentence[1:2].isupper() else sentence[:1].lower() + sentence[1:]


def capital(phrase: str) -> str:
    """A phrase to begin a sentence with."""
    return phrase[:1].upper() + phrase[1:]


def recorded(reason: str | None) -> str:
    """What somebody wrote into the record, as the end of a sentence."""
    return f"{str(reason or 'no reason was recorded').rstrip('.')}."


def stage_label(index: int, name: str) -> str:
    """A stage as people count and call it: "stage 3 'burst'", or "stage 3" without a name."""
    number = f"stage {index + 1}"
    return number if name in ("", number) else f"{number} '{name}'"


def stopped_by(bottleneck: str) -> str:
    """What stopped a run, inside a sentence."""
    return STOPPED_BY.get(bottleneck, "an unknown cause")


def chance(probability: float) -> str:
    """A probability that never reads as certain: "83 %", "more than 99 %", "less than 1 %"."""
    if probability > NEARLY_CERTAIN:
        return f"more than {100 * NEARLY_CERTAIN:g} %"
    if probability < 1 - NEARLY_CERTAIN:
        return f"less than {100 * (1 - NEARLY_CERTAIN):g} %"
    return f"{100 * probability:.0f} %"


def short_chance(probability: float) -> str:
    """The same in a table or a picture: "83 %", "> 99 %", "< 1 %"."""
    return chance(probability).replace("more than", ">").replace("less than", "<")


def observed_text(slo: Slo, observed: float | None) -> str:
    """What a line observed: "612 ms", "0.4 %"."""
    if observed is None:
        return "not known"
    if slo.metric in ("latency", "service_time"):
        return f"{observed * 1000:.0f} ms" if observed < 1 else f"{observed:.3g} s"
    if slo.function == "trend":
        return f"{observed * 100:.2g} %/h"
    return f"{observed * 100:.4g} %" if slo.unit == "%" else f"{observed:.3g}"


def observed_words(result: SloResult) -> str:
    """The same of a judged line, which may know only a lower bound: "at least 10 s"."""
    at_least = "at least " if result.is_lower_bound else ""
    return f"{at_least}{observed_text(result.slo, result.observed)}"


def sized_webservers(
    number: int, environment: Mapping[str, object], webserver_cpu: float | None
) -> str:
    """A webserver count with the size it holds for.

    "3 mw1.small webservers (1 vCPU)" of a real environment, else "3 webservers with 0.25 CPU".

    Args:
        number: of webservers.
        environment: as in `RunAnalysis.environment`; only a real one has an environment_class.
        webserver_cpu: CPUs of one webserver; None: not known.
    """
    noun = "webserver" if number == 1 else "webservers"
    named = environment.get("environment_class")
    if named:
        size = "" if webserver_cpu is None else f" ({webserver_cpu:g} vCPU)"
        return f"{number} {named} {noun}{size}"
    size = "" if webserver_cpu is None else f" with {webserver_cpu:g} CPU"
    return f"{number} {noun}{size}"


def duration_estimate(estimate: Estimate | None) -> str:
    """A duration with its interval in the same unit: "612 ms (580-650)"; "≥" a lower bound."""
    if estimate is None or not is_known(estimate.value):
        return UNKNOWN
    scale, unit = _time_unit(estimate.value)
    # A value of zero has no digits of its own to give to its interval.
    decimals = _decimals(estimate.value * scale) if estimate.value else 2
    interval = _interval(estimate, lambda end: f"{end * scale:.{decimals}f}")
    return f"{bound(estimate)}{significant(estimate.value * scale)} {unit}{interval}"


def duration_value(estimate: Estimate | None) -> str:
    """The same without its interval."""
    if estimate is None or not is_known(estimate.value):
        return UNKNOWN
    return f"{bound(estimate)}{duration(estimate.value)}"


def bound(estimate: Estimate) -> str:
    """A sign before what is only a lower bound, because calls were cut at a time limit."""
    return "≥" if is_lower_bound(estimate) else ""


def share_estimate(estimate: Estimate | None) -> str:
    """A fraction with its interval as per cent: "0.4 % (0.2-0.9)"."""
    if estimate is None or not is_known(estimate.value):
        return UNKNOWN
    interval = _interval(estimate, lambda end: share(end).removesuffix(" %"))
    return f"{share(estimate.value)}{interval}"


def rate_estimate(estimate: Estimate | None) -> str:
    """A rate with its interval: "24.1 calls/s (22.8-25.6)"."""
    if estimate is None or not is_known(estimate.value):
        return UNKNOWN
    decimals = _decimals(estimate.value)
    return f"{calls_per_s(estimate.value)}{_interval(estimate, lambda end: f'{end:.{decimals}f}')}"


def byte_size(number_of_bytes: float) -> str:
    """The size of an answer: "512 B", "20.4 kB", "7.2 MB"."""
    if number_of_bytes < 1000:
        return f"{number_of_bytes:.0f} B"
    scale, unit = (1e3, "kB") if number_of_bytes < 1e6 else (1e6, "MB")
    return f"{trimmed(number_of_bytes / scale)} {unit}"


def number(value: float | None) -> str:
    """Any other number: "25", "0.5"."""
    return trimmed(value) if is_known(value) else UNKNOWN


def number_estimate(estimate: Estimate | None) -> str:
    """The same with its interval: "0.031 (0.027-0.034)"."""
    if estimate is None or not is_known(estimate.value):
        return UNKNOWN
    return f"{trimmed(estimate.value)}{_interval(estimate, trimmed)}"


def _interval(estimate: Estimate, written: Callable[[float], str]) -> str:
    low, high = estimate.low, estimate.high
    if is_known(low) and is_known(high):
        return f" ({written(low)}-{written(high)})"
    if is_known(low):
        return f" (at least {written(low)})"
    if is_known(high):
        return f" (at most {written(high)})"
    return ""


def _decimals(value: float, digits: int = 3) -> int:
    """Decimals that show `digits` significant digits of the value as it will be rounded."""
    rounded = float(f"{value:.{digits - 1}e}")
    if rounded == 0:
        return 0
    return min(max(digits - 1 - math.floor(math.log10(abs(rounded))), 0), 6)


def _trim(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _time_unit(seconds: float) -> tuple[float, str]:
    return (1000.0, "ms") if abs(seconds) < 0.9995 else (1.0, "s")
