"""Every use of AWS except the calls under load: clients, facts, metrics, preflight, cleaning up.

boto3 and botocore stay here and in `harness.transport`: their errors are translated here, once, and
plain values leave. The local stand-in is only another pair of endpoint URLs. Nothing here sends
load or judges a result.
"""
