"""Sentences about one run: its verdict, stages, estimates, warnings and notes."""

from collections.abc import Sequence
from typing import Any

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told
from mwaa_headroom.analysis.results import RunAnalysis, SizingRow, SloResult, StageLabel
from mwaa_headroom.analysis.slo import Slo
from mwaa_headroom.analysis.statistics import Estimate
from mwaa_headroom.analysis.verdict import EXIT_INTERRUPTED

says(
    "percentile.lower_bound",
    "p{percent:g} is a lower bound: {cut_calls} calls were cut at their time limit.",
)
says(
    "percentile.no_interval",
    "An interval for p{percent:g} needs {needed} calls, there are {calls}.",
)
says("percentile.few_calls", "p{percent:g} needs at least {needed} calls, there are {calls}.")
says("share.no_calls", "There are no calls to take a share of.")


says("judge.no_calls", "There are no calls in this window.")
says("judge.few_calls", "{function} needs at least {needed} calls, there are {calls}.")
says("judge.no_periods", "No whole metric period with {metric} lies in this window.")
says("judge.not_reported", "{metric} was not reported in this window.")

says("trial.generator_was_the_limit", "The load generator was the limit.")
says("trial.not_to_its_end", "The stage did not run to its end.")
says("trial.not_judged", "A line of the SLO could not be judged, or there is none.")
says("trial.rate_not_held", "Its rate was not held.")
says("trial.one_operation", "It sent only {operation}, not the mix.")

says("steady.load_varies", "The load of a ramp or a trace changes, so there is nothing to settle.")
says(
    "steady.too_short",
    "Whether a stage settled needs at least {needed_s:.0f} s after the warm-up at this rate, "
    "there were {measured_s:.0f} s.",
)
says(
    "steady.none_ended",
    "None of its calls ended before the stage did, so it cannot be seen whether its latency had "
    "settled.",
)


@says("judge.none_ok")
def _(operation: str | None) -> str:
    what = f"call of {operation}" if operation else "call"
    return f"No {what} ended ok in this window."


@says("judge.cut_calls")
def _(slo: Slo, cut_calls: int, at_least: float) -> str:
    observed = words.observed_text(slo, at_least)
    return f"{cut_calls} calls were cut at a time limit: it was at least {observed}."


@says("steady.mostly_cut")
def _(cut_fraction: float) -> str:
    return (
        f"{100 * cut_fraction:.0f} % of its calls were cut at their time limit, so it cannot be "
        "seen whether its latency had settled."
    )


@says("steady.rising")
def _(fraction_per_min: float) -> str:
    return (
        f"Its latency still rose, by {100 * fraction_per_min:.0f} % of its mean a minute, so a "
        "longer stage would have been slower."
    )


@says("steady.changed")
def _(what: str, rose: bool, after_s: float) -> str:
    how = "more than doubled" if rose else "fell to less than half"
    return f"Its {what} {how} after {after_s:.0f} s, so no steady state was seen."


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
says(
    "run.environment_ended",
    "The local environment ended during the load; its logs in {logs} say why.",
)
says(
    "run.clock_stepped",
    "This host's clock was set by {step_s:+.0f} s during the run: metrics from then on do not lie "
    "beside the calls they belong to, so trust neither the CPU nor the number of webservers after "
    "it.",
)


@says("answers.over_limit")
def _(operation: str, bytes_max: int, limit_bytes: int) -> str:
    return (
        f"{operation} answered up to {words.byte_size(bytes_max)}, and InvokeRestApi passes on at "
        f"most {words.byte_size(limit_bytes)}: these calls did not go through it."
    )


says("trend.few_values", "A trend needs at least {needed} values, there are {values}.")


@says("judge.trend_open")
def _(per_h: Estimate) -> str:
    return f"Its growth is {_percent_per_h(per_h)}, which leaves it open."


@says("memory.webservers_grew")
def _(per_h: Estimate, hours: float) -> str:
    return (
        f"The webservers' memory grew by {_percent_per_h(per_h)}, over {hours:.2g} h: let a longer "
        "run show whether it goes on, before they run out of it."
    )


@says("memory.load_process_grew")
def _(worker: int, per_h: Estimate, hours: float) -> str:
    low, value, high = (
        f"{(each or 0.0) / 1e6:.3g}" for each in (per_h.low, per_h.value, per_h.high)
    )
    return (
        f"The memory of load process {worker} grew by {value} MB/h ({low}-{high}), over "
        f"{hours:.2g} h: a longer run may exhaust this machine's."
    )


