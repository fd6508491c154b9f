"""The capacity over webserver counts, from many runs."""

from collections.abc import Sequence

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.results import StageLabel

says("planning.no_run", "There is no run: give the directory of one.")
says(
    "capacity_curve.no_constant_count",
    "No stage had one webserver count from its beginning to its end: pin it with min_webservers = "
    "max_webservers and run it again.",
)


@says("capacity_curve.unusable_run")
def _(run_id: str, reason: Finding) -> str:
    return f"Run {run_id}: {told(reason)}"


@says("capacity_curve.left_out")
def _(reason: Finding) -> str:
    return f"Left out: {told(reason)}"


@says("capacity_curve.count_changed")
def _(stages: Sequence[tuple[StageLabel, str]]) -> str:
    names = ", ".join(f"{words.stage_label(*stage)} of {run_id}" for stage, run_id in stages)
    return f"The webserver count changed, or is not known, in {names}: no trial of any count."


@says("capacity_curve.of_count")
def _(webservers: int, reason: Finding) -> str:
    return f"With {words.webservers(webservers)}: {told(reason)}"


@says("capacity_curve.given_up")
def _(webservers: int, rate_per_s: float, trials: int) -> str:
    return (
        f"With {words.webservers(webservers)}: {rate_per_s:.4g} calls/s stayed undecided in "
        f"{trials} trials or more, so the search goes on below it."
    )
