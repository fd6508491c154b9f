"""What theory says of a run, beside what was measured and never in its place.

Queueing models, the Universal Scalability Law, and the truth of simulated webservers.
"""
