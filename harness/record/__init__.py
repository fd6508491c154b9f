"""The crash-safe writer of a run directory: streams, events, manifest, and finishing the tables.

A kill at any moment loses at most the rows since the last flush. Nothing here knows AWS, Locust or
the stand-in, nothing here reads a record back for analysis (that is `analysis.records`), and no
secret passes: `harness.record.directory` refuses keys that look like one.
"""
