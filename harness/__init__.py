"""All input and output: scenarios, environments, traffic, records, commands.

May import `analysis`, never `locustfiles`. boto3 lives in `aws/` and `transport/` only, besides the
stand-in, which puts its metrics with it. Locust is a process of its own, started by `generator.py`,
and imported nowhere here.
"""
