"""One call, one outcome: how a REST call is sent to an environment and what its answer means.

A transport is any callable from `RestCall` to `CallResult` that never raises for what the
environment or the network does; `opening` has the one that a scenario asks for. Nothing here knows
of schedules or records. gevent comes in only with the transports that run on it, so that nothing
but a load process ever imports it.
"""
