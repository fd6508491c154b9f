"""How the load was sent, in sentences and a table: the workload, its generator, retries."""

from collections.abc import Iterator
from typing import Final

from mwaa_headroom.analysis.generator.limits import UNSENT_LIMIT
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.analysis.report.tables import Column, Table
from mwaa_headroom.analysis.results import GeneratorHealth, RetryResult, RunAnalysis, WorkerHealth

VIRTUAL_TIME: Final = "Simulated in virtual time: no call was really sent."


def is_virtual(analysis: RunAnalysis) -> bool:
    """Whether the run took place in a simulation only."""
    facts = analysis.environment.get("facts")
    return isinstance(facts, dict) and facts.get("virtual_time") is True


def load(analysis: RunAnalysis) -> str:
    """What kind of load, and how it was sent: "open: Poisson arrivals; lean transport"."""
    retries = f"; {analysis.retries.mode} retries" if analysis.retries else ""
    return f"{analysis.workload}; {analysis.transport.replace('_', ' ')} transport{retries}"


def generator(health: GeneratorHealth) -> str:
    """The verdict on the load generator, with the figures it rests on: "fine (lag p99 2 ms)"."""
    if health.ok:
        # Judged all the same, because it can only have made the result look better.
        within = health.unsent <= UNSENT_LIMIT * health.arrivals
        verdict = "fine" if within else "within its limits where the verdict rests on it"
    elif [reason.code for reason in health.reasons] == ["generator.not_counted"]:
        verdict = "not known to be fine"
    else:
        verdict = "past its limits"
    return f"{verdict} ({', '.join(_generator_figures(health))})"


def _generator_figures(health: GeneratorHealth) -> Iterator[str]:
    if words.is_known(health.lag_p99_s):
        yield f"lag p99 {words.duration(health.lag_p99_s)}"
    yield f"{health.unsent or 'none'} of {health.arrivals} arrivals unsent"
    if health.rows != health.arrivals:
        yield f"{health.rows} rows"
    if words.is_known(health.longest_stall_s):
        longest = f"longest stall {words.duration(health.longest_stall_s)}"
        yield longest if health.longest_stall_s else "no stall"
    if words.is_known(health.cpu_fraction_max):
        yield f"at most {words.core_share(health.cpu_fraction_max)}"
    if len(health.workers) > 1:
        yield f"{len(health.workers)} load processes"


def worker_table(health: GeneratorHealth) -> Table | None:
    """One row per load process; None when there was only one."""
    if len(health.workers) < 2:
        return None
    columns = (
        Column("process"),
        Column("rows"),
        Column("CPU at most", "of one core"),
        Column("stall", "longest"),
        Column("clock", "minus the master's"),
    )
    rows = tuple(
        (
            str(worker.worker),
            words.count(worker.rows),
            words.share(worker.cpu_fraction_max),
            words.duration(worker.longest_stall_s),
            _clock(worker),
        )
        for worker in health.workers
    )
    if not any(worker.lost for worker in health.workers):
        return Table(columns, rows)
    lost = (told(worker.lost) for worker in health.workers)
    return Table(
        (*columns, Column("", right=False)),
        tuple((*row, text) for row, text in zip(rows, lost, strict=True)),
    )


def _clock(worker: WorkerHealth) -> str:
    offset = words.duration(worker.clock_offset_s)
    if not words.is_known(worker.clock_uncertainty_s):
        return offset
    return f"{offset} ± {words.duration(worker.clock_uncertainty_s)}"


def retries(result: RetryResult) -> tuple[str, ...]:
    """What the client's own retries did, one sentence each."""
    if not result.repeated:
        return (f"None of {result.sent} calls was sent more than once.",)
    found = [
        f"{result.repeated} of {result.sent} calls were sent more than once, {result.attempts} "
        f"attempts in all; {result.repeated_ok} of them ended ok: errors that the retries hid."
    ]
    if result.duplicate_triggers:
        found.append(
            f"Duplicate triggers: {result.duplicate_triggers}. Airflow had taken them before they "
            "were repeated and answered 409; without a run id given by the caller, each would have "
            "been a second DAG run."
        )
    return tuple(found)
