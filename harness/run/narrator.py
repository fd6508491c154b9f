"""What a run tells the person who started it, while it goes on."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """The load at one moment; rates as configured, counts of the whole run, None: not known yet."""

    stage: int
    stages: int
    stage_name: str
    rate_per_s: float
    remaining_s: float
    sent: int
    ok: int
    errors: int
    unsent: int
    in_flight: int
    webservers: int | None
    cpu_percent: float | None


class Narrator(Protocol):
    """Where a run's progress goes; the command line shows it, tests may keep it."""

    def step(self, text: str) -> None:
        """Something that takes seconds begins."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def load(self, status: LoadStatus) -> None:
        """The load goes on; called about twice a second."""
