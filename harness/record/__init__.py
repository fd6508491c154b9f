"""The crash-safe writer of a run directory: streams, events, manifest, and finishing the tables.

A kill at any moment loses at most the rows since the last flush. Nothing here reads a record back
for analysis (that is `analysis.record`), and no secret passes: keys that look like one are refused.
"""
