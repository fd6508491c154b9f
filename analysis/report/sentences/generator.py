"""What the load generator did wrong, and what its retries do to the numbers."""

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.results import StageLabel

_LESS_LOAD_EACH = "use more load processes (--processes N) or a lower rate"

says(
    "generator.not_counted", "The run ended without counting its arrivals, so rows may be missing."
)
says("generator.ended", "{reason}")
says(
    "generator.rows_missing",
    "{missing} of {arrivals} arrivals have no row, so what became of them is not known; repeat the "
    "run.",
)
says(
    "generator.rows_too_many",
    "There are {surplus} rows more than the {arrivals} arrivals, so some calls were counted twice; "
    "repeat the run.",
)
says(
    "retries.waits_in_latency",
    "The client repeated failed calls by itself (botocore's {mode} mode): service time and latency "
    "contain the waits between its attempts, and the outcome of a call is that of its last "
    "attempt.",
)
says(
    "retries.held_back",
    "In adaptive mode the client also holds calls back when it is throttled, so the load that "
    "reached the service is not the one that was offered.",
)
says(
    "retries.demand_too_high",
    "Service demand counts a repeated call once, though each attempt may have cost the webservers "
    "work: with retries it is too high rather than too low.",
)


@says("generator.in_stage")
def _(stage: StageLabel, reason: Finding) -> str:
    return f"In {words.stage_label(*stage)}: {told(reason)}"


@says("generator.lost_users")
def _(workers: tuple[int, ...]) -> str:
    numbers = ", ".join(map(str, workers))
    which = f"process {numbers} was" if len(workers) == 1 else f"processes {numbers} were"
    whose = "its" if len(workers) == 1 else "their"
    return (
        f"Load {which} lost with all {whose} users and calls in flight; repeat the run, and find "
        f"out in {whose} log why."
    )


@says("generator.lost_arrivals")
def _(lost: int, arrivals: int, limit_fraction: float) -> str:
    return (
        f"{lost} of {arrivals} arrivals ({100 * lost / arrivals:.2g} %) were lost with their load "
        f"process, more than {100 * limit_fraction:g} %; repeat the run, and find out in that "
        "process's log why it ended."
    )


@says("generator.busy")
def _(cpu_fraction: float, limit_fraction: float) -> str:
    return (
        f"A load process used {100 * cpu_fraction:.0f} % of one core, more than "
        f"{100 * limit_fraction:.0f} %, and latencies read that near its maximum are its own; "
        f"{_LESS_LOAD_EACH}."
    )


@says("generator.stalled")
def _(stalled_fraction: float, longest_s: float | None, limit_fraction: float) -> str:
    longest = f", {longest_s * 1000:.0f} ms at the longest" if longest_s else ""
    return (
        f"A load process stood still for {100 * stalled_fraction:.2g} % of the time{longest}, more "
        f"than {100 * limit_fraction:g} %, which bends every percentile above "
        f"p{100 * (1 - stalled_fraction):.3g}; {_LESS_LOAD_EACH}, on a machine with nothing else "
        "to do."
    )


@says("generator.late")
def _(lag_p99_s: float, limit_s: float) -> str:
    return (
        f"Calls were sent up to {lag_p99_s * 1000:.0f} ms late (p99), more than "
        f"{limit_s * 1000:.0f} ms; {_LESS_LOAD_EACH}."
    )


@says("generator.unsent")
def _(unsent: int, arrivals: int, limit_fraction: float) -> str:
    return (
        f"{unsent} of {arrivals} arrivals ({100 * unsent / arrivals:.2g} %) were never sent, more "
        f"than {100 * limit_fraction:g} %, because all senders were busy (raise "
        "limits.max_in_flight) or the load process stood still for over a second."
    )


@says("generator.worker_lost")
def _(worker: int, reason: str | None) -> str:
    return f"Load process {worker} was lost: {words.recorded(reason)}"


@says("generator.clock_moved")
def _(worker: int, moved_s: float, uncertainty_s: float) -> str:
    return (
        f"The clock of load process {worker} moved by {1000 * moved_s:.0f} ms "
        f"(+- {1000 * uncertainty_s:.0f} ms) against the master's, so its calls may be misplaced "
        "by as much in time; latencies are not touched. Synchronise the clocks."
    )
