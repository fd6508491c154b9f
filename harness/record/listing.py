"""What a list of runs tells of each, from its manifest and its last report: no call is read.

A run that was never reported, is going on or cannot be read has its row as well.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mwaa_headroom.analysis import schema
from mwaa_headroom.analysis.errors import RecordFormatError
from mwaa_headroom.analysis.manifest import read_manifest
from mwaa_headroom.analysis.run_files import run_file
from mwaa_headroom.analysis.setting import read_setting
from mwaa_headroom.harness.errors import RecordError
from mwaa_headroom.harness.files import reading_advice
from mwaa_headroom.harness.record.directory import is_being_written
from mwaa_headroom.harness.record.verdicts import Verdict

RUN_ID: Final = re.compile(r"\d{8}T\d{6}-.+")  # as `create_run_directory` makes them
REPORT_FILE: Final = "report.json"
_RECORD_FILES: Final = (
    *(schema.MANIFEST_FILE, schema.EVENTS_FILE),
    *(schema.REQUESTS_STREAM, schema.REQUESTS_TABLE),
)
_DECODER: Final = json.JSONDecoder()
_BY_EXIT_CODE: Final[Mapping[int, Verdict]] = {3: "not-met", 5: "inconclusive", 130: "interrupted"}


@dataclass(frozen=True, slots=True)
class ListedRun:
    """One run of a list; None: not known. `verdict` is one of `VERDICTS`."""

    run: str  # the name of its directory
    directory: str
    verdict: Verdict
    started_at_s: float | None = None
    finished_at_s: float | None = None
    scenario: str | None = None
    environment: str | None = None
    kind: str | None = None  # aws | local | simulated
    airflow_version: str | None = None
    question: str | None = None
    status: str | None = None  # one of schema.RUN_STATUSES
    highest_rate_per_s: float | None = None  # that met the SLO, of a capacity question
    tags: dict[str, str] = field(default_factory=dict)
    problem: str | None = None  # why it, or its report, cannot be read


@dataclass(frozen=True, slots=True)
class ListOfRuns:
    """The runs of a folder that were asked for, the newest first."""

    folder: str
    runs: tuple[ListedRun, ...]


def listed_runs(folder: Path) -> list[ListedRun]:
    """Every run in a folder in the order they began; first those of which that is not known.

    Raises:
        RecordError: there is no such folder, or it cannot be read.
    """
    runs = [listed_run(folder / name) for name in run_names(folder)]
    return sorted(runs, key=lambda run: (run.started_at_s or 0.0, run.run))


def run_names(folder: Path) -> list[str]:
    """The names of all run directories in a folder, those damaged too; links are none.

    Raises:
        RecordError: there is no such folder, or it cannot be read.
    """
    try:
        inside = sorted(each.name for each in folder.iterdir() if _is_run(each))
    except FileNotFoundError as exc:
        raise RecordError(f"There is no folder '{folder}': no run was made here yet.") from exc
    except OSError as exc:
        raise RecordError(f"'{folder}' is no folder with runs: {reading_advice(exc)}.") from exc
    return inside


def _is_run(path: Path) -> bool:
    if path.name.startswith(".") or path.is_symlink() or not path.is_dir():
        return False
    if RUN_ID.fullmatch(path.name):
        return True
    return any((path / name).exists() for name in _RECORD_FILES)


def listed_run(directory: Path) -> ListedRun:
    """One run; what cannot be read of it is its `problem`."""
    try:
        manifest = read_manifest(directory)
        setting = read_setting(manifest)
    except RecordFormatError as exc:
        return ListedRun(directory.name, str(directory), "damaged", problem=str(exc))
    verdict, highest_per_s, problem = _answer(directory, manifest)
    environment = setting.environment
    return ListedRun(
        run=directory.name,
        directory=str(directory),
        verdict=verdict,
        started_at_s=manifest.get("started_at_s"),
        finished_at_s=manifest.get("finished_at_s"),
        scenario=setting.scenario_name,
        environment=environment.get("name"),
        kind=environment.get("kind"),
        airflow_version=environment.get("airflow_version"),
        question=setting.question,
        status=manifest.get("status", "running"),
        highest_rate_per_s=highest_per_s,
        tags=dict(manifest.get("tags") or {}),
        problem=problem,
    )


def _answer(
    directory: Path, manifest: Mapping[str, Any]
) -> tuple[Verdict, float | None, str | None]:
    if manifest.get("status", "running") == "running" and is_being_written(directory):
        return "running", None, None
    try:
        path = run_file(directory, REPORT_FILE)
        if path is None:
            return "not-reported", None, None
        report = path.read_text(encoding="utf-8")
        verdict, capacity = _member(report, "verdict"), _member(report, "capacity") or {}
        code, passed = int(verdict["exit_code"]), verdict["passed"]
        highest_per_s = capacity.get("highest_rate_per_s")
    except (RecordFormatError, OSError, ValueError, LookupError, TypeError, AttributeError):
        return "not-reported", None, f"'{directory / REPORT_FILE}' is damaged: report it again."
    usual: Verdict = "met" if passed else "answered"
    return _BY_EXIT_CODE.get(code, usual), highest_per_s, None


def _member(report: str, key: str) -> Any:
    """One key of a report, without reading the rest, which is as long as the run was.

    No text in JSON has a line break, so a key after one and two spaces is of the outermost object.

    Raises:
        ValueError: it is not there, or damaged.
    """
    beginning = f'\n  "{key}": '
    return _DECODER.raw_decode(report, report.index(beginning) + len(beginning))[0]
