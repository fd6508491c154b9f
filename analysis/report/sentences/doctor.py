"""Sentences of `headroom doctor`: what would stop or spoil a run, and what is in order."""

from collections.abc import Sequence

from mwaa_headroom.analysis.mwaa import INVOKE_PATH_CHARACTERS
from mwaa_headroom.analysis.planning.classes import Money
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says

says("doctor.problem", "{reason}")
says("doctor.not_asked", "Not asked: {reason}")
says("doctor.caller", "You are {caller} in account {account}.")
says("doctor.allowed", "limits.allow_environment names this environment, {arn}.")
says("doctor.expectation", "{name} is expected, but: {detail}.")
says("doctor.permitted", "{action} is allowed on {resource}.")
says(
    "doctor.other_role",
    "InvokeRestApi answers, but {action} is not allowed on {needed} or a larger default role: "
    "whether the role it is allowed on may do all that the scenario does is Airflow's to decide.",
)
says("doctor.reads", "The Airflow role may make all the reads of the mix.")
says("doctor.dag_unusable", "{key}: {detail}; {remedy}.")
says("doctor.paths", f"All paths keep to InvokeRestApi's {INVOKE_PATH_CHARACTERS} characters.")
says(
    "doctor.triggers_to_read",
    "A run first triggers DAG '{dag_id}' {runs} times, to have runs to read.",
)
says("doctor.host", "{platform}, Python {python}.")
says("doctor.packages", "The packages for environments on this machine are installed.")
says("doctor.not_running", "No environment '{name}' of another run is up.")
says("doctor.port_free", "Port {port} is free.")
says("doctor.airflow_cached", "Airflow {version} is installed in {folder}.")


@says("doctor.keys")
def _(
    left_s: float | None,
    is_renewed: bool,
    is_temporary: bool,
    asks_for_code: bool,
    run_s: float | None,
) -> str:
    if not is_temporary:
        return "The keys do not expire."
    run = "" if run_s is None else f", and the run takes {words.delay(run_s)}"
    if left_s is None:
        return f"The keys are temporary and do not say when they end{run}."
    advice = ""
    if asks_for_code:
        advice = ": an MFA code will be asked for meanwhile, so stay, or log in anew before it"
    elif is_renewed:
        return "The keys are renewed before they end."
    elif run_s is not None and left_s < run_s:
        advice = ": get new ones, or let a profile renew them"
    return f"The keys end in {words.delay(left_s)}{run}{advice}."


@says("doctor.environment")
def _(
    status: str,
    airflow_version: str,
    environment_class: str | None,
    access_mode: str | None,
    region: str,
    partition: str,
) -> str:
    private = ", so only from inside its VPC" if access_mode == "PRIVATE_ONLY" else ""
    return (
        f"It is {status} in {region} (partition {partition}): Airflow {airflow_version}, class "
        f"{environment_class or words.UNKNOWN}, webserver access {access_mode or words.UNKNOWN}"
        f"{private}."
    )


@says("doctor.webservers")
def _(fewest: int | None, most: int | None, quota: int | None) -> str:
    limit = "" if quota is None else f"; {quota} are the most of its class unless AWS raised that"
    scaling = ", so without autoscaling" if fewest == most else ""
    return (
        f"MinWebservers {words.count(fewest)}, MaxWebservers {words.count(most)}{scaling}{limit}."
    )


@says("doctor.clock")
def _(offset_s: float | None) -> str:
    if offset_s is None:
        return "Whether this clock is right cannot be told: answers have no date."
    side = "behind" if offset_s > 0 else "ahead of"
    return f"This clock is {words.delay(abs(offset_s))} {side} AWS's, which is told to a second."


@says("doctor.latency")
def _(endpoint_s: float | None, call_s: float) -> str:
    return (
        f"InvokeRestApi answered in {words.duration(call_s)}; the endpoint is "
        f"{words.duration(endpoint_s)} away, there and back, which is part of every latency."
    )


@says("doctor.unhealthy")
def _(components: Sequence[str]) -> str:
    return f"Airflow says that these are unhealthy: {words.enumerated(components)}."


