"""Whether the load generator itself can have bent the numbers, and what its retries did.

The limits are stated here; the environment is judged elsewhere.
"""
