"""Memory that grew over a run by enough to matter: of the webservers and of the load processes.

It matters when the interval of its trend lies above 0 and the growth over the run is more than 5 %
of a webserver's memory, or 50 MB of a load process.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from mwaa_headroom.analysis.findings import Finding, warning
from mwaa_headroom.analysis.generator.limits import number_in, worker_of
from mwaa_headroom.analysis.metric_periods import WebserverPeriod
from mwaa_headroom.analysis.statistics import Estimate, Floats
from mwaa_headroom.analysis.trend import HOUR_S, memory_trend_per_h, trend_per_h

MATERIAL_FRACTION: Final = 0.05  # of a webserver's memory, over the run
MATERIAL_BYTES: Final = 50e6  # of a load process, over the run


def memory_warnings(
    periods: Sequence[WebserverPeriod], events: Sequence[dict[str, Any]]
) -> list[Finding]:
    """Memory that surely grew, by enough to matter: the webservers', then the load processes'."""
    found = []
    grown = memory_trend_per_h(periods)
    hours = (periods[-1].end_s - periods[0].start_s) / HOUR_S if periods else 0.0
    if _matters(grown, hours, MATERIAL_FRACTION):
        found.append(warning("memory.webservers_grew", per_h=grown, hours=hours))
    for worker, (times_s, values) in sorted(_of_load_processes(events).items()):
        grown = trend_per_h(times_s, values)
        hours = float(np.ptp(times_s)) / HOUR_S
        if _matters(grown, hours, MATERIAL_BYTES):
            found.append(
                warning("memory.load_process_grew", worker=worker, per_h=grown, hours=hours)
            )
    return found


def _matters(grown: Estimate, hours: float, material: float) -> bool:
    return bool(grown.value and grown.low and grown.low > 0 and grown.value * hours > material)


def _of_load_processes(events: Sequence[dict[str, Any]]) -> dict[int, tuple[Floats, Floats]]:
    """Times and bytes, by worker."""
    known: dict[int, list[tuple[float, float]]] = {}
    for event in events:
        used = number_in(event, "memory_bytes") if event["kind"] == "generator_load" else None
        if used is not None:
            known.setdefault(worker_of(event), []).append((float(event["time_s"]), used))
    columns = {worker: np.array(pairs).T for worker, pairs in known.items()}
    return {worker: (times_s, used) for worker, (times_s, used) in columns.items()}
