"""What `headroom what-if` answers, in words and tables."""

from collections.abc import Iterator
from typing import Final, Literal

from mwaa_headroom.analysis.policy.results import WhatIf
from mwaa_headroom.analysis.report.planning.answer import Answer, Section
from mwaa_headroom.analysis.report.planning.what_if_load import load_sections, load_sentence, titled
from mwaa_headroom.analysis.report.planning.what_if_rule import replay_section, rule_section

_FEW: Final = 0.01  # share of calls slow or failed that still is a good answer


def what_if_answer(result: WhatIf) -> Answer:
    """Ready to be laid out."""
    return Answer(
        kind="what-if",
        headline=_headline(result),
        sentence=_sentence(result),
        tone=_tone(result),
        sections=tuple(_sections(result)),
        refusals=result.refusals,
        notes=(*result.fit.warnings, *result.fit.left_out, *result.notes),
    )


def _headline(result: WhatIf) -> str:
    if result.refusals:
        return "Not told"
    if result.load is None:
        return "The scaling rule, as runs tell it"
    return titled(result.load)


def _sentence(result: WhatIf) -> str:
    if result.refusals:
        return "The runs do not tell enough to answer."
    if result.load is None:
        return _fit_sentence(result)
    return load_sentence(result.load)


def _fit_sentence(result: WhatIf) -> str:
    told = [each for each in result.fit.parameters if each.verdict == "determined"]
    of = [event for replay in result.replays if replay.kind == "rule" for event in replay.changes]
    matched = sum(event.verdict == "matched" for event in of)
    noun, whose = ("change", "its") if len(of) == 1 else ("changes", "their")
    return (
        f"The fitted rule makes {matched} of {len(of)} {noun} of the webserver count at {whose} "
        f"time; the runs determine {len(told)} of its {len(result.fit.parameters)} unknowns."
    )


def _tone(result: WhatIf) -> Literal["good", "bad", "unsure"]:
    load = result.load
    if result.refusals or result.fit.mismatch_periods:
        return "unsure"
    if load is None:
        return "good"
    if load.overloads and load.caught_up_after_s.value is None:
        return "bad"
    lost = (load.slow_share.high or 0.0) + (load.failed_share.high or 0.0)
    return "good" if lost < _FEW else "unsure"


def _sections(result: WhatIf) -> Iterator[Section]:
    if result.load is not None:
        yield from load_sections(result.load)
    if result.fit.parameters:
        yield rule_section(result.fit)
    if result.replays:
        yield replay_section(result.replays)
