"""Environment classes of Amazon MWAA, as far as webservers are concerned.

Source: Amazon MWAA User Guide, "Environment classes" (CPUs of one webserver) and "Web server
autoscaling" (2 to 5 webservers; mw1.micro has one and does not scale). The most is a quota that
AWS can raise.
"""

from dataclasses import dataclass
from typing import Final

FEWEST_WEBSERVERS: Final = 2
MOST_WEBSERVERS: Final = 5


@dataclass(frozen=True, slots=True)
class EnvironmentClass:
    """What a class gives to webservers, and how many of them one may set."""

    name: str
    webserver_cpu: float
    fewest_webservers: int = FEWEST_WEBSERVERS
    most_webservers: int = MOST_WEBSERVERS


CLASSES: Final = (
    EnvironmentClass("mw1.micro", 1.0, fewest_webservers=1, most_webservers=1),
    EnvironmentClass("mw1.small", 1.0),
    EnvironmentClass("mw1.medium", 1.0),
    EnvironmentClass("mw1.large", 2.0),
    EnvironmentClass("mw1.xlarge", 4.0),
    EnvironmentClass("mw1.2xlarge", 8.0),
)
SMALLEST_THAT_SCALES: Final = "mw1.small"
CLASS_NAMES: Final = tuple(each.name for each in CLASSES)


def classes_from(name: str) -> tuple[EnvironmentClass, ...]:
    """The class of that name, then every larger one.

    Raises:
        ValueError: there is no such class.
    """
    return CLASSES[CLASS_NAMES.index(name) :]
