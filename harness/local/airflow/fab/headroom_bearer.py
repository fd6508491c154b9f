"""Airflow 2's check of callers: who shows a user's secret token is that user.

Loaded by Airflow as an authentication backend of its API; the project never imports it. Airflow's
own basic authentication hashes a password in every call, which takes 150 ms of CPU: more than most
calls. MWAA's web sessions cost about what this does, one look-up of the user.
"""

# mypy: ignore-errors
# ^ Airflow lives in an environment of its own, without types as far as this project can see.

import json
from functools import cache, wraps
from pathlib import Path

from airflow.configuration import conf
from airflow.www.extensions.init_auth_manager import get_auth_manager
from flask import Response, request
from flask_login import login_user

CLIENT_AUTH = None


def init_app(_):
    """Nothing to prepare: the tokens do not exist yet when the database is made."""


def requires_authentication(function):
    """Have `function` called for known users only, as the user whose token the request has."""

    @wraps(function)
    def checked(*args, **kwargs):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        name = users_by_token().get(token) if scheme == "Bearer" else None
        if name is None:
            return Response("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})
        login_user(get_auth_manager().security_manager.find_user(username=name), remember=False)
        return function(*args, **kwargs)

    return checked


@cache
def users_by_token():
    """Names of users by their tokens."""
    tokens = json.loads(Path(conf.get("headroom", "tokens_file")).read_text(encoding="utf-8"))
    return {token: name for name, token in tokens.items()}
