"""The table of prices: an editable, dated file, checked when it is read.

`prices.toml` beside this module is the one that ships; whoever knows better gives a file of the
same form. Nothing is fetched.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mwaa_headroom.analysis.planning.classes import CLASS_NAMES, ClassPrice, Money, PriceTable
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.files import read_toml
from mwaa_headroom.harness.validation import validated

SHIPPED_FILE: Final = Path(__file__).with_name("prices.toml")


def _as_range(amount: object) -> object:
    return (amount, amount) if isinstance(amount, int | float) else amount


_Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Price = Annotated[tuple[_Amount, _Amount], BeforeValidator(_as_range)]


def _money(amounts: tuple[float, float] | None) -> Money | None:
    return None if amounts is None else Money(min(amounts), max(amounts))


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ClassRow(_Model):
    environment: Price | None = None
    webserver: Price | None = None
    included_webservers: Annotated[int, Field(ge=1)]


class _Table(_Model):
    region: Annotated[str, Field(min_length=1)]
    as_of: date
    currency: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    classes: dict[str, _ClassRow]

    @model_validator(mode="after")
    def _known_classes(self) -> "_Table":
        for name in self.classes:
            if name not in CLASS_NAMES:
                raise ValueError(
                    f"'{name}' is not an environment class; choose from {', '.join(CLASS_NAMES)}"
                )
        return self

    def as_prices(self) -> PriceTable:
        return PriceTable(
            region=self.region,
            as_of=self.as_of.isoformat(),
            source=self.source,
            currency=self.currency,
            classes={
                name: ClassPrice(
                    _money(row.environment), _money(row.webserver), row.included_webservers
                )
                for name, row in self.classes.items()
            },
        )


class _File(_Model):
    tables: Annotated[tuple[_Table, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_table_per_region(self) -> "_File":
        regions = [table.region for table in self.tables]
        twice = [region for region in regions if regions.count(region) > 1]
        if twice:
            raise ValueError(f"there are two tables for {twice[0]}")
        return self


def load_prices(path: Path = SHIPPED_FILE) -> tuple[PriceTable, ...]:
    """Read and check a file of prices.

    Raises:
        UsageError: one sentence with the file and the key.
    """
    tree = read_toml(path, "file of prices", UsageError)
    checked = validated(_File, tree, origin=str(path), error=UsageError)
    return tuple(table.as_prices() for table in checked.tables)
