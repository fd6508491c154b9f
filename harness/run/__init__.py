"""One run from start to end: environment, preflight, load, collection, record.

`session.py` is the order of things, the other modules are its parts; `answers.py` reports and plans
from finished runs.
"""
