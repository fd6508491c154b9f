"""What limits what is known of service demands."""

from mwaa_headroom.analysis.findings import Finding
from mwaa_headroom.analysis.report import words
from mwaa_headroom.analysis.report.sentences import says, told

says(
    "demand.few_periods",
    "A service demand needs at least {needed} whole metric periods with {idle_percent:.0f} to "
    "{saturated_percent:.0f} % CPU and a constant webserver count, there are {periods}.",
)
says(
    "demand.near_saturation",
    "Only {periods} metric periods had the load for at most {usual_percent:.0f} % CPU, so those "
    "with up to {highest_percent:.0f} % were used too; near saturation calls may cost more.",
)
says(
    "demand.few_for_trust",
    "Only {periods} metric periods were usable; with fewer than {needed} the interval is likely "
    "too narrow.",
)
says(
    "demand.background_unknown",
    "The load hardly varied, so CPU that webservers use without calls is counted into the demand "
    "of calls.",
)
says(
    "demand.errors_last",
    "What a call costs, or what else used CPU, seems to have risen and fallen over many metric "
    "periods (other work on the host, or a host of changing speed): the interval is wider for it, "
    "and may still be too narrow; longer runs, or several, tell more.",
)
says(
    "demand.load_rose_with_time",
    "The load rose or fell with time, so a drift of the host is hardly told from what calls cost, "
    "and the interval is much wider for it; run the stages up and down.",
)
says("demand.at_bound", "Only the upper limit is known: the estimate is at its bound of 0.")
says(
    "demand.no_upper_limit",
    "No upper limit can be told: by these metric periods calls might cost no CPU at all; run "
    "longer stages with rates further apart.",
)
says(
    "demand.few_periods_per_operation",
    "Demands of {operations} operations need at least {needed} usable metric periods, there are "
    "{periods}; run longer stages.",
)
says(
    "demand.operations_varied_together",
    "The operations varied together (condition number {condition_number:.0f}, at most "
    "{limit:.0f} is usable), so their demands cannot be told apart; run stages with one operation "
    "each.",
)
says(
    "demand.rates_varied_little",
    "Rates varied too little to tell operations from what webservers use without calls (condition "
    "number {condition_number:.0f}, at most {limit:.0f} is usable); run stages with one operation "
    "each, and one with hardly any calls.",
)
says(
    "demand.one_period_decides",
    "An operation was called in hardly more than one usable metric period, so its demand cannot be "
    "told; run longer stages.",
)


@says("demand.other_shares")
def _(reason: Finding) -> str:
    return f"The calls did not come in the shares of the mix. {told(reason)}"


@says("demand.operations_missing")
def _(operations: tuple[str, ...], usual_percent: float) -> str:
    return (
        f"There are no calls of {', '.join(operations)} in usable metric periods, so the demand of "
        "the mix is not known; send them too, at a rate that keeps webservers below "
        f"{usual_percent:.0f} % CPU."
    )


@says("demand.calls_failed")
def _(periods: int, most_failed: float) -> str:
    return (
        f"In {words.counted(periods, 'metric period')} more than {100 * most_failed:g} % of the "
        "calls failed after they may have reached a webserver; what such calls cost is not known, "
        "so these periods are not used."
    )


@says("demand.depends_on_load")
def _(at_least: tuple[float, float], at_most: tuple[float, float]) -> str:
    (low_cpu, low_s), (high_cpu, high_s) = at_least, at_most
    return (
        f"A call seems to cost {'more' if high_s > low_s else 'less'} at higher load: "
        f"{1000 * low_s:.3g} ms of CPU at {words.share(low_cpu)} utilisation, "
        f"{1000 * high_s:.3g} ms at {words.share(high_cpu)}. The demand is that at the utilisation "
        "target."
    )


@says("demand.background_drifted")
def _(cpus: float, webserver_cpu: float) -> str:
    return (
        "While the run lasted, the CPU that webservers use without calls "
        f"{'rose' if cpus > 0 else 'fell'} by {100 * abs(cpus) / webserver_cpu:.2g} points; this "
        "is not counted into the demand."
    )


@says("demand.one_period_weighs")
def _(start_s: float, share: float) -> str:
    return (
        f"More than half of the demand's uncertainty ({words.share(share)}) is from the metric "
        f"period at {words.time_of_day(start_s)}: look what happened then."
    )
