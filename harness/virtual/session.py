"""What `headroom run --virtual-time` does between its scenario and its report."""

from pathlib import Path

from harness.run.narrator import Narrator
from harness.scenario.model import Scenario
from harness.traffic.traces import traces_beside
from harness.virtual.run import require_simulated, run_virtually
from harness.virtual.saving import save_run


def run_in_virtual_time(
    scenario: Scenario,
    *,
    scenario_file: Path,
    runs_directory: Path,
    started_at_s: float,
    narrator: Narrator,
) -> Path:
    """Carry out a scenario in virtual time, with its seed of the traffic, and save its run.

    Nothing is written before the end, so that Ctrl-C leaves nothing behind.

    Raises:
        HeadroomError: virtual time cannot carry it out, or the run cannot be written.
    """
    require_simulated(scenario)
    stages_s = sum(stage.duration_s for stage in scenario.stages)
    narrator.step(f"Simulating {stages_s:g} s in virtual time")
    record = run_virtually(
        scenario,
        seed=scenario.traffic.seed,
        started_at_s=started_at_s,
        traces=traces_beside(scenario, scenario_file),
    )
    narrator.step(f"Writing the record of {record.requests.num_rows} calls")
    return save_run(record, runs_directory, scenario_file=scenario_file)
