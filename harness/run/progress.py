"""What a run tells the person who started it, while it goes on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LoadStatus:
    """The load at one moment: as the scenario asks for it, and counted over the whole run."""

    stage: int  # during a recovery phase: the one before it
    stages: int
    stage_name: str
    rate_per_s: float | None  # None: users set the pace
    users: int | None  # of a closed workload
    remaining_s: float  # recovery phases to come left out
    sent: int
    errors: int
    unsent: int
    in_flight: int
    webservers: int | None  # None: not known yet
    cpu_percent: float | None


class Progress(Protocol):
    """Where a run's progress goes; the command line shows it, tests may keep it."""

    def step(self, text: str) -> None:
        """Something that takes seconds begins."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def recording(self, directory: Path) -> None:
        """The run has a record from now on; what goes on can be read from it."""

    def load(self, status: LoadStatus) -> None:
        """The load goes on; called about twice a second."""

    def count(self, text: str) -> None:
        """How far something slow has come; called often."""
