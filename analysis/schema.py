"""The schema of a record, version 2: its files, columns and words.

A run directory holds:

    manifest.json      what ran, on what, and how it ended (keys below)
    requests.arrows    Arrow IPC stream, appended while running; replaced by
    requests.parquet   once the run is finished: one row per arrival, unsent ones included
    metrics.arrows     the same two forms for
    metrics.parquet    every CloudWatch sample, with the moment it was read
    events.jsonl       stages, scaling, aborts, faults, expectations: one JSON object a line
    trace-<k>.csv      the trace of stage k, where the scenario replays one

The manifest's keys:

    schema_version  of this module
    run_id          name of the run directory
    status          one of RUN_STATUSES; "running" in a directory nobody writes to: cut off
    started_at_s    and finished_at_s (null while running)
    scenario        as it was run, defaults filled in; scenario_file: the name of its file
    environment     name, kind (aws, local, simulated), arn, before and after (the reduced
                    GetEnvironment answers; after is null while running), facts (what the stand-in
                    or the environment class tells beyond them: webserver_cpu, cpu_limited, ...)
    versions        of headroom, Python, the libraries that matter, and Airflow
    host            of the machine that sent the load: cpus, platform, memory_bytes, cpu_model and
                    machine (12 digits that tell it from others); null: the system does not say
    clock_offset_s  the environment's clock minus this host's; null: not known
    generator       workers: how many processes were to send the load (1: no master), remote: on
                    other machines
    tags            texts by key, as `headroom run --tag` was given them; absent before 2026-12
    rows            rows by table; empty while running
    phases_s        seconds each phase of the run took

All times are seconds since the Unix epoch (UTC) as float64, all durations seconds.

Rows of a recovery phase, the light load after a stage that broke the SLO, have stage -1 - k for
stage k, and arrivals numbered from `RECOVERY_ARRIVALS_FROM * (k + 1)` on.

An arrival that is `unsent` because the worker it was given to is gone has the error code
`WORKER_LOST`; whether the call left that worker in its last second cannot be known. One that could
have been sent only after it was too late has `STARTED_TOO_LATE`.

History: 1 (2026-11) first version. 2 (2026-11) recovery phases, several workers, traces.
"""

from typing import Final

import pyarrow as pa

SCHEMA_VERSION: Final = 2

RECOVERY_ARRIVALS_FROM: Final = 1_000_000_000
WORKER_LOST: Final = "WorkerLost"
STARTED_TOO_LATE: Final = "StartedTooLate"

MANIFEST_FILE: Final = "manifest.json"
EVENTS_FILE: Final = "events.jsonl"
REQUESTS_STREAM: Final = "requests.arrows"
REQUESTS_TABLE: Final = "requests.parquet"
METRICS_STREAM: Final = "metrics.arrows"
METRICS_TABLE: Final = "metrics.parquet"

# One row per arrival. latency = lag_s + service_time_s, counted from the intended start.
REQUESTS_SCHEMA: Final = pa.schema(
    [
        pa.field("arrival", pa.int64(), nullable=False),  # index in the whole run's schedule
        pa.field("stage", pa.int32(), nullable=False),  # index in the scenario; below 0: recovery
        pa.field("operation", pa.string(), nullable=False),  # label in the mix
        pa.field("intended_start_s", pa.float64(), nullable=False),  # by the schedule
        pa.field("lag_s", pa.float64()),  # actual start - intended start; null: unsent
        pa.field("service_time_s", pa.float64()),  # end - actual start; null: unsent
        pa.field("outcome", pa.string(), nullable=False),  # a key of LAYER_OF_OUTCOME
        pa.field("http_status", pa.int32()),  # of the outer answer; null: none came
        pa.field("airflow_status", pa.int32()),  # RestApiStatusCode; null: Airflow did not answer
        pa.field("error_code", pa.string()),  # AWS error code or exception class; never a payload
        pa.field("response_bytes", pa.int64()),  # of the answer; null: none came
        pa.field("attempts", pa.int32(), nullable=False),  # 0: unsent
        pa.field("worker", pa.int32(), nullable=False),  # which load process sent it
    ]
)

