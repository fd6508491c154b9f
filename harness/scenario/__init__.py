"""Scenarios: what to ask, of which environment, with which traffic. Model, file loading, overrides.

Only parsing and checking lives here; nothing in this room talks to an environment.
"""

from mwaa_headroom.harness.scenario.load import load_scenario
from mwaa_headroom.harness.scenario.model import Scenario

__all__ = ["Scenario", "load_scenario"]
