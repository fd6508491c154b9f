"""How large the answers of each operation were, and whether two sides did the same work.

Sizes are the bytes of the service's answers to calls that ended ok; the median is by nearest rank.
Of a side the median over its runs counts. Beyond a factor of 1.1 a difference is told, beyond 1.5
it is no longer the same work: a page limit that one version caps, or data that one side lacks. A
new version's additional members of a page stay below that; of an answer that is no page, which is
one of up to 2 kB, they need not (a triggered run: 530 bytes by Airflow 2.11.2, 825 by 3.3.1).
"""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Final

import numpy as np
import pyarrow as pa

from mwaa_headroom.analysis.calls import labels_of
from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.mwaa import INVOKE_RESPONSE_BYTES
from mwaa_headroom.analysis.record import whole
from mwaa_headroom.analysis.results import AnswerSize, RunAnalysis

TOLD_FACTOR: Final = 1.1
OTHER_WORK_FACTOR: Final = 1.5
PAGE_BYTES: Final = 2000


def answer_sizes(requests: pa.Table) -> tuple[AnswerSize, ...]:
    """One for each operation whose answers' sizes are known, in alphabetical order."""
    operation, ok = labels_of(requests.column("operation")), labels_of(requests.column("outcome"))
    sizes = whole(requests.column("response_bytes")).to_numpy(zero_copy_only=False)
    known = ok.are("ok") & np.isfinite(sizes)
    found = []
    for name in operation.counts():
        own = np.sort(sizes[known & operation.are(name)])
        if len(own):
            middle = int(own[(len(own) - 1) // 2])
            found.append(AnswerSize(name, len(own), middle, int(own[-1])))
    return tuple(found)


def size_warnings(sizes: Iterable[AnswerSize], transport: str) -> Iterator[Finding]:
    """Answers that InvokeRestApi cannot have passed on."""
    for each in sizes:
        if transport != "web_token" and each.bytes_max > INVOKE_RESPONSE_BYTES:
            yield warning(
                "answers.over_limit",
                operation=each.operation,
                bytes_max=each.bytes_max,
                limit_bytes=INVOKE_RESPONSE_BYTES,
            )


def size_differences(
    baseline: Sequence[RunAnalysis], contender: Sequence[RunAnalysis]
) -> dict[str, Finding]:
    """By operation, what is to be told of its answers; a refusal: they are other work."""
    before, after = _medians(baseline), _medians(contender)
    found = {}
    for operation in sorted(before.keys() & after.keys()):
        old, new = before[operation], after[operation]
        factor = max(old, new) / max(min(old, new), 1.0)
        about = {"operation": operation, "baseline_bytes": old, "contender_bytes": new}
        if factor > OTHER_WORK_FACTOR and max(old, new) > PAGE_BYTES:
            found[operation] = refusal(
                "comparison.other_work", limit_factor=OTHER_WORK_FACTOR, **about
            )
        elif factor > TOLD_FACTOR:
            found[operation] = warning("comparison.answers_differ", **about)
    return found


def _medians(runs: Sequence[RunAnalysis]) -> dict[str, float]:
    by_operation: dict[str, list[int]] = {}
    for run in runs:
        for each in run.answers:
            by_operation.setdefault(each.operation, []).append(each.bytes_p50)
    return {operation: float(median(sizes)) for operation, sizes in by_operation.items()}
