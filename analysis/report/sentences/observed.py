"""Sentences about an environment that was watched without a run."""

from mwaa_headroom.analysis.mwaa import CONNECTIONS_ABOVE, CPU_ABOVE_PERCENT
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says

says(
    "observed.no_metrics",
    "CloudWatch has no webserver metrics of environment '{name}' in that time: check its name, the "
    "region and the times.",
)
says(
    "observed.environment_unknown",
    "What environment '{name}' is today is not known (GetEnvironment did not tell), so neither its "
    "class nor its limits are taken into account.",
)
says(
    "observed.limits_of_today",
    "Class, MinWebservers and MaxWebservers are those of today; they may have been others then.",
)
says(
    "observed.cpu_only",
    "Webservers needed are for CPU only (at most {cpu_percent:g} %), as if CPU grew with the "
    "traffic and as if the traffic divided evenly: latency, the throttle and the database are in "
    "no metric, so confirm it with a run.",
)


@says("observed.incomplete")
def _(known_fraction: float) -> str:
    return f"Metrics are there for {words.share(known_fraction)} of that time only."


@says("observed.calls_missing")
def _(fraction: float) -> str:
    return f"The calls beside it say nothing of {words.share(fraction)} of that time."


@says("observed.coarse")
def _(period_s: float) -> str:
    return (
        f"Of so long ago CloudWatch has means over {words.delay(period_s)} only, which hide "
        "shorter peaks: more webservers may have been needed."
    )


@says("observed.saturated")
def _(fraction: float) -> str:
    return (
        f"For {words.share(fraction)} of the time the webservers' CPU was used up: the traffic "
        "wanted more than they show, so more webservers are needed than is said."
    )


@says("observed.by_connections")
def _(fraction: float) -> str:
    return (
        f"For {words.share(fraction)} of the time there were more than {CONNECTIONS_ABOVE:g} "
        f"connections with at most {CPU_ABOVE_PERCENT:g} % CPU: then connections add webservers, "
        "and CPU does not tell how many. Running tasks of Airflow 3 may hold connections too."
    )


@says("observed.too_much")
def _(growth: float) -> str:
    grown = "" if growth == 1 else f", grown {growth:g} times,"
    return (
        f"The busiest time{grown} takes more webservers than any class may have by AWS's default "
        "quota: have the quota raised, or send less."
    )
