"""The sentences of a report about models: what they say beside the measurements."""

from analysis.report import words
from analysis.report.tables import stage_name
from analysis.results import ModelCheck, RunAnalysis, ScalabilityResult, TruthCheck


def disagreement(analysis: RunAnalysis) -> str:
    """The first stage that is not as queueing theory expects, and how many more; "" for none."""
    checks = [check for check in analysis.model_checks if check.agrees is False]
    if not checks:
        return ""
    more = f" (and {len(checks) - 1} more, which the page shows)" if len(checks) > 1 else ""
    return f"{_told(analysis, checks[0]).rstrip('.')}{more}."


def remarks(analysis: RunAnalysis) -> tuple[str, ...]:
    """About every stage that does not agree with queueing theory, or of which that is not known.

    About every stage of a closed workload: only the sentence has both bounds of its rate.
    """
    closed = {stage.index for stage in analysis.stages if stage.users is not None}
    return tuple(
        _told(analysis, check)
        for check in analysis.model_checks
        if check.agrees is not True or check.stage in closed
    )


def _told(analysis: RunAnalysis, check: ModelCheck) -> str:
    names = {stage.index: stage_name(stage) for stage in analysis.stages}
    name = names.get(check.stage, str(check.stage + 1))
    return f"Stage {name}: {words.lowered(check.explanation)}"


def peak(result: ScalabilityResult) -> str:
    """Where adding load stops adding good answers, and how far the law may be believed."""
    believed = words.trimmed(result.believed_to_concurrency)
    if not words.is_known(result.peak_concurrency) or not words.is_known(result.peak_rate_per_s):
        return (
            f"No peak up to {believed} calls in service, 1.5 times the most that was measured; "
            "beyond that the law says nothing."
        )
    return (
        f"By the law the rate {peaks(result)} at {words.calls_per_s(result.peak_rate_per_s)}, "
        f"with {words.trimmed(result.peak_concurrency)} calls in service; it is believed up to "
        f"{believed}."
    )


def peaks(result: ScalabilityResult) -> str:
    """The verb for a peak: without coherency there is none, and it may be 0 by its interval."""
    return "peaks" if result.coherency.low else "may peak"


def truth_sentence(checks: tuple[TruthCheck, ...]) -> str:
    """How many estimates hold the truth of simulated webservers, and which do not; "": none."""
    told = [check for check in checks if check.within is not None]
    if not told:
        return ""
    missed = [check.what for check in told if check.within is False]
    but = f"; not of the {words.enumerated(missed)}" if missed else ""
    intervals = f"{len(told)} interval{'' if len(told) == 1 else 's'}"
    return f"Truth of the simulation: inside {len(told) - len(missed)} of {intervals}{but}."
