"""How many webservers a load needs, from one run, and how sure that is.

From several runs, with environment classes and prices: `analysis.planning.size`.
"""
