"""Answers to plan with, from several runs: capacity over webserver counts, and a size for a load.

Prices are values here; where they are read from is the business of `harness.aws.prices`.
"""
