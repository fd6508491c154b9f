"""Whether runs can tell of one scaling rule, and of one cost of a call."""

from collections.abc import Sequence
from dataclasses import replace

from analysis.comparison.likeness import IdentifiedRun, Identity, forbidding, in_words

# Limits, stages and SLO may differ: runs that differ in them tell more of one and the same rule.
_MUST_AGREE = (
    "environment kind",
    "environment class",
    "CPUs per webserver",
    "CPU of webservers limited",
    "host CPUs",
    "transport",
    "retries",
)
_OF_THE_RULE = ("environment.autoscaler.", "environment.metrics.", "environment.start_")


def unlike(runs: Sequence[IdentifiedRun]) -> tuple[str, ...]:
    """In what the runs differ but must not, one sentence each."""
    sides: dict[str, list[IdentifiedRun]] = {}
    for run in runs:  # two may have the same name
        sides.setdefault(run.analysis.run_id, []).append(_with_what_matters(run))
    return tuple(in_words(found) for found in forbidding(sides))


def _with_what_matters(run: IdentifiedRun) -> IdentifiedRun:
    was = run.identity
    agreed = {
        name: value
        for name, value in was.must_agree.items()
        if name in _MUST_AGREE or name.startswith("mix: ")
    }
    settings = {
        name: value for name, value in was.settings.items() if name.startswith(_OF_THE_RULE)
    }
    return replace(run, identity=Identity(agreed | was.under_test, settings, {}, {}))
