"""From run directories to answers: pure functions of records.

No clock, no network, no environment variables, no import of `harness`. matplotlib and jinja2 only
in `report/`.
"""
