"""What runs inside Locust: a test plan carried out by one process, or a master and its workers.

`invoke_rest_api` is the Locust file (`locust -f` works by itself), `plan` what is to be sent,
`dispatcher` hands due arrivals to `senders` (the Locust users), `recorder` keeps a row per arrival.

What a call is, when it is due and what its answer means is decided in `harness/traffic` and
`harness/transport`; nothing imports this folder.
"""
