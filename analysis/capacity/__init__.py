"""How much load meets the SLO, by trials: stages at one webserver count, of one run or of several.

What a webserver costs in CPU is in `analysis.demand`; how many are needed in `analysis.sizing`.
"""
