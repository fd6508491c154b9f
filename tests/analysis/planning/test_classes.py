"""Environment classes as the Amazon MWAA User Guide lists them, and what a month costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.analysis.planning.classes import (
    CLASSES,
    ClassPrice,
    Money,
    PriceTable,
    classes_from,
)


@pytest.mark.parametrize(
    ("name", "vcpu", "limits"),
    [
        ("mw1.micro", 1, (1, 1)),
        ("mw1.small", 1, (2, 5)),
        ("mw1.medium", 1, (2, 5)),
        ("mw1.large", 2, (2, 5)),
        ("mw1.xlarge", 4, (2, 5)),
        ("mw1.2xlarge", 8, (2, 5)),
    ],
)
def test_what_a_class_gives_to_webservers(name: str, vcpu: int, limits: tuple[int, int]) -> None:
    found = classes_from(name)[0]

    assert found.name == name
    assert found.webserver_cpu == vcpu
    assert (found.fewest_webservers, found.most_webservers) == limits


def test_classes_go_upwards() -> None:
    assert [each.name for each in classes_from("mw1.large")] == [
        "mw1.large",
        "mw1.xlarge",
        "mw1.2xlarge",
    ]
    assert [each.webserver_cpu for each in CLASSES] == sorted(
        each.webserver_cpu for each in CLASSES
    )


amounts = st.floats(0, 10)


def table(environment: Money | None, webserver: Money | None, included: int = 2) -> PriceTable:
    price = ClassPrice(environment, webserver, included)
    return PriceTable("nowhere-1", "2026-01-01", "made up", "USD", {"mw1.small": price})


@pytest.mark.parametrize(
    ("webservers", "low", "high"),
    [
        pytest.param(1, 357.7, 357.7, id="fewer than are included cost the same"),
        pytest.param(2, 357.7, 357.7, id="as many as are included"),
        pytest.param(4, 398.58, 438.0, id="two more, at a price that sources contradict"),
    ],
)
def test_a_month_of_730_hours(webservers: int, low: float, high: float) -> None:
    month = table(Money(0.49, 0.49), Money(0.028, 0.055)).month("mw1.small", webservers)

    assert month is not None
    assert (month.low, month.high) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("prices", "name", "webservers"),
    [
        pytest.param(table(None, Money(1, 1)), "mw1.small", 2, id="no price of the environment"),
        pytest.param(table(Money(1, 1), None), "mw1.small", 3, id="no price of a third webserver"),
        pytest.param(table(Money(1, 1), Money(1, 1)), "mw1.large", 2, id="no such class"),
    ],
)
def test_what_is_not_known_has_no_price(prices: PriceTable, name: str, webservers: int) -> None:
    assert prices.month(name, webservers) is None


def test_included_webservers_need_no_price() -> None:
    assert table(Money(1, 1), None).month("mw1.small", 2) == Money(730, 730)


@given(amounts, amounts, amounts, st.integers(1, 20))
def test_more_webservers_never_cost_less(
    environment: float, low: float, more: float, webservers: int
) -> None:
    prices = table(Money(environment, environment), Money(low, low + more))
    fewer, many = (prices.month("mw1.small", count) for count in (webservers, webservers + 1))

    assert fewer is not None
    assert many is not None
    assert fewer.low <= many.low
    assert fewer.high <= many.high
    assert many.low <= many.high
