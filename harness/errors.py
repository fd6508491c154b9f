"""Every error a user can meet, and the exit code it ends with.

HeadroomError                      1
├── UsageError                     2   the user asked for something that cannot be
│   ├── ScenarioError              2   a scenario file is wrong (names the file and the key)
│   ├── NotAllowedError            2   the environment was not explicitly allowed, or is elsewhere
│   └── PreflightError             2   the environment lacks what the scenario needs
├── EnvironmentStartError          1   the local environment did not come up (names the log)
│   └── InstallError               1   Airflow could not be installed
├── EnvironmentAccessError         2   AWS (or the stand-in) refused or could not be reached
└── RecordError                    2   a run directory cannot be read

Messages are one sentence that says what to do. Foreign exceptions are translated where they enter
the project, once, with `raise ... from exc`.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What `headroom` ends with."""

    OK = 0
    """The question was answered, the SLO holds, there is no regression."""
    INTERNAL = 1
    """An error of headroom or of the local environment."""
    USAGE = 2
    """Wrong usage or configuration, no access, or what is asked for is not allowed or cannot be
    written."""
    SLO_NOT_MET = 3
    """The SLO of a check was broken."""
    REGRESSION = 4
    """The contender is worse than the baseline by more than the margin."""
    INCONCLUSIVE = 5
    """The run cannot answer its question, or the runs cannot be compared or told apart."""
    INTERRUPTED = 130
    """Ctrl-C, or the run was ended by a signal; what was recorded is reported."""


class HeadroomError(Exception):
    """Base of all errors that are shown to the user as one sentence."""

    exit_code = ExitCode.INTERNAL


class UsageError(HeadroomError):
    """The user asked for something that cannot be."""

    exit_code = ExitCode.USAGE


class ScenarioError(UsageError):
    """A scenario file is wrong; the message names the file and the key."""


class NotAllowedError(UsageError):
    """The environment was not explicitly allowed, or a rate is over its cap."""


class PreflightError(UsageError):
    """The environment lacks what the scenario needs."""


class EnvironmentStartError(HeadroomError):
    """The local environment did not come up; the message names the log."""


class InstallError(EnvironmentStartError):
    """Airflow could not be installed into its own virtual environment."""


class EnvironmentAccessError(HeadroomError):
    """AWS, or the local stand-in, refused a call or could not be reached."""

    exit_code = ExitCode.USAGE


class RecordError(UsageError):
    """A run directory cannot be read."""
