"""Entry for Locust: a load test of one MWAA environment through InvokeRestApi.

By itself, with Locust's web UI; users in the UI are the senders, nothing is recorded:

    locust -f locustfiles/invoke_rest_api.py --headroom-scenario scenarios/smoke.toml

The UI listens on this machine only, unless --web-host says otherwise. By itself it never tidies up:
DAG runs and variables that it creates stay, and so does a paused state; `headroom run` cleans up.

Or started by `headroom run`, which names a run directory in HEADROOM_RUN_DIR: scenario and targets
are read from there and the record is written there.

With Locust's --master it directs workers, with --worker it is one: a worker's plan comes from its
master, which listens on this machine only, unless --master-bind-host says otherwise. Load on AWS
needs HEADROOM_ALLOW_ENVIRONMENT to name the environment's ARN on the worker.
"""

import logging
import os
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

import locust
from locust.runners import MasterRunner, WorkerRunner

from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.run.load_processes import (
    ALLOW_VARIABLE,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    RUN_DIR_VARIABLE,
)
from mwaa_headroom.harness.transport.outcome import CallResult
from mwaa_headroom.locustfiles.channel import Channel
from mwaa_headroom.locustfiles.load_test import CarrierMaker, Conductor, LoadTest, follow_parent
from mwaa_headroom.locustfiles.master import Desk, MasterCarrier
from mwaa_headroom.locustfiles.plan import Blueprint, blueprint_by_itself, blueprint_of_run, plan_of
from mwaa_headroom.locustfiles.recorder import NoOutput, Report, RunDirectoryOutput
from mwaa_headroom.locustfiles.senders import InvokeRestApiUser
from mwaa_headroom.locustfiles.single_process import LoneCarrier
from mwaa_headroom.locustfiles.worker import WorkerDesk

__all__ = ["InvokeRestApiUser"]  # Locust takes its users from this module

events: Any = locust.events  # its annotations are incomplete
DEFAULT_SCENARIO = "scenarios/smoke.toml"

logger = logging.getLogger(__name__)

follow_parent()  # already now: a worker may wait long for its master


class CallFailedError(Exception):
    """What Locust's statistics show for a call that did not end well."""


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser, **_: Any) -> None:
    """What `locust` can be told when it runs by itself."""
    # Locust's own default is all interfaces, for its web UI and for whoever says to be a worker.
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1")
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
    """Find out what this process is to do, and do it whenever Locust starts a test."""
    if isinstance(environment.runner, WorkerRunner):
        _be_a_worker(environment)
        return
    run_dir = os.environ.get(RUN_DIR_VARIABLE)
    try:
        if run_dir:
            _work_for_headroom_run(environment, Path(run_dir))
        else:
            _work_by_itself(environment)
    except HeadroomError as exc:
        logger.critical("%s", exc)
        raise SystemExit(EXIT_UNUSABLE) from exc


def _be_a_worker(environment: Any) -> None:
    def give_up(refused: bool) -> None:
        environment.process_exit_code = EXIT_UNUSABLE if refused else EXIT_INTERRUPTED
        environment.runner.quit()

    desk = WorkerDesk(
        Channel(environment.runner),
        InvokeRestApiUser.pool,
        allowed_arn=os.environ.get(ALLOW_VARIABLE, ""),
        report=_reporter(environment),
        give_up=give_up,
    )
    for event in (events.test_stopping, events.quitting):
        event.add_listener(lambda **_: desk.finish())


def _work_for_headroom_run(environment: Any, run_dir: Path) -> None:
    blueprint = blueprint_of_run(run_dir)
    make_carrier = _carrier_maker(environment, blueprint, None)
    options = environment.parsed_options
    # A ~/.locust.conf of the user's must not shrink a run: its scenario says it all.
    options.num_users = options.spawn_rate = options.run_time = None
    Conductor(
        environment,
        lambda: LoadTest(blueprint, RunDirectoryOutput(run_dir), make_carrier),
        exit_code_if_stopped=EXIT_INTERRUPTED,
    ).listen(senders=blueprint.scenario.limits.max_in_flight)


def _work_by_itself(environment: Any) -> None:
    options = environment.parsed_options
    scenario_file, name = Path(options.headroom_scenario), options.mwaa_environment or None
    blueprint = blueprint_by_itself(scenario_file, name)
    make_carrier = _carrier_maker(environment, blueprint, _reporter(environment))
    Conductor(
        environment,
        lambda: LoadTest(blueprint.again(), NoOutput(), make_carrier),
        # By itself, a test that its user or --run-time stops has ended well.
        exit_code_if_stopped=EXIT_FINISHED,
    ).listen(senders=blueprint.scenario.limits.max_in_flight)


def _carrier_maker(environment: Any, blueprint: Blueprint, report: Report | None) -> CarrierMaker:
    """What makes the carrier of each test: of a master, or of a process that sends by itself.

    Raises:
        HeadroomError: this process cannot send what is planned.
    """
    if isinstance(environment.runner, MasterRunner):
        desk = Desk(Channel(environment.runner), statistics=report is not None)
        return partial(MasterCarrier, desk)
    return partial(LoneCarrier, plan_of(blueprint), InvokeRestApiUser.pool, report)


def _reporter(environment: Any) -> Report:
    """Feeds Locust's own statistics."""

    def report(label: str, start_s: float, latency_s: float | None, result: CallResult) -> None:
        failure = None
        if result.outcome != "ok":
            detail = f" ({result.error_code})" if result.error_code else ""
            failure = CallFailedError(f"{result.outcome}{detail}")
        environment.events.request.fire(
            request_type="InvokeRestApi",
            name=label,
            response_time=None if latency_s is None else latency_s * 1000,
            response_length=result.response_bytes or 0,
            exception=failure,
            context={},
            start_time=start_s,
        )

    return report
