"""The one word that a list of runs has for each: what its last report answered, or why none did."""

from typing import Final, Literal, get_args

Verdict = Literal[
    "met",
    "not-met",
    "answered",
    "inconclusive",
    "interrupted",
    "not-reported",
    "running",
    "damaged",
]
VERDICTS: Final[tuple[str, ...]] = get_args(Verdict)
