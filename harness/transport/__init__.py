"""One call, one outcome: how an InvokeRestApi call is sent and what its answer means.

A transport is any callable from `RestCall` to `CallResult` that never raises for what the
environment or the network does. Beside `harness.aws` this is the only room that uses boto3.
"""
