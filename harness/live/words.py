"""A live state in words: the same rows on the terminal and on the page."""

from dataclasses import dataclass
from typing import Literal

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.controls import escape_controls
from mwaa_headroom.analysis.report.sentences import told
from mwaa_headroom.harness.live.state import LiveState

Status = Literal["good", "bad", "unclear", "plain"]
_OF_WEBSERVERS = "webserver"  # so SLO metrics begin that calls have no part in


@dataclass(frozen=True, slots=True)
class Row:
    """One line of what there is to see. `text` is harmless: names in it obey nobody."""

    label: str
    text: str
    status: Status = "plain"


def live_rows(state: LiveState) -> tuple[Row, ...]:
    """Is it going well, what limits it, and what is it like?"""
    counts = f"{state.sent} calls, {state.failed} failed, {state.unsent} unsent"
    rows = (
        _slo(state),
        _ended(state),
        _limit(state),
        _load(state),
        Row("In all", counts),
        _webservers(state),
        _generator(state),
    )
    return tuple(Row(row.label, escape_controls(row.text), row.status) for row in rows)


def phase_words(state: LiveState) -> str:
    """What goes on: "Stage 2 of 3 peak: 40 calls/s"."""
    of_all = f"{state.stage + 1} of {state.stages}"
    match state.phase:
        case "waiting":
            return "The load begins"
        case "drained":
            return f"Stage {of_all} has ended; its last calls are waited for"
    asked = words.calls_per_s(state.asked_per_s)
    if state.users is not None:
        asked = words.counted(state.users, "user")
    name = escape_controls(state.stage_name)
    if state.phase == "recovery":
        return f"Recovery after stage {of_all} {name}: {asked}"
    return f"Stage {of_all} {name}: {asked}"


def end_words(state: LiveState, *, brief: bool = False) -> str:
    """When the load ends, as far as the scenario says."""
    ends = words.time_of_day(state.at_s + state.run_left_s)
    later = ", or later by recoveries" if state.may_recover and not brief else ""
    return f"{words.clock(state.run_left_s)} left, load ends about {ends}{later}"


def as_data(state: LiveState) -> dict[str, object]:
    """The same as JSON for the page."""
    rows = live_rows(state)
    p50, p95 = latency_words(state.p50_s), latency_words(state.p95_s)
    slo = state.latency_limit
    limit = f", SLO {words.duration(slo.threshold)} of p{slo.percentile:g}" if slo else ""
    latency = Row("Latency", f"p50 {p50}, p95 {p95}{limit}")
    shown = (*rows[:5], latency, *rows[5:])
    return {
        "run": escape_controls(state.run),
        "scenario": escape_controls(state.scenario),
        "phase": phase_words(state),
        "status": "bad" if "bad" in (rows[0].status, rows[1].status) else rows[0].status,
        "stage_done": _done(state.stage_s, state.stage_left_s),
        "stage_left": f"{words.clock(state.stage_left_s)} left" if state.stage_s else "",
        "run_done": _done(state.run_s, state.run_left_s),
        "run_left": end_words(state),
        "rows": [{"label": r.label, "text": r.text, "status": r.status} for r in shown],
    }


def _done(whole_s: float, left_s: float) -> float:
    return 1.0 - left_s / whole_s if whole_s else 0.0


def latency_words(seconds: float | None) -> str:
    """A percentile of the last seconds."""
    return words.duration(seconds) if seconds is not None else "no calls"


def _slo(state: LiveState) -> Row:
    over = f"in the last {state.window_s:.0f} s"
    broken = [line for line in state.slo_lines if line.met is False]
    if broken:
        seen = "; ".join(
            f"{line.slo.text}: {words.observed_words(line) if line.observed is not None else 'no'}"
            for line in broken
        )
        return Row("SLO", f"✗ broken {over}: {seen}", "bad")
    unknown = sum(line.met is None for line in state.slo_lines)
    of_calls = [line for line in state.slo_lines if not line.slo.metric.startswith(_OF_WEBSERVERS)]
    if not any(line.met for line in of_calls or state.slo_lines):
        return Row("SLO", f"too few calls to tell {over}", "unclear")
    rest = f"; {words.counted(unknown, 'line')} cannot be told yet" if unknown else ""
    return Row("SLO", f"✓ holds {over}{rest}", "good")


def _ended(state: LiveState) -> Row:
    """What the report will say of the stages that are over."""
    if not state.ended:
        return Row("Stages", "none has ended yet")
    parts = []
    for met, what in ((False, "✗ broken in"), (True, "✓ held in"), (None, "? not judged here:")):
        names = [f"{each.index + 1} {each.name}" for each in state.ended if each.met is met]
        parts += [f"{what} {', '.join(names)}"] if names else []
    broken = any(each.met is False for each in state.ended)
    held = all(each.met for each in state.ended)
    return Row("Stages", "; ".join(parts), "bad" if broken else "good" if held else "unclear")


def _limit(state: LiveState) -> Row:
    label = "Limited by"
    match state.limit:
        case None if any(line.met is False for line in state.slo_lines):
            return Row(label, "nothing that can be seen here: the report may tell", "unclear")
        case None if state.host_taken is not None:
            taken = words.share(state.host_taken)
            text = f"other work on this host, {taken} of its CPUs: not judged while it goes on"
            return Row(label, text, "unclear")
        case None:
            return Row(label, "nothing just now", "good")
        case limit if limit.kind == "generator":
            return Row(label, "the load generator (below)", "bad")
        case limit if limit.kind == "throttle":
            text = f"the service's throttle: it turned {words.share(limit.value)} of calls away"
            return Row(label, text, "bad")
        case limit if limit.kind == "webserver_cpu":
            above = f"{state.cpu_above_percent:g} %"
            return Row(label, f"the webservers' CPU: {limit.value:.0f} %, above {above}", "unclear")
        case limit:
            text = f"errors: {words.share(limit.value)} of calls, most of layer {limit.layer}"
            return Row(label, text, "bad")


def _load(state: LiveState) -> Row:
    rates = (
        f"{state.offered_per_s:.1f} offered, {state.achieved_per_s:.1f} achieved, "
        f"{state.failed_per_s:.1f} failed, over {state.window_s:.0f} s"
    )
    bad = state.failed_per_s >= 0.01 * max(state.achieved_per_s, 1.0)
    return Row("Calls/s", rates, "bad" if bad else "plain")


def _webservers(state: LiveState) -> Row:
    if state.webservers is None or state.metrics_until_s is None:
        return Row("Webservers", "no metrics yet", "unclear")
    cpu = "?" if state.cpu_percent is None else f"{state.cpu_percent:.0f} %"
    text = f"{state.webservers} at {cpu} CPU until {words.time_of_day(state.metrics_until_s)}"
    if (last := state.scaling) is not None:
        change = f"{last.from_count} to {last.to_count} at {words.time_of_day(last.at_s)}"
        text += f" | last {change}" if last.ready else f" | decided {change}, not there yet"
    return Row("Webservers", text)


def _generator(state: LiveState) -> Row:
    if state.generator_trouble is not None:
        return Row("Generator", told(state.generator_trouble), "bad")
    used = ""
    if state.generator_cpu is not None:
        used = f", with {words.share(state.generator_cpu)} of a core"
    if state.host_taken is not None:
        taken = words.share(state.host_taken)
        text = f"sends on time{used}; other work takes {taken} of this host's CPUs"
        return Row("Generator", text, "unclear")
    return Row("Generator", f"✓ sends on time{used}", "good")