# One row per sample and reading. A sample read again with another value is another row: the
# latest `read_at_s` counts.
METRICS_SCHEMA: Final = pa.schema(
    [
        pa.field("metric", pa.string(), nullable=False),  # CPUUtilization, ...
        pa.field("cluster", pa.string(), nullable=False),  # WebServer, AdditionalWebservers, or ""
        pa.field("dimensions", pa.string(), nullable=False),  # JSON object of all dimensions
        pa.field("statistic", pa.string(), nullable=False),  # Average, Maximum, SampleCount, ...
        pa.field("unit", pa.string()),  # as CloudWatch names it: Percent, Count, ...
        pa.field("period_s", pa.float64(), nullable=False),  # length of its period
        pa.field("period_start_s", pa.float64(), nullable=False),  # when its period began
        pa.field("value", pa.float64(), nullable=False),  # in its unit
        pa.field("read_at_s", pa.float64(), nullable=False),  # when it was read; the latest counts
    ]
)

RUN_STATUSES: Final = ("running", "finished", "interrupted", "aborted", "failed")

# Events: {"time_s": float, "kind": str, "source": str, ...}. Kinds and their further keys:
EVENT_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "stage_started": ("stage", "name"),
    "stage_ended": ("stage", "name"),
    "drained": ("stage", "in_flight_left", "took_s"),
    "expectation": ("name", "met", "detail"),  # a post-deployment check and its result
    "metrics_gap": ("from_s", "to_s", "reason"),
    "metrics_collected": ("from_s", "to_s", "rows"),  # after the run; rows: samples it lacked
    # reason: {"code": ..., "severity": "note", "values": {...}} of a finding, or a text.
    "scaling_decision": ("from_count", "to_count", "reason"),
    "webserver_starting": ("webserver",),
    "webserver_ready": ("webserver",),
    "webserver_draining": ("webserver",),
    "webserver_stopped": ("webserver",),
    "webserver_died": ("webserver", "detail"),
    "webserver_restarted": ("webserver",),
    "environment_ended": ("logs",),  # a local one, before it was told to
    "clock_stepped": ("step_s",),  # the host's clock was set forward by so much
    # Over the last seconds of one load process. stalled_s: time its event loop stood still, in
    # stalls of at least 50 ms; longest_stall_s: the longest of them.
    "generator_load": (
        *("worker", "cpu_fraction", "in_flight", "stalled_s", "longest_stall_s"),
        "memory_bytes",  # resident; null where the system does not tell
    ),
    # Over the last `over_s` seconds of the host that sent the load, and of a local environment. In
    # CPUs: used by headroom and all that it started, used by others, taken by the hypervisor for
    # other machines, withheld by a limit that was set from outside; null where the system does not
    # tell. waiting_fraction: of the time some process waited for a CPU; our_waits: how many main
    # threads of ours did, on average. reference_...: of one round of a fixed piece of work.
    "host_load": (
        *("over_s", "cpus", "ours_cpus", "others_cpus", "stolen_cpus", "throttled_cpus"),
        *("waiting_fraction", "our_waits", "reference_cpu_s", "reference_wall_s"),
    ),
    "worker_joined": ("worker", "cpus"),
    "clock_offset": ("worker", "offset_s", "uncertainty_s"),  # worker's clock minus the master's
    "worker_lost": ("worker", "reason"),
    "recovery_started": ("stage", "rate_per_s"),
    "recovery_ended": ("stage", "recovered"),  # as seen live; the analysis decides from the rows
    # arrivals: by the schedule for phases that ran to their end, as the load processes counted them
    # for one that was cut short or is closed; rows: written.
    "rows_checked": ("arrivals", "rows"),
    "note": ("message",),
    "found": ("finding",),  # before the load: {"code": ..., "severity": ..., "values": {...}}
    # Before it is done; what: dag_runs, variables (existed), paused_states (was_paused).
    "created": ("what", "name"),
    "aborted": ("reason",),
    "credentials_expired": ("code",),  # as the service, or a source of credentials, called it
    "generator_ended": ("reason",),  # before it should
    "interrupted": (),
    "cleaned_up": ("what", "count", "failed"),
}
EVENT_SOURCES: Final = ("harness", "generator", "collector", "environment")
