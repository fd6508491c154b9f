"""Real Airflow on this machine: installing, starting and limiting it.

Its own virtual environment, its own PostgreSQL, a scheduler and any number of webservers. Only the
local stand-in uses this room; it knows nothing of the gateway in front of the webservers, of load
or of analysis. The only module that knows one Airflow version from another is `release`.
"""

from mwaa_headroom.harness.local.airflow.backend import AirflowBackend

__all__ = ["AirflowBackend"]
