"""Airflow 3: an asynchronous API server, /api/v2, tokens to log in for."""

import secrets
from pathlib import Path

from mwaa_headroom.harness.local.airflow.release import FAB_USERS, ROLES, Release
from mwaa_headroom.harness.local.settings import AuthManager

_MANAGERS: dict[AuthManager, str] = {
    "fab": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "simple": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
}


def airflow_3(version: str, auth_manager: AuthManager) -> Release:
    """How one version of Airflow 3 is run."""
    users = FAB_USERS if auth_manager == "fab" else ()
    return Release(
        version=version,
        auth_manager=auth_manager,
        api="/api/v2",
        health="/api/v2/monitor/health",
        prepare=(("db", "migrate"), *users, ("dags", "reserialize")),
        settings={
            "CORE__AUTH_MANAGER": _MANAGERS[auth_manager],
            "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{role}:{role}" for role in ROLES),
            # DAG files do not change: parsing them would take CPU from the webservers.
            "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
            "DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "FAB__UPDATE_FAB_PERMS": "False",  # done with the database
            "LOGGING__UVICORN_LOGGING_LEVEL": "WARNING",
        },
        secret_settings=_secret_settings,
        services={
            "scheduler": ("scheduler", "--skip-serve-logs"),  # also runs the tasks
            "dag-processor": ("dag-processor",),  # the DAGs come parsed with the database
            "triggerer": ("triggerer", "--skip-serve-logs"),
        },
        webserver=lambda port, workers, _: _server(port, workers, "core"),
        # A webserver could be that too, but the first task to call one costs it 3 CPU-seconds, in
        # the middle of a measurement, and any of them may be scaled in or killed under a running
        # task.
        task_server=lambda port: _server(port, 1, "execution"),
        login="/auth/token",
    )


def _server(port: int, workers: int, apps: str) -> tuple[str, ...]:
    address = ("--host=127.0.0.1", f"--port={port}")
    return ("api-server", *address, f"--workers={workers}", f"--apps={apps}")


def _secret_settings(passwords_file: Path) -> dict[str, str]:
    return {
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "API__SECRET_KEY": secrets.token_urlsafe(32),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_file),
    }
