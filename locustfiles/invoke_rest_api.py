"""Entry for Locust: an open-loop load test of one MWAA environment through InvokeRestApi.

By itself, with Locust's web UI; users in the UI are the senders, nothing is recorded:

    locust -f locustfiles/invoke_rest_api.py --headroom-scenario scenarios/smoke.toml

Or started by `headroom run`, which names a run directory in HEADROOM_RUN_DIR: scenario and targets
are read from there and the record is written there.
"""

import logging
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import gevent
import locust

from harness.errors import HeadroomError
from harness.generator import EXIT_UNUSABLE, RUN_DIR_VARIABLE
from harness.transport.outcome import CallResult
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
    """Read the plan, and make a load test of it whenever Locust starts one."""
    run_dir = os.environ.get(RUN_DIR_VARIABLE)
    try:
        plan = plan_of_run(Path(run_dir)) if run_dir else _plan_from_options(environment)
    except HeadroomError as exc:
        logger.critical("%s", exc)
        raise SystemExit(EXIT_UNUSABLE) from exc
    _Conductor(environment, plan, Path(run_dir) if run_dir else None).listen()


def _plan_from_options(environment: Any) -> Plan:
    options = environment.parsed_options
    return plan_by_itself(Path(options.headroom_scenario), options.mwaa_environment or None)


class _Conductor:
    """Ties a load test's life to Locust's events."""

    def __init__(self, environment: Any, plan: Plan, run_dir: Path | None) -> None:
        self._environment = environment
        self._plan = plan
        self._run_dir = run_dir
        self._test: LoadTest | None = None

    def listen(self) -> None:
        """Register for the events; the senders are as many as the scenario allows by default."""
        events.test_start.add_listener(self._on_test_start)
        events.spawning_complete.add_listener(self._on_all_senders_up)
        events.test_stopping.add_listener(self._on_stop)
        events.quitting.add_listener(self._on_stop)
        options = self._environment.parsed_options
        if options.num_users is None:
            options.num_users = self._plan.scenario.limits.max_in_flight
        if options.spawn_rate is None:
            options.spawn_rate = options.num_users

    def _on_test_start(self, **_: Any) -> None:
        output = RunDirectoryOutput(self._run_dir) if self._run_dir else NoOutput()
        plan = self._plan if self._run_dir else self._plan.again()
        self._test = InvokeRestApiUser.load_test = LoadTest(plan, output, self._report)

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
        if self._test is not None:
            self._test.finish()
            self._environment.process_exit_code = self._test.exit_code

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
