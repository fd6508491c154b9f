"""Sentences about what a run found in its environment, and what it left there."""

from collections.abc import Sequence

from mwaa_headroom.analysis.mwaa import INVOKE_PATH_CHARACTERS
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says

says("preflight.dag_paused", "DAG '{dag_id}' is paused: the runs triggered stay queued.")
says(
    "preflight.page_capped",
    "{label} asks for {limit} entries a page and is answered with {answered}: this Airflow caps "
    "its pages, so another version may do more work for the same calls.",
)
says(
    "preflight.long_path",
    "{label} has paths of up to {characters} characters, and InvokeRestApi is said to refuse more "
    f'than {INVOKE_PATH_CHARACTERS}: use shorter ids, or traffic.transport = "web_token".',
)


@says("preflight.unwatched")
def _(components: Sequence[str]) -> str:
    return (
        f"Airflow says that these were unhealthy before any load: {words.enumerated(components)}; "
        "limits.abort_unhealthy cannot tell whether the load does them harm."
    )


@says("preflight.spaced_by_cap")
def _(stages: Sequence[str], cap_per_s: float, needed_per_s: float) -> str:
    which = f"stage {stages[0]}" if len(stages) == 1 else f"{len(stages)} stages"
    return (
        f"Random arrivals of {which} would now and then be more than limits.max_rate_per_s = "
        f"{cap_per_s:g} in a second, so they are spaced, which is easier on the webservers; "
        f"with a limit of {needed_per_s:g} they would not be."
    )


@says("preflight.few_runs")
def _(dag_id: str, runs: int) -> str:
    there = "is only one run" if runs == 1 else f"are only {runs} runs"
    return (
        f"There {there} of DAG '{dag_id}' to read from, so the same rows are read again and again; "
        "limits.trigger_dags_to_read = true lets headroom trigger it until there are 10."
    )


@says("preflight.runs_left_out")
def _(dag_id: str, runs: int, reason: str) -> str:
    which = "1 run" if runs == 1 else f"{runs} runs"
    if reason == "too_long":
        why = f"their paths have more than the {INVOKE_PATH_CHARACTERS} characters of InvokeRestApi"
    else:
        why = "no path leads to their ids"
    return f"{which} of DAG '{dag_id}' are left out: {why}."


@says("run.left_behind")
def _(
    dag_runs: int,
    variables: int,
    paused_states: int,
    is_certain: bool,
    is_wanted: bool,
    answers: tuple[int, ...],
    directory: str,
) -> str:
    parts = [
        counted
        for number, counted in (
            (dag_runs, _counted(dag_runs, "DAG run")),
            (variables, _counted(variables, "variable")),
            (paused_states, f"the paused state of {_counted(paused_states, 'DAG')}"),
        )
        if number
    ]
    are = "are left" if is_certain else "may be left"
    why = "the run was cut off before it had cleaned up"
    if is_wanted:
        why = "limits.clean_up = false"
    elif answers:
        why = f"Airflow answered {words.listed(answers)}"
    elif is_certain:
        why = "they could not be undone"
    return (
        f"{words.enumerated(parts)} of this run {are} in the environment ({why}): "
        f"`headroom clean {directory}` removes them."
    )


def _counted(number: int, thing: str) -> str:
    return f"1 {thing}" if number == 1 else f"{number} {thing}s"
