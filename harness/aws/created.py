"""What a run leaves in the environment, remembered so that it can be undone."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Created:
    """What preflight created or found in a state that the load may change.

    Attributes:
        dag_runs: per DAG, the runs triggered so that there is something to read.
        variables: keys of the variables created.
        paused: per DAG that the mix pauses or unpauses, whether it was paused before.
    """

    dag_runs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    paused: dict[str, bool] = field(default_factory=dict)


def run_id_prefix(run_id: str) -> str:
    """What the id of every DAG run begins with that this run triggers."""
    return f"headroom__{run_id}__"
