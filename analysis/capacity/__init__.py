"""How much load meets the SLO, from the stages of one run.

Over several runs and webserver counts: `analysis.planning.capacity_curve`. What a webserver costs
in CPU is in `analysis.demand`; how many are needed in `analysis.sizing`.
"""