@says("doctor.dag")
def _(dag_id: str, is_paused: bool, max_active_runs: int | None) -> str:
    if max_active_runs is None:
        return f"DAG '{dag_id}' is {'paused' if is_paused else 'active'}."
    if is_paused:
        return f"DAG '{dag_id}' is paused: the runs triggered stay queued."
    return f"DAG '{dag_id}' is active and runs {max_active_runs} at once; what is more queues."


@says("doctor.variable")
def _(key: str, exists: bool) -> str:
    done = "overwritten and gets its value back" if exists else "created and deleted again"
    return f"Variable '{key}' is {done}."


@says("doctor.metrics")
def _(metrics: Sequence[str]) -> str:
    return f"CloudWatch has {words.enumerated(metrics)}."


@says("doctor.metrics_missing")
def _(metrics: Sequence[str]) -> str:
    return f"CloudWatch has no {words.enumerated(metrics)} of the webservers."


@says("doctor.newest_sample")
def _(age_s: float | None, settle_s: float) -> str:
    if age_s is None:
        return "CloudWatch has no sample of the last hour."
    return (
        f"The newest sample ended {words.delay(age_s)} ago; a run waits {words.delay(settle_s)} "
        "for its last ones (environment.metrics_settle_s)."
    )


@says("doctor.cost")
def _(
    webservers: int, amount: Money | None, currency: str | None, as_of: str | None, region: str
) -> str:
    if webservers == 0:
        return "It adds no webservers, so it costs no more than the environment does anyway."
    if amount is None:
        return f"The price of {webservers} more webservers in {region} is not in our table."
    low, high = f"{amount.low:.2f}", f"{amount.high:.2f}"
    return (
        f"Up to {high if low == high else f'{low} to {high}'} {currency} for {webservers} more "
        f"webservers all the time (prices of {as_of}), besides the environment and its workers."
    )


@says("doctor.cpus")
def _(cpus: int, needed: float) -> str:
    return (
        f"{words.counted(cpus, 'CPU')} for webservers that may use {words.trimmed(needed)}, load "
        "generator, scheduler and database."
    )


@says("doctor.airflow_to_install")
def _(version: str, free_bytes: int, needed_bytes: int) -> str:
    return (
        f"Airflow {version} is installed first, once, which takes minutes and up to "
        f"{needed_bytes / 1e9:.1f} GB; {free_bytes / 1e9:.1f} GB are free in the cache."
    )


@says("doctor.cpu_limits")
def _(reason: str | None) -> str:
    if reason is None:
        return "Webservers can be held to their CPUs."
    return f"Webservers cannot be held to their CPUs and share this machine's: {reason}."


@says("doctor.generator")
def _(rate_per_s: float, processes: int, cpus: int) -> str:
    need = (
        "one load process is enough"
        if processes == 1
        else f"use --processes {processes} or workers"
    )
    return f"{words.calls_per_s(rate_per_s)}: {need}; {words.counted(cpus, 'CPU')} here."


@says("doctor.duration")
def _(load_s: float, longest_s: float, waits_s: float) -> str:
    more = (
        "" if longest_s == load_s else f" ({words.delay(longest_s)} if every stage breaks the SLO)"
    )
    return (
        f"{words.delay(load_s)} of load{more}, then {words.delay(waits_s)} for late metrics and "
        "cleaning up."
    )


@says("doctor.creates")
def _(dag_runs: float, variables: int, dags: int, clean_up: bool) -> str:
    parts = [
        text
        for number, text in (
            (dag_runs, f"about {words.counted(dag_runs, 'DAG run')}"),
            (variables, words.counted(variables, "variable")),
            (dags, f"the paused state of {words.counted(dags, 'DAG')}"),
        )
        if number
    ]
    if not parts:
        return "It creates and changes nothing."
    after = "undoes that at its end" if clean_up else "leaves that (limits.clean_up = false)"
    return f"It creates or changes {words.enumerated(parts)}, and {after}."
