"""All input and output: scenarios, environments, traffic, records, commands.

May import `analysis`, never `locustfiles`. boto3 lives in `aws/` and `transport/` only; Locust is started
by `generator.py` as a process of its own and imported nowhere here.
"""
