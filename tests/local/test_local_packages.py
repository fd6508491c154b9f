"""Without the packages of the extra `local`: what still works, and what the user is told."""

import subprocess
import sys
from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import ExitCode, UsageError
from mwaa_headroom.harness.local.handle import PACKAGES, StandIn
from mwaa_headroom.harness.local.settings import LocalSettings, SimulatedSettings

# Runs a program in which none of the packages can be imported.
HIDING = f"""
import sys
for name in {PACKAGES}:
    sys.modules[name] = None
"""


@pytest.mark.parametrize("settings", [LocalSettings(), SimulatedSettings()])
def test_starting_an_environment_says_in_one_sentence_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: LocalSettings | SimulatedSettings
) -> None:
    monkeypatch.setitem(sys.modules, "moto", None)
    with pytest.raises(UsageError, match=r"missing \(moto\).*pip install 'mwaa-headroom\[local\]'"):
        StandIn.start(settings, tmp_path / "instance", print)
    assert UsageError.exit_code == ExitCode.USAGE
    assert not (tmp_path / "instance").exists()


def test_everything_else_works_without_them_and_without_gevent() -> None:
    """Commands, virtual time, and checking a scenario for an environment that needs them."""
    program = """
import mwaa_headroom.harness.cli.main, mwaa_headroom.harness.run.session
import mwaa_headroom.harness.virtual.run
from mwaa_headroom.harness.scenario.load import check_scenario
check_scenario({
    "name": "s", "slo": ["p95(latency) < 1s"], "question": {"ask": "check"},
    "environment": {"kind": "local"}, "traffic": {"mix": {"list_dags": 1}},
    "stages": [{"rate_per_s": 5, "duration_s": 20}],
}, origin="test")
print("gevent" in sys.modules)  # its patches and its hub belong into the load processes alone
"""
    done = subprocess.run(
        [sys.executable, "-c", HIDING + program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "False\n"
