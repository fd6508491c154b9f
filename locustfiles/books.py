"""Where all rows of a run come together: written down, counted, and looked at for trouble."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from harness.overload import Overload
from harness.traffic.abort import ErrorRateRule
from locustfiles.output import Output


class Books:
    """Takes in rows, batch by batch, in any order.

    Args:
        output: where they are written.
        overload: sees whether the SLO holds.
        rule: sees whether too many calls fail.
    """

    def __init__(self, output: Output, overload: Overload, rule: ErrorRateRule) -> None:
        self._output = output
        self._overload = overload
        self._rule = rule
        self.rows = 0
        self.rows_of: Counter[int] = Counter()  # by stage

    def take_in(self, batch: pa.RecordBatch) -> None:
        """Rows in the order of REQUESTS_SCHEMA."""
        self._output.rows(batch)
        self.rows += batch.num_rows
        stages, counts = np.unique(batch.column("stage").to_numpy(), return_counts=True)
        self.rows_of.update(dict(zip(stages.tolist(), counts.tolist(), strict=True)))
        self._overload.add(batch)
        self._count_errors(batch)

    def _count_errors(self, batch: pa.RecordBatch) -> None:
        parts_s = [_floats(batch, name) for name in ("intended_start_s", "lag_s", "service_time_s")]
        ended_s = np.sum(parts_s, axis=0)
        # The light load of a recovery is there to see errors, not to be stopped by them.
        sent = np.isfinite(ended_s) & (_floats(batch, "stage") >= 0)
        seconds = ended_s[sent].astype(np.int64)
        failed = np.asarray(batch.column("outcome").to_numpy(zero_copy_only=False) != "ok")[sent]
        for second in np.unique(seconds).tolist():
            here = seconds == second
            self._rule.add(second, calls=int(here.sum()), errors=int(failed[here].sum()))


def _floats(batch: pa.RecordBatch, name: str) -> npt.NDArray[np.float64]:
    return np.asarray(batch.column(name).to_numpy(zero_copy_only=False), dtype=np.float64)
