"""How many webservers of which class a load needs, for one run and from several.

Prices are values here; where they are read from is the business of `harness.aws.prices`.
"""
