"""Many runs held against each other: two sets of them, or their history.

The run is the unit everywhere; what one run says comes from `analysis.run`.
"""
