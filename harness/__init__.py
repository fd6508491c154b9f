"""All input and output: scenarios, environments, traffic, records, commands.

May import `analysis`, never `locustfiles`. boto3 lives in `aws/` and `transport/` only, besides the
stand-in, which puts its metrics with it. Locust runs in processes of its own, started by
`run/load_processes.py`, and is imported nowhere here.
"""
