"""What the entries of a mix need of the environment, read from the scenario alone."""

from dataclasses import dataclass

from harness.scenario.model import Scenario
from harness.traffic.operations import OPERATIONS, complete_parameters

_ALL_DAGS = "~"


@dataclass(frozen=True, slots=True)
class DagUse:
    """A DAG that one entry of the mix names, or has by default."""

    label: str
    operation: str
    dag_id: str

    @property
    def key(self) -> str:
        """Where the scenario says so."""
        return f"traffic.mix.{self.label}.dag_id"

    @property
    def reads_dag_runs(self) -> bool:
        """Whether existing DAG runs are asked for by id."""
        return "dag_runs" in OPERATIONS[self.operation].needs

    @property
    def changes_paused(self) -> bool:
        """Whether the load pauses or unpauses the DAG."""
        return self.operation in ("pause_dag", "unpause_dag")

    @property
    def triggers(self) -> bool:
        """Whether the load triggers the DAG."""
        return self.operation == "trigger_dag_run"


@dataclass(frozen=True, slots=True)
class VariableUse:
    """A variable that one entry of the mix writes."""

    label: str
    variable: str

    @property
    def key(self) -> str:
        """Where the scenario says so."""
        return f"traffic.mix.{self.label}.key"


def dag_uses(scenario: Scenario) -> tuple[DagUse, ...]:
    """One for each entry of the mix that names a DAG."""
    uses = (
        DagUse(label, choice.operation, _parameter(scenario, label, "dag_id"))
        for label, choice in scenario.traffic.mix.items()
        if "dag" in OPERATIONS[choice.operation].needs
    )
    return tuple(use for use in uses if use.dag_id != _ALL_DAGS)


def variable_uses(scenario: Scenario) -> tuple[VariableUse, ...]:
    """One for each entry of the mix that writes a variable."""
    return tuple(
        VariableUse(label, _parameter(scenario, label, "key"))
        for label, choice in scenario.traffic.mix.items()
        if "variable" in OPERATIONS[choice.operation].needs
    )


def _parameter(scenario: Scenario, label: str, name: str) -> str:
    choice = scenario.traffic.mix[label]
    return str(complete_parameters(choice.operation, choice.parameters)[name])
