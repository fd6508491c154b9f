"""Outcomes of calls and the layer that is to blame for each; blame is assigned nowhere else."""

from typing import Final

LAYER_OF_OUTCOME: Final[dict[str, str | None]] = {
    "ok": None,
    "throttled": "service",
    "denied": "caller",
    "invalid": "caller",
    "not_found": "caller",
    "service_timeout": "service",
    "service_error": "service",
    "response_too_large": "service",
    "airflow_client_error": "airflow",
    "airflow_server_error": "airflow",
    "client_timeout": "network",
    "connection_error": "network",
    "unsent": "generator",
}
LAYERS: Final = ("caller", "service", "airflow", "network", "generator")

# Outcomes of calls that never reached a webserver and so cost it nothing.
OUTCOMES_BEFORE_WEBSERVER: Final = frozenset(
    {"throttled", "denied", "invalid", "not_found", "unsent"}
)
