"""Sentences about an IAM policy: what a scenario needs of it."""

from collections.abc import Sequence

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says

says(
    "iam.environment_instead_of_role",
    "{action} is allowed on {given}, which has no effect: it is allowed on a role of Airflow's, "
    "{needed}.",
)
says("iam.missing", "{action} is not allowed: allow it on {needed}.")
says("iam.denied", "{action} on {resource} is denied by a statement of its own: remove that.")
says(
    "iam.conditional",
    "{action} on {resource} is allowed or denied under a condition; whether it holds is not known.",
)
says("iam.more_actions", "{action} allows more than is needed.")


@says("iam.suffices")
def _(actions: Sequence[str]) -> str:
    return f"All that is needed is allowed: {words.enumerated(actions)}."


@says("iam.other_resource")
def _(action: str, given: Sequence[str], needed: str) -> str:
    return f"{action} is allowed on {words.enumerated(given)}, and needed on {needed}."


@says("iam.more_resources")
def _(resource: str, least: Sequence[str]) -> str:
    return f"The resource {resource} is more than needed: {words.enumerated(least)} would do."


@says("iam.all_but")
def _(actions: Sequence[str], resources: Sequence[str]) -> str:
    return (
        "A statement with NotAction or NotResource allows all but "
        f"{words.enumerated((*actions, *resources))}, which is more than needed: name what is."
    )
