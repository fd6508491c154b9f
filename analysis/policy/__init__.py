"""The autoscaling policy: the documented rule, what is not documented as parameters, what follows.

Simulator, replay and fit live here, and the rule itself, which the local stand-in obeys too: were
there two, the simulator would prove nothing about it. Runs come in as plain values (`recorded`).
"""
