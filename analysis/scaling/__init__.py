"""Autoscaling seen in a record: when it scaled, why, how long each step took, what it cost.

The rule itself, and what would happen under another load, are in `analysis.policy`.
"""