def _percent_per_h(per_h: Estimate) -> str:
    low, value, high = (
        f"{100 * (each or 0.0):.2g}" for each in (per_h.low, per_h.value, per_h.high)
    )
    return f"{value} %/h (95 % interval {low} to {high})"


@says("metrics.counts_above_most")
def _(periods: int, pinned: int | None, highest: int, most: int) -> str:
    instead = "their count is taken as not known" if pinned is None else f"{pinned} is taken"
    return (
        f"In {words.counted(periods, 'metric period')} SampleCount was up to {highest}, although "
        f"MaxWebservers is {most}: {instead}."
    )


@says("metrics.samples_divided")
def _(samples: int, highest: int, fewest: int, most: int) -> str:
    return (
        f"SampleCount was up to {highest} with {words.span(fewest, most)} webservers: each "
        f"published {samples} samples a period, so counts and connections are divided by {samples}."
    )


@says("metrics.pinned_count_used")
def _(highest: int, most: int) -> str:
    return (
        f"SampleCount was up to {highest}, which cannot be webservers: {most} are taken, for "
        "MinWebservers and MaxWebservers are both that."
    )


@says("metrics.counts_implausible")
def _(highest: int, fewest: int, most: int) -> str:
    return (
        f"SampleCount was up to {highest} although the environment has {fewest} to {most} "
        "webservers, so it does not count them; collect at the period the service publishes at, or "
        "pin MinWebservers = MaxWebservers."
    )


@says("metrics.cpu_implausible")
def _(periods: int, highest: float) -> str:
    return (
        f"CPUUtilization was above 100 % in {words.counted(periods, 'metric period')} (up to "
        f"{highest:.0f} %), so it is no share of a webserver's CPU, and nothing is derived from it."
    )


@says("metrics.cpu_strays")
def _(periods: int, highest: float) -> str:
    return (
        f"CPUUtilization was above 100 % in {words.counted(periods, 'metric period')} (up to "
        f"{highest:.0f} %); it is left out there."
    )


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


says(
    "run.throttle_shared",
    "AWS throttled {throttled} of {calls} calls. The throttle is the environment's: sensors, "
    "deployments and all others who call InvokeRestApi use the same, and were throttled with them.",
)


@says("run.metrics_late")
def _(missing_s: float, directory: str) -> str:
    return (
        f"The metrics of the last {words.delay(missing_s)} of the load had not arrived when they "
        f"were read: `headroom collect {directory}` adds them to the record."
    )


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


says("verdict.not_to_its_end", "The run did not come to its end.")
says("verdict.nothing_to_judge", "There is neither an SLO nor an expectation to judge.")
says("verdict.broke_down", "The run broke down before its end.")
says("verdict.no_stage_met", "No stage met the SLO; begin with a lower rate.")
says("verdict.expectation_missed", "{name}: {detail}")


@says("verdict.generator_limit")
def _(stage: StageLabel, reason: Finding) -> str:
    return f"In {words.stage_label(*stage)} the load generator was the limit: {told(reason)}"


@says("verdict.stage_spoilt")
def _(stage: StageLabel, reason: Finding) -> str:
    return f"{words.capital(words.stage_label(*stage))} cannot be judged: {told(reason)}"


@says("caller.credentials_expired")
def _(
    at_s: float, code: str, failed: int, sent: int, limit_fraction: float, broke_slo: bool
) -> str:
    return (
        f"Your credentials expired at {words.time_of_day(at_s)} ({code}), so "
        f"{_failed_of(failed, sent, limit_fraction, broke_slo)}; repeat the run with credentials "
        "that outlast it."
    )


@says("run.credentials_expired")
def _(at_s: float, code: str) -> str:
    return f"Your credentials expired at {words.time_of_day(at_s)} ({code})."


@says("caller.calls_failed")
def _(
    outcomes: Sequence[tuple[str, int]],
    failed: int,
    sent: int,
    limit_fraction: float,
    broke_slo: bool,
) -> str:
    kinds = words.enumerated([f"{count} {name}" for name, count in outcomes])
    return (
        f"By the caller's own doing ({kinds}) "
        f"{_failed_of(failed, sent, limit_fraction, broke_slo)}; they cost the environment nothing "
        "and say nothing about it: mend the permissions or requests and repeat the run."
    )


