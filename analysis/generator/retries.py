"""What a client's own retries did: the calls they repeated, the errors they hid, the duplicates.

    repeated            calls with more than one attempt
    repeated and ok     of these, ended ok: the first attempt failed and nobody would have known
    duplicate triggers  of these, `trigger_dag_run` answered 409: an attempt before had been taken,
                        although the client was told otherwise

A repeated call's service time contains the waits between its attempts, and its outcome is that of
its last one. What the attempts before it ended as is not recorded.
"""

import pyarrow as pa
import pyarrow.compute as pc

from analysis.results import RetryResult
from analysis.setting import Setting

TRIGGER = "trigger_dag_run"
CONFLICT = 409  # of Airflow: a DAG run of that id exists


def retries_of(setting: Setting, requests: pa.Table) -> RetryResult | None:
    """The retries of a run; None: they were off.

    Args:
        setting: names the retry mode and the operation of each label.
        requests: the record's requests table.
    """
    if setting.retries == "off":
        return None
    attempts = requests.column("attempts")  # 0: unsent
    repeated = requests.filter(pc.greater(attempts, 1))
    triggers = {label for label, name in setting.operations.items() if name == TRIGGER}
    conflicts = repeated.filter(pc.equal(repeated.column("airflow_status"), CONFLICT))
    return RetryResult(
        mode=setting.retries,
        sent=int(pc.sum(pc.greater(attempts, 0)).as_py() or 0),
        attempts=int(pc.sum(attempts).as_py() or 0),
        repeated=repeated.num_rows,
        repeated_ok=repeated.column("outcome").to_pylist().count("ok"),
        duplicate_triggers=sum(
            label in triggers for label in conflicts.column("operation").to_pylist()
        ),
    )


def retry_warnings(retries: RetryResult | None) -> list[str]:
    """What retries do to other numbers of the report."""
    if retries is None:
        return []
    found = [
        f"The client repeated failed calls by itself (botocore's {retries.mode} mode): service "
        "time and latency contain the waits between its attempts, and the outcome of a call is "
        "that of its last attempt."
    ]
    if retries.mode == "adaptive":
        found.append(
            "In adaptive mode the client also holds calls back when it is throttled, so the load "
            "that reached the service is not the one that was offered."
        )
    if retries.repeated:
        found.append(
            "Service demand counts a repeated call once, though each attempt may have cost the "
            "webservers work: with retries it is too high rather than too low."
        )
    return found
