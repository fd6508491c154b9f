"""Environment classes of Amazon MWAA, as far as webservers are concerned, and what they cost.

Source: Amazon MWAA User Guide, "Environment classes" (CPUs of one webserver) and "Web server
autoscaling" (2 to 5 webservers; mw1.micro has one and does not scale). The most is a quota that
AWS can raise.

The price of a month comes from a table of dated prices; nothing in it is invented:

    month = 730 h (environment + max(MinWebservers - included, 0) additional webserver)

A price is a range where sources contradict each other, and None where nobody could be found to say;
then the month has no price either. Workers, schedulers, storage and traffic are not in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mwaa_headroom.analysis.mwaa import FEWEST_WEBSERVERS, MOST_WEBSERVERS


@dataclass(frozen=True, slots=True)
class EnvironmentClass:
    """What a class gives to webservers, and how many of them one may set."""

    name: str
    webserver_cpu: float
    fewest_webservers: int = FEWEST_WEBSERVERS
    most_webservers: int = MOST_WEBSERVERS

    @property
    def counts(self) -> range:
        """Webservers one may set."""
        return range(self.fewest_webservers, self.most_webservers + 1)


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
HOURS_PER_MONTH: Final = 730.0


def classes_from(name: str) -> tuple[EnvironmentClass, ...]:
    """The class of that name, then every larger one.

    Raises:
        ValueError: there is no such class.
    """
    return CLASSES[CLASS_NAMES.index(name) :]


@dataclass(frozen=True, slots=True)
class Money:
    """An amount, or the range it lies in."""

    low: float
    high: float

    def times(self, factor: float) -> "Money":
        """The amount so many times over."""
        return Money(self.low * factor, self.high * factor)

    def plus(self, other: "Money") -> "Money":
        """Both amounts together."""
        return Money(self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class ClassPrice:
    """Prices of an hour of one environment class; None: not known."""

    environment_per_h: Money | None
    webserver_per_h: Money | None  # of each that is not included
    included_webservers: int


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices of one region, with where they come from."""

    region: str
    as_of: str  # ISO date
    source: str
    currency: str
    classes: Mapping[str, ClassPrice]

    def month(self, environment_class: str, webservers: int) -> Money | None:
        """Price of a month with so many webservers all the time; None: not known."""
        price = self.classes.get(environment_class)
        if price is None or price.environment_per_h is None:
            return None
        per_h = price.environment_per_h
        extra = max(webservers - price.included_webservers, 0)
        if extra:
            if price.webserver_per_h is None:
                return None
            per_h = per_h.plus(price.webserver_per_h.times(extra))
        return per_h.times(HOURS_PER_MONTH)
