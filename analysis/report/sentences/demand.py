"""What limits what is known of service demands."""

from mwaa_headroom.analysis.findings import Finding
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
    "demand.costlier_under_load",
    "CPU grew faster than the number of calls, so a call costs less than this at low rates and "
    "more at high ones.",
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
