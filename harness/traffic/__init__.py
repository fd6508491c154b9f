"""What is called and when: operations, targets, arrival schedules, the mix.

Everything here is a pure function of the scenario, a seed and the targets: no clock, no sleep, no
network. Sending lives in `locustfiles/` and `harness/transport/`.
"""
