"""One run from start to end: environment, preflight, load, collection, record, report.

`session.py` is the order of things; the other modules are its parts. Everything it needs is in
rooms beside it (`aws/`, `local/`, `record/`, `generator.py`).
"""
