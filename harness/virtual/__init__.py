"""A run of kind "simulated" in virtual time: hours of load in seconds, the record of a real run.

What happens is computed event by event instead of waited for; nothing is sent and no process is
started. Everything that decides is the real thing: the schedules, the shared processor, the meter,
the scaling rule, the throttle, the SLO's judgement, preflight, and the words of every row. Mirrored
here, because the originals live on an event loop, are only the balancer's choice, the life of a
webserver, and the order of phases.

No clock and no sleep may live here (times are counted from the run's start), no network and no
randomness without the run's seed. Nothing here may know more of the webservers than their settings.
"""
