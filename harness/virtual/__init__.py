"""A run of kind "simulated" in virtual time: hours of load in seconds, the record of a real run.

What happens is computed event by event instead of waited for; nothing is sent and no process is
started. Everything that decides is the real thing: the schedules, the shared processor, the
sampling of metrics, the scaling rule, the throttle, the SLO's judgement, preflight, and what every
row says. Mirrored here, because the originals live on an event loop, are only the balancer's
choice, the life of a webserver, and the order of phases.

No clock, no sleep, no network and no randomness without the run's seed: times are counted from the
run's start. Nothing here knows more of the webservers than their settings.
"""