@says("network.connections_failed")
def _(failed: int, sent: int, limit_fraction: float, broke_slo: bool) -> str:
    return (
        f"On the way to the environment {_failed_of(failed, sent, limit_fraction, broke_slo)} "
        "(connection_error), which says nothing about its webservers: look at the network between "
        "this host and the service, and repeat the run."
    )


def _failed_of(failed: int, sent: int, limit_fraction: float, broke_slo: bool) -> str:
    share = words.share(failed / sent)
    beyond = f", more than {words.share(limit_fraction)}" if failed > limit_fraction * sent else ""
    decided = ", without which no line would be broken" if broke_slo and not beyond else ""
    return f"{failed} of {sent} calls ({share}) failed{beyond}{decided}"


@says("verdict.slo_broken")
def _(result: SloResult, stage: StageLabel | None) -> str:
    saw = words.observed_words(result) if result.observed is not None else told(result.reason)
    where = f" in {words.stage_label(*stage)}" if stage else ""
    return f"{result.slo.text}: {saw.rstrip('.')}{where}"


@says("verdict.not_judged")
def _(slo: Slo, reason: Finding) -> str:
    return f"{slo.text} cannot be judged: {told(reason)}"


def verdict_sentence(analysis: RunAnalysis) -> str:
    """The answer to the scenario's question: the last line of the summary."""
    answer = _capacity(analysis) if analysis.verdict.question == "capacity" else _check(analysis)
    if analysis.verdict.exit_code == EXIT_INTERRUPTED:
        return f"Interrupted; up to then: {words.lowered(answer)}"
    return answer


def _check(analysis: RunAnalysis) -> str:
    broken, doubts = _sorted(analysis.verdict.reasons)
    if broken:
        return f"Not met: {told(broken[0]).rstrip('.')}{_and_more(broken)}."
    if doubts:
        return f"Inconclusive: {words.lowered(told(doubts[0])).rstrip('.')}{_and_more(doubts)}."
    parts = []
    if analysis.slo:
        lines = [f"{line.slo.text} ({words.observed_words(line)})" for line in analysis.slo]
        parts.append("; ".join(lines))
    if count := len(analysis.expectations):
        parts.append(f"{count} of {count} {'expectation' if count == 1 else 'expectations'}")
    return f"Met: {', and '.join(parts)}."


def _capacity(analysis: RunAnalysis) -> str:
    _, doubts = _sorted(analysis.verdict.reasons)
    capacity, sizing = analysis.capacity, analysis.sizing
    row = sizing.target if sizing else None
    if sizing and sizing.impossible:
        others = [doubt for doubt in doubts if doubt != sizing.impossible]
        return f"{told(sizing.impossible).rstrip('.')}{_and_more([None, *others])}."
    if doubts or capacity is None or sizing is None or row is None or row.webservers is None:
        first = words.lowered(told(doubts[0])) if doubts else "nothing is known"
        return f"Not answered: {first.rstrip('.')}{_and_more(doubts)}."
    needed = words.sized_webservers(row.webservers, analysis.environment, sizing.webserver_cpu)
    with_webservers = f" with {capacity.webservers}" if capacity.webservers else ""
    stopped = words.STOPPED_BY.get(capacity.bottleneck, "an unknown cause")
    return (
        f"{row.rate_per_s:g} calls/s of this mix need {needed}{_interval(row)}; measured: "
        f"{words.calls_per_s(capacity.highest_rate_per_s)} met the SLO{with_webservers}, more was "
        f"stopped by {stopped}."
    )


def _interval(row: SizingRow) -> str:
    if row.webservers_low is None:
        return ""
    most = row.webservers_high if row.webservers_high is not None else "more than can be had"
    ends = f"{most}" if row.webservers_low == most else f"{row.webservers_low}-{most}"
    return f" (95 % interval {ends})"


def _sorted(reasons: Sequence[Finding]) -> tuple[list[Finding], list[Finding]]:
    """The evidence, and what keeps the question from being answered."""
    doubts = [reason for reason in reasons if reason.severity == "refusal"]
    return [reason for reason in reasons if reason.severity != "refusal"], doubts


def _and_more(reasons: Sequence[Any]) -> str:
    more = len(reasons) - 1
    return f" (and {words.counted(more, 'more reason')})" if more else ""
