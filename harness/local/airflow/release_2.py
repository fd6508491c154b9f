"""Airflow 2: gunicorn with synchronous workers, /api/v1, users kept by Flask-AppBuilder (FAB)."""

import secrets
from pathlib import Path

from mwaa_headroom.harness.local.airflow.release import FAB, FAB_USERS, Command, Release


def airflow_2(version: str) -> Release:
    """How one version of Airflow 2 is run."""
    return Release(
        version=version,
        auth_manager="fab",
        api="/api/v1",
        health="/api/v1/health",
        prepare=(("db", "migrate"), *FAB_USERS, ("dags", "reserialize")),
        settings={
            "API__AUTH_BACKENDS": "headroom_bearer",
            "FAB__UPDATE_FAB_PERMS": "False",  # done with the database
            "SCHEDULER__DAG_DIR_LIST_INTERVAL": "3600",
            # By default a DAG counts as gone when it was not parsed for ten minutes.
            "SCHEDULER__DAG_STALE_NOT_SEEN_DURATION": str(30 * 24 * 3600),
            "SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "3600",
            "SCHEDULER__PARSING_PROCESSES": "1",
            "SCHEDULER__STANDALONE_DAG_PROCESSOR": "True",  # as on MWAA: its health says so
            "WEBSERVER__ACCESS_LOGFILE": "",
            "WEBSERVER__WORKER_REFRESH_INTERVAL": "0",
        },
        secret_settings=_secret_settings,
        services={
            "scheduler": ("scheduler", "--skip-serve-logs"),
            "dag-processor": ("dag-processor",),
            "triggerer": ("triggerer", "--skip-serve-logs"),
        },
        webserver=_webserver,
        python_path=FAB,
    )


def _webserver(port: int, workers: int, home: Path) -> Command:
    address = ("--hostname=127.0.0.1", f"--port={port}")
    # By its file gunicorn sees whether it is running already: not one for all webservers.
    pid_file = home / f"webserver-{port}.pid"
    return ("webserver", *address, f"--workers={workers}", f"--pid={pid_file}")


def _secret_settings(passwords_file: Path) -> dict[str, str]:
    return {
        "HEADROOM__TOKENS_FILE": str(passwords_file),
        "WEBSERVER__SECRET_KEY": secrets.token_urlsafe(32),
    }
