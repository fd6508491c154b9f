"""What makes a run or its record say less than it seems to, and what was noted meanwhile."""

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says
from mwaa_headroom.analysis.slo import Slo

says("record.cut_off", "The run never ended in order: its record stops where it was cut off.")
says("record.lines_cut", "{lines} lines of {file} were cut and are left out.")
says(
    "run.closed_hides_waiting",
    "The workload is closed: a user waits for its answer before it calls again, so slow answers "
    "thin out the calls, and latencies hide the waiting that callers who do not wait for each "
    "other would feel.",
)
says("run.no_calls", "The record has no calls.")
says(
    "run.no_metrics",
    "No webserver metrics were recorded, so neither the CPU nor the number of the webservers is "
    "known.",
)
says(
    "run.clock_offset",
    "The environment's clock differs from this host's by {offset_s:.1f} s, so metric periods and "
    "calls do not lie beside each other exactly; synchronise this host's clock.",
)
says("run.environment_changed", "{member} of the environment changed during the run.")
says("run.note", "{message}")


@says("record.file_missing")
def _(files: tuple[str, ...]) -> str:
    if len(files) == 1:
        return f"The record has no {files[0]}."
    return f"The record has neither {' nor '.join(files)}."


@says("record.stream_read")
def _(file: str, cut: bool) -> str:
    extent = "its last rows are lost" if cut else "nothing of it is known to be lost"
    return f"The run was not finished: {file} was read instead, {extent}."


@says("run.aborted")
def _(reason: str | None) -> str:
    return f"The run was aborted: {words.recorded(reason)}"


@says("run.metrics_gap")
def _(reason: str | None) -> str:
    return f"Metrics could not be read for a while: {words.recorded(reason)}"


@says("run.webserver_died")
def _(webserver: str, reason: str | None) -> str:
    return f"The webserver {webserver} died: {words.recorded(reason)}"


@says("run.cpu_not_limited")
def _(reason: str | None) -> str:
    return f"The webservers shared the host, their CPU was not limited: {words.recorded(reason)}"


@says("run.operation_not_in_mix")
def _(slo: Slo) -> str:
    return (
        f"The SLO '{slo.text}' names the operation '{slo.selector_value}', which is not in the mix."
    )


@says("run.errors_not_limited")
def _(error_fraction: float) -> str:
    return (
        f"Up to {100 * error_fraction:.1f} % of the calls of a stage failed and no line of the SLO "
        "limits errors; add one such as 'rate(errors) < 1%'."
    )
