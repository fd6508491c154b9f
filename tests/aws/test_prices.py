from pathlib import Path

import pytest

from mwaa_headroom.analysis.planning.classes import Money
from mwaa_headroom.harness.aws.prices import SHIPPED_FILE, load_prices
from mwaa_headroom.harness.errors import UsageError


def test_the_table_that_ships() -> None:
    """Figures: AWS Price List of us-west-2 as of 2026-08-08, as read by third parties."""
    (table,) = load_prices()

    assert (table.region, table.as_of, table.currency) == ("us-west-2", "2026-08-08", "USD")
    assert "third parties" in table.source
    per_h = {name: price.environment_per_h for name, price in table.classes.items()}
    assert {name: price.low for name, price in per_h.items() if price} == {
        "mw1.micro": 0.29,
        "mw1.small": 0.49,
        "mw1.medium": 0.74,
        "mw1.large": 0.99,
        "mw1.xlarge": 1.98,
        "mw1.2xlarge": 3.96,
    }
    assert table.classes["mw1.small"].webserver_per_h == Money(0.028, 0.055)
    assert table.classes["mw1.large"].webserver_per_h == Money(0.11, 0.11)
    assert table.classes["mw1.xlarge"].webserver_per_h is None
    assert table.classes["mw1.micro"].included_webservers == 1


def test_the_month_of_two_included_webservers() -> None:
    (table,) = load_prices()
    month = table.month("mw1.small", 2)

    assert month is not None
    assert month.low == month.high == pytest.approx(0.49 * 730)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "[0.028, 0.055]",
            "-0.1",
            "tables[0].classes.mw1.small.webserver[0]' is wrong: input should be",
        ),
        ("[0.028, 0.055]", '"cheap"', "tables[0].classes.mw1.small.webserver' is wrong"),
        ("[0.028, 0.055]", "[1, 2, 3]", "tables[0].classes.mw1.small.webserver' is wrong"),
        (
            '"mw1.large"',
            '"mw1.huge"',
            "'mw1.huge' is not an environment class; choose from mw1.micro",
        ),
        ("as_of = 2026-08-08", 'as_of = "soon"', "tables[0].as_of' is wrong"),
        (
            "environment = 0.29",
            "enviroment = 0.29",
            "tables[0].classes.mw1.micro.enviroment' is not a known key",
        ),
        ("[[tables]]", "[tables]", "'tables' is wrong: input should be a list"),
        ("[[tables]]", "[tables", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SHIPPED_FILE.read_text().replace(old, new, 1))

    with pytest.raises(UsageError) as refused:
        load_prices(path)

    assert says in str(refused.value)
    assert str(refused.value).startswith(str(path))


def test_two_tables_of_a_region_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SHIPPED_FILE.read_text() + SHIPPED_FILE.read_text())

    with pytest.raises(UsageError, match="two tables for us-west-2"):
        load_prices(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file of prices .*none\.toml"):
        load_prices(tmp_path / "none.toml")
