"""What is called and when: operations, arrivals, traces, schedules, and overload.

Everything here is a pure function of the scenario, a seed, the targets and the traces: no clock, no
sleep, no network; the only files are the targets and traces kept in a run directory. Sending lives
in `locustfiles/` and `harness/transport/`.
"""
