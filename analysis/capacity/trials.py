"""A stage as a trial: did this load, on these webservers, meet the SLO?

    fail       some line of the SLO was broken, whatever else is wrong with the stage
    undecided  it did not run to its end, or a line could not be judged, or its latency was still
               rising when it ended, so that it would have got worse
    pass       every line was met

A stage in which the load generator was past its limits is undecided in any case: nobody knows what
the environment would have done with the load as it was meant to be.
"""

from analysis.results import SteadyState

GENERATOR_WAS_THE_LIMIT = "The load generator was the limit."
NOT_TO_ITS_END = "The stage did not run to its end."
NOT_JUDGED = "A line of the SLO could not be judged, or there is none."
STILL_RISING = "Its latency was still rising when it ended."


def judge_trial(
    complete: bool, generator_ok: bool, met_slo: bool | None, steady: SteadyState | None
) -> tuple[str, str]:
    """What a stage says about its load.

    Args:
        complete: whether the stage ran to its end.
        generator_ok: whether the load generator kept within its limits.
        met_slo: whether every line was met; None: some line could not be judged.
        steady: whether the stage settled; None, or not checked: that hinders nothing.

    Returns:
        pass, fail or undecided, and one sentence that says why it is undecided.
    """
    if not generator_ok:
        return "undecided", GENERATOR_WAS_THE_LIMIT
    if met_slo is False:
        return "fail", ""
    if not complete:
        return "undecided", NOT_TO_ITS_END
    if met_slo is None:
        return "undecided", NOT_JUDGED
    if steady is not None and steady.verdict == "rising":
        return "undecided", steady.reason or STILL_RISING
    return "pass", ""
