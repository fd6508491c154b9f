"""What the calls of a run are aimed at, found once before the run and kept with its record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwaa_headroom.harness.errors import RecordError
from mwaa_headroom.harness.record.stream import writing

TARGETS_FILE = "targets.json"


@dataclass(frozen=True, slots=True)
class Targets:
    """Facts about the environment that building a call needs.

    Attributes:
        airflow_version: of the environment, such as "3.3.1"; decides paths and bodies.
        run_id: of this headroom run; part of the id of every DAG run it triggers.
        dag_run_ids: per DAG, existing DAG runs that reading operations may ask for.
    """

    airflow_version: str
    run_id: str
    dag_run_ids: dict[str, tuple[str, ...]]

    @property
    def airflow_major(self) -> int:
        """2 or 3."""
        return int(self.airflow_version.split(".")[0])


def save_targets(run_dir: Path, targets: Targets) -> None:
    """Write `targets.json` into a run directory.

    Raises:
        HeadroomError: the disk is full or may not be written.
    """
    path = run_dir / TARGETS_FILE
    with writing(path):
        path.write_text(json.dumps(tree_of_targets(targets), indent=2) + "\n", encoding="utf-8")


def load_targets(run_dir: Path) -> Targets:
    """Read `targets.json` of a run directory.

    Raises:
        RecordError: it is missing or damaged.
    """
    path = run_dir / TARGETS_FILE
    try:
        return targets_from_tree(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RecordError(f"'{path}' is missing or damaged; prepare the run again.") from exc


def tree_of_targets(targets: Targets) -> dict[str, Any]:
    """The targets as JSON values."""
    return {
        "airflow_version": targets.airflow_version,
        "run_id": targets.run_id,
        "dag_run_ids": {dag: list(runs) for dag, runs in targets.dag_run_ids.items()},
    }


def targets_from_tree(tree: Mapping[str, Any]) -> Targets:
    """The targets from JSON values.

    Raises:
        KeyError, TypeError, AttributeError: `tree` is not what `tree_of_targets` makes.
    """
    return Targets(
        airflow_version=tree["airflow_version"],
        run_id=tree["run_id"],
        dag_run_ids={dag: tuple(runs) for dag, runs in tree["dag_run_ids"].items()},
    )
