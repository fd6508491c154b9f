"""Entry for Locust: an open-loop load test of one MWAA environment through InvokeRestApi.

By itself, with Locust's web UI; users in the UI are the senders, nothing is recorded:

    locust -f locustfiles/invoke_rest_api.py --headroom-scenario scenarios/smoke.toml

The UI listens on this machine only, unless --web-host says otherwise. By itself it never tidies up:
DAG runs and variables that it creates stay, and so does a paused state; `headroom run` cleans up.

Or started by `headroom run`, which names a run directory in HEADROOM_RUN_DIR: scenario and targets
are read from there and the record is written there.
"""

import logging
import os
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import locust

from harness.errors import HeadroomError
from harness.generator import (
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    RUN_DIR_VARIABLE,
)
from harness.transport.outcome import CallResult
from locustfiles.journal import Report
from locustfiles.load_test import LoadTest
from locustfiles.output import NoOutput, RunDirectoryOutput
from locustfiles.plan import Plan, plan_by_itself, plan_of_run
from locustfiles.users import InvokeRestApiUser

__all__ = ["InvokeRestApiUser"]  # Locust takes its users from this module

events: Any = locust.events  # its annotations are incomplete
DEFAULT_SCENARIO = "scenarios/smoke.toml"

logger = logging.getLogger(__name__)


class CallFailedError(Exception):
    """What Locust's statistics show for a call that did not end well."""


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser, **_: Any) -> None:
    """What `locust` can be told when it runs by itself."""
    parser.set_defaults(web_host="127.0.0.1")  # Locust's own default is all interfaces
    group: Any = parser.add_argument_group("headroom")
    group.add_argument(
        "--headroom-scenario",
        env_var="HEADROOM_SCENARIO",
        default=DEFAULT_SCENARIO,
        metavar="FILE",
        help=f"Scenario to run, default {DEFAULT_SCENARIO}.",
    )
    group.add_argument(
        "--mwaa-environment",
        env_var="MWAA_ENVIRONMENT",
        default="",
        metavar="NAME",
        help="Environment to call instead of the one the scenario names; it must be up already.",
    )


@events.init.add_listener
def prepare(environment: Any, **_: Any) -> None:
    """Find out what to do, and do it whenever Locust starts a test."""
    run_dir = os.environ.get(RUN_DIR_VARIABLE)
    try:
        if run_dir:
            plan, output = plan_of_run(Path(run_dir)), RunDirectoryOutput(Path(run_dir))
            conductor = _Conductor(
                environment,
                lambda report: LoadTest(plan, output, report),
                exit_code_if_stopped=EXIT_INTERRUPTED,
            )
            _forget_locust_settings(environment.parsed_options)
        else:
            plan = _plan_from_options(environment)
            conductor = _Conductor(
                environment,
                lambda report: LoadTest(plan.again(), NoOutput(), report),
                # By itself, a test that its user or --run-time stops has ended well.
                exit_code_if_stopped=EXIT_FINISHED,
            )
    except HeadroomError as exc:
        logger.critical("%s", exc)
        raise SystemExit(EXIT_UNUSABLE) from exc
    conductor.listen(senders=plan.scenario.limits.max_in_flight)


def _forget_locust_settings(options: Any) -> None:
    """A ~/.locust.conf of the user's must not shrink a run: its scenario says it all."""
    options.num_users = options.spawn_rate = options.run_time = None


def _plan_from_options(environment: Any) -> Plan:
    options = environment.parsed_options
    return plan_by_itself(Path(options.headroom_scenario), options.mwaa_environment or None)


class _Conductor:
    """Ties the life of load tests to Locust's events; Locust runs one at a time."""

    def __init__(
        self,
        environment: Any,
        new_test: Callable[[Report], LoadTest],
        *,
        exit_code_if_stopped: int,
    ) -> None:
        self._environment = environment
        self._new_test = new_test
        self._exit_code_if_stopped = exit_code_if_stopped
        self._test: LoadTest | None = None

    def listen(self, *, senders: int) -> None:
        """Register for the events; `senders` is how many Locust starts if nobody says otherwise."""
        events.test_start.add_listener(self._on_test_start)
        events.spawning_complete.add_listener(self._on_all_senders_up)
        events.test_stopping.add_listener(self._on_stop)
        events.quitting.add_listener(self._on_stop)
        options = self._environment.parsed_options
        if options.num_users is None:
            options.num_users = senders
        if options.spawn_rate is None:
            options.spawn_rate = options.num_users

    def _on_test_start(self, **_: Any) -> None:
        self._test = InvokeRestApiUser.load_test = self._new_test(self._report)

    def _on_all_senders_up(self, **_: Any) -> None:
        gevent.spawn(self._run)

    def _run(self) -> None:
        test = self._test
        if test is None or not test.run():
            return
        runner = self._environment.runner
        if self._environment.parsed_options.headless:
            runner.quit()
        else:
            runner.stop()

    def _on_stop(self, **_: Any) -> None:
        if self._test is None:  # told to quit before anything began
            self._environment.process_exit_code = self._exit_code_if_stopped
            return
        self._test.finish()
        code = self._test.exit_code
        was_stopped = code == EXIT_INTERRUPTED
        self._environment.process_exit_code = self._exit_code_if_stopped if was_stopped else code

    def _report(
        self, label: str, start_s: float, latency_s: float | None, result: CallResult
    ) -> None:
        failure = None
        if result.outcome != "ok":
            detail = f" ({result.error_code})" if result.error_code else ""
            failure = CallFailedError(f"{result.outcome}{detail}")
        self._environment.events.request.fire(
            request_type="InvokeRestApi",
            name=label,
            response_time=None if latency_s is None else latency_s * 1000,
            response_length=result.response_bytes or 0,
            exception=failure,
            context={},
            start_time=start_s,
        )
