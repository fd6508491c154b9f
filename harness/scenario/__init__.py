"""Scenarios: what to ask, of which environment, with which traffic. Model, files, overrides.

Only parsing and checking lives here; nothing here talks to an environment.
"""
