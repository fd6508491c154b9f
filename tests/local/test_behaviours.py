"""The table of what AWS is like: every setting says where it is from, every id names a call."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mwaa_headroom.analysis.policy.scaling_rule import PolicyParameters
from mwaa_headroom.harness.aws.clients import make_clients
from mwaa_headroom.harness.aws.shapes import Prober
from mwaa_headroom.harness.local.behaviours import BEHAVIOURS, SHOWN_BY
from mwaa_headroom.harness.local.settings import (
    GatewaySettings,
    MetricsSettings,
    ThrottleSettings,
)

SOURCE = Path(__file__).parents[2] / "docs" / "make_reference.py"


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "owner", [GatewaySettings, ThrottleSettings, MetricsSettings, PolicyParameters]
)
def test_every_setting_says_where_its_default_is_from(reference: ModuleType, owner: Any) -> None:
    meanings = reference.meanings_of(owner)
    names = getattr(owner, "model_fields", None) or owner.__dataclass_fields__
    assert set(meanings) == set(names)
    for text in meanings.values():
        _, basis, _ = reference.basis_of(text)
        assert basis in ("Documented", "Third party", "Assumed", "Local")
    with pytest.raises(ValueError, match="where it is from"):
        reference.basis_of("A setting of which nobody says so.")


def test_every_id_names_a_call() -> None:
    nowhere = {
        "AWS_ENDPOINT_URL_MWAA": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_CLOUDWATCH": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
    }
    clients = make_clients(environment="e", variables=nowhere)
    calls = {check for check, _, _ in Prober(clients, "e", "3.0.6", pause=lambda: None).probes()}
    assert {one.check for one in BEHAVIOURS} - {""} <= calls
    assert set(SHOWN_BY.values()) <= calls


def test_a_snapshot_turns_not_yet_into_a_date(
    reference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "SNAPSHOTS", tmp_path)
    assert reference.validated("long_path") == "not yet"
    assert reference.validated("") == "no call shows it"
    for date, verdict in (("2026-12-01", "agrees"), ("2027-01-05", "not tried")):
        snapshot = {
            "date": date,
            "region": "eu-west-1",
            "airflow_version": "3.0.6",
            "calls": {"long_path": {"verdict": verdict}},
        }
        (tmp_path / f"{date}.json").write_text(json.dumps(snapshot), encoding="utf-8")
    assert reference.validated("long_path") == "agrees, 2026-12-01, eu-west-1, 3.0.6"
    assert reference.validated("environment") == "not yet"
