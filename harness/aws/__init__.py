"""Every use of AWS except the calls under load: clients, facts, metrics, preflight, cleaning up.

boto3 and botocore stay in this room (and in `harness.transport`): their errors are translated here,
once, and plain frozen values leave. The local stand-in is only another pair of endpoint URLs.
Nothing here may send load, judge a result or write a record by itself.
"""
