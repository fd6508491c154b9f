"""Why the webserver count changed, what it was held against, and how well delays are known.

The reasons of a change are phrases: "CPU above 70 % (95 %)".
"""

from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says

says(
    "scaling.quiet",
    "CPU below {cpu_below_percent:g} % and connections below {connections_below:g} for {periods} "
    "periods",
)
says("scaling.recorded", "{reason}")
says(
    "scaling.no_demand",
    "How many webservers a load needs is known only with a service demand, and there is none of "
    "this run.",
)
says(
    "scaling.one_scale_out",
    "This is one scale-out: the interval says only how well its times are known; run more to learn "
    "how delays vary.",
)
says(
    "scaling.traffic_by_metrics",
    "When a new webserver took traffic is known only to about a metric period ({period_s:g} s).",
)
says(
    "scaling.start_up_unknown",
    "In {scale_outs} of the scale-outs the metrics do not tell the CPU of starting up from that of "
    "calls: the new webserver may have taken traffic later than said.",
)
says(
    "scaling.vague_load_steps",
    "{scale_outs} of the scale-outs came in a ramp or a trace, where the load step is known only "
    "to one metric period.",
)


@says("scaling.cpu_above")
def _(threshold_percent: float, observed_percent: float | None = None) -> str:
    seen = f" ({words.percent(observed_percent)})" if observed_percent is not None else ""
    return f"CPU above {words.percent(threshold_percent)}{seen}"


@says("scaling.connections_above")
def _(threshold: float, observed: float | None = None, per_webserver: bool = False) -> str:
    of = " per webserver" if per_webserver else ""
    seen = f" ({words.trimmed(observed)})" if observed is not None else ""
    return f"connections{of} above {words.trimmed(threshold)}{seen}"


@says("scaling.no_scale_out")
def _(what: str) -> str:
    named = {"whole": "whole delay"}.get(what, what)
    return f"There was no scale-out of which the {named} is known."


@says("scaling.needed_by_demand")
def _(
    rate_per_webserver_per_s: float,
    least_webservers: int,
    most_webservers: int | None,
    above_most_fraction: float,
) -> str:
    text = (
        f"Needed are the offered rate / {rate_per_webserver_per_s:.3g} calls/s, which by the "
        "service demand hold one webserver at the utilisation target, rounded up, and at least "
        f"{least_webservers}."
    )
    if above_most_fraction:
        share = f"{100 * above_most_fraction:.0f} %"
        text += f" In {share} of the time that is more than the {most_webservers} allowed."
    return text
