"""The record: the files of one run, their schema and their reader.

The harness writes these files (`harness/record/`), the analysis reads them, and nothing else passes
between the two. The schema lives here because the reader must understand old records for ever.
"""
