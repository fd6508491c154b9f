"""Real Airflow on this machine: installing, starting and limiting it.

Its own virtual environment, its own PostgreSQL, a scheduler and any number of webservers. Knows
nothing of the gateway in front of the webservers, of load or of analysis. The only module that
knows one Airflow version from another is `release`.
"""
