"""What warns of an estimate or refuses it, whatever it is of."""

from mwaa_headroom.analysis.report.sentences import says

says(
    "percentile.lower_bound",
    "p{percent:g} is a lower bound: {cut_calls} calls were cut at their time limit.",
)
says(
    "percentile.no_interval",
    "An interval for p{percent:g} needs {needed} calls, there are {calls}.",
)
says("percentile.few_calls", "p{percent:g} needs at least {needed} calls, there are {calls}.")
says("share.no_calls", "There are no calls to take a share of.")
