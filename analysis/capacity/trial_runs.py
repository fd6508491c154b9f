"""The stages of a run as trials, ready to be pooled with those of like runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.calls import calls_of, good_calls
from analysis.capacity.evidence import StageEvidence, stage_evidence
from analysis.comparison.likeness import IdentifiedRun, identity_of
from analysis.database import database_periods
from analysis.records.reader import RunRecord
from analysis.results import StageStats
from analysis.run_analysis import analyse_run
from analysis.setting import Setting, read_setting
from analysis.stages import measured_window, stage_times
from analysis.windows import webserver_periods


@dataclass(frozen=True, slots=True)
class StageTrial:
    """One stage with what it says about every line of the SLO."""

    run_id: str
    stage: StageStats
    evidence: StageEvidence


@dataclass(frozen=True, slots=True)
class TrialRun:
    """A run with its stages as trials."""

    run: IdentifiedRun
    setting: Setting
    trials: tuple[StageTrial, ...]


def trial_run(record: RunRecord) -> TrialRun:
    """The stages of a record as trials.

    Raises:
        RecordFormatError: the manifest has no usable scenario.
    """
    run = IdentifiedRun(identity_of(record), analyse_run(record))
    setting = read_setting(record.manifest)
    return TrialRun(run, setting, tuple(_trials(record, run, setting)))


def _trials(record: RunRecord, run: IdentifiedRun, setting: Setting) -> Sequence[StageTrial]:
    calls = calls_of(record.requests)
    good, periods = good_calls(calls, setting.slos), webserver_periods(record.metrics)
    times = stage_times(setting, record.events, calls)
    database = database_periods(record.metrics)
    windows = [measured_window(one, calls, good, periods, database) for one in times]
    return [
        StageTrial(run.analysis.run_id, stage, stage_evidence(setting, stage, window))
        for stage, window in zip(run.analysis.stages, windows, strict=True)
    ]
