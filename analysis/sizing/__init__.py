"""How many webservers a load needs by the CPU of one run, and how uncertain such rates are.

From several runs, with environment classes and prices: `analysis.planning.size`.
"""
