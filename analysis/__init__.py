"""From run directories to answers: pure functions of records.

Read in this order: `record` and `calls`, `metric_periods` -> `stages` -> `run` (one run, computed
when asked for) -> `results`.

`generator/`    whether the load generator bent the numbers
`capacity/`     of one run: the highest stage that met the SLO, the rate at which it breaks
`sizing/`       of one run: webservers by CPU, and how uncertain a rate is
`scaling/`      what autoscaling was seen to do
`policy/`       the autoscaling rule: simulated, fitted to runs, asked "what if"
`planning/`     from several runs: capacity over webserver counts, a size for a load
`comparison/`   baseline against contender runs, and the history of many
`report/`       documents of all of these, and every sentence

No clock, no network, no environment variables, no import of `harness`. matplotlib and jinja2 only
in `report/`.
"""
