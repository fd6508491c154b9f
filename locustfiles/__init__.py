"""Thin Locust adapters: users that send and a dispatcher; `locust -f` works by itself.

What a call is, when it is due and what its answer means is decided in `harness/traffic` and
`harness/transport`; nothing imports this folder.
"""
