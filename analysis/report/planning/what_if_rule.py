"""The scaling rule as runs tell it, and the runs replayed by it, in words and tables."""

from collections.abc import Iterator
from typing import Final

from mwaa_headroom.analysis.policy.results import ComparedEvent, FittedParameter, PolicyFit, Replay
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.document import Column, Table
from mwaa_headroom.analysis.report.planning.answer import Section

REPLAY_PICTURE: Final = "replay"
_REPLAYS: Final = (
    "Of the rule: it is shown the recorded metrics. Of the load: metrics and webservers are "
    "simulated too."
)
_NAMES: Final = {
    "datapoints_to_alarm": "periods until scale-out",
    "statistic": "CPU statistic",
    "connections_scope": "connections counted",
    "scale_out_step": "scale-out step",
    "scale_out_cooldown_s": "scale-out cooldown",
    "start_s": "time to start",
    "scale_in_periods": "quiet periods until scale-in",
    "scale_in_cpu_below_percent": "quiet: CPU below",
    "scale_in_connections_below": "quiet: connections below",
    "scale_in_step": "scale-in step",
    "scale_in_cooldown_s": "scale-in cooldown",
}


def rule_section(fit: PolicyFit) -> Section:
    """What is left of every unknown."""
    runs = f"{len(fit.runs_used)} run{'' if len(fit.runs_used) == 1 else 's'}"
    back = [each for each in fit.parameters if each.name.startswith("scale_in")]
    is_silent = not any(each.values for each in back)
    told = [each for each in fit.parameters if not (is_silent and each in back)]
    columns = (
        Column("unknown", right=False),
        Column("taken"),
        Column("verdict", right=False),
        Column("what fits as well", right=False),
    )
    return Section(
        heading="The rule, as far as the runs tell it",
        sentences=(
            f"Documented: CPU above 70 % or more than 15 connections adds webservers. Fitted to "
            f"{fit.changes} change{'' if fit.changes == 1 else 's'} in {runs}.",
            *(_silent_way_back(back) if is_silent else ()),
        ),
        table=Table(columns, tuple(_parameter(each) for each in told)),
    )


def _silent_way_back(back: list[FittedParameter]) -> Iterator[str]:
    taken = ", ".join(f"{_NAMES[each.name]} {each.used}" for each in back)
    yield (
        f"The way back is unknown, because {back[0].why}; taken: {taken}. "
        "Ranges hold the quickest and the slowest way back that were tried."
    )


def _parameter(each: FittedParameter) -> tuple[str, ...]:
    fits = ", ".join(each.values) if each.verdict != "unknown" else ""
    told = "; ".join(part for part in (fits, each.why) if part)
    return (_NAMES.get(each.name, each.name), each.used, each.verdict, told)


def replay_section(replays: tuple[Replay, ...]) -> Section:
    """Recorded changes of the count beside those of the replays."""
    columns = (
        Column("replay of", right=False),
        Column("web", "servers"),
        Column("recorded", "min:s"),
        Column("simulated", "min:s"),
        Column("difference"),
        Column("", right=False),
        Column("run", right=False, dropped=1),
    )
    rows = [
        (replay.kind, *_compared(event), replay.run_id)
        for replay in replays
        for event in replay.changes
    ]
    return Section(
        heading="The recorded runs, replayed",
        sentences=(_REPLAYS, *_replay_sentences(replays)),
        table=Table(columns, tuple(rows)) if rows else None,
        picture=REPLAY_PICTURE,
    )


def _replay_sentences(replays: tuple[Replay, ...]) -> Iterator[str]:
    for replay in replays:
        if replay.refusal:
            yield replay.refusal
        if replay.cpu_off_percent is not None:
            yield (
                f"{replay.run_id}: the CPU simulated from its load is off by "
                f"{replay.cpu_off_percent:.1f} percentage points on average."
            )
        lost = [
            f"{words.count(calls.recorded)} {what} calls recorded, {words.count(calls.simulated)} "
            "simulated"
            for what, calls in (("failed", replay.failed), ("slow", replay.slow))
            if calls is not None
        ]
        if lost:
            yield f"{replay.run_id}: {'; '.join(lost)}."


def _compared(event: ComparedEvent) -> tuple[str, ...]:
    recorded = words.clock(event.recorded_s)
    if event.recorded_s is not None and event.recorded_from_s != event.recorded_s:
        recorded = f"{words.clock(event.recorded_from_s)}-{recorded}"
    return (
        f"{event.from_count} -> {event.to_count}",
        recorded,
        words.clock(event.simulated_s),
        words.UNKNOWN if event.difference_s is None else f"{round(event.difference_s):+d} s",
        event.verdict,
    )
