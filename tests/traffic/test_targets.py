"""Targets are kept with the record, or it is said why they cannot be."""

from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.traffic.targets import TARGETS_FILE, Targets, load_targets, save_targets

TARGETS = Targets("3.0.6", "20261122T073000-x-ab12", {"etl": ("manual__1", "manual__2")})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    save_targets(tmp_path, TARGETS)
    assert load_targets(tmp_path) == TARGETS


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / TARGETS_FILE).mkdir()
    with pytest.raises(HeadroomError, match=r"Cannot write '.*targets\.json': .*\.$"):
        save_targets(tmp_path, TARGETS)
