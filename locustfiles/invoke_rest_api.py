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
import signal
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import gevent
import locust
from locust.runners import MasterRunner, WorkerRunner

from mwaa_headroom.harness.aws.credentials import HandedCredentials
from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.run.load_processes import (
    ALLOW_VARIABLE,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    HANDED_KEYS_VARIABLE,
    PARENT_VARIABLE,
    RUN_DIR_VARIABLE,
)
from mwaa_headroom.harness.transport.outcome import CallResult
from mwaa_headroom.locustfiles.channel import Channel
from mwaa_headroom.locustfiles.load_test import GeneratorMaker, LoadTest
from mwaa_headroom.locustfiles.master import Master
from mwaa_headroom.locustfiles.plan import Plan, plan_of_run, plan_of_scenario, transport_of
from mwaa_headroom.locustfiles.recorder import NoOutput, ReportToLocust, RunDirectoryOutput
from mwaa_headroom.locustfiles.senders import InvokeRestApiUser
from mwaa_headroom.locustfiles.single_process import SingleProcess
from mwaa_headroom.locustfiles.worker import Worker

__all__ = ["InvokeRestApiUser"]  # Locust takes its users from this module

events: Any = locust.events  # its annotations are incomplete
DEFAULT_SCENARIO = "scenarios/smoke.toml"
LOOK_FOR_PARENT_EVERY_S = 1.0

logger = logging.getLogger(__name__)


def _end_with(parent: int) -> None:
    """Once `headroom` is gone, have Locust end this process in order, as SIGTERM does.

    Load must not go on when nobody watches it.
    """
    while os.getppid() == parent:
        gevent.sleep(LOOK_FOR_PARENT_EVERY_S)
    logger.critical("Whoever started this process is gone, so it ends.")
    os.kill(os.getpid(), signal.SIGTERM)


# Locust ends in order on SIGTERM and knows no SIGHUP, which a closing terminal sends.
if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
    gevent.signal_handler(signal.SIGHUP, os.kill, os.getpid(), signal.SIGTERM)

# Already now: a worker may wait long for its master.
if PARENT_VARIABLE in os.environ:
    gevent.spawn(_end_with, int(os.environ[PARENT_VARIABLE]))


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
            _load_for_headroom_run(environment, Path(run_dir))
        else:
            _load_by_itself(environment)
    except HeadroomError as exc:
        logger.critical("%s", exc)
        raise SystemExit(EXIT_UNUSABLE) from exc


def _be_a_worker(environment: Any) -> None:
    def give_up(refused: bool) -> None:
        environment.process_exit_code = EXIT_UNUSABLE if refused else EXIT_INTERRUPTED
        environment.runner.quit()

    worker = Worker(
        Channel(environment.runner),
        InvokeRestApiUser.pool,
        allowed_arn=os.environ.get(ALLOW_VARIABLE, ""),
        keys=_handed_keys(),
        report=_report_to(environment),
        give_up=give_up,
    )
    for event in (events.test_stopping, events.quitting):
        event.add_listener(lambda **_: worker.finish())


def _load_for_headroom_run(environment: Any, run_dir: Path) -> None:
    plan = plan_of_run(run_dir)
    make_generator = _generator_maker(environment, plan, None)
    options = environment.parsed_options
    # A ~/.locust.conf of the user's must not shrink a run: its scenario says it all.
    options.num_users = options.spawn_rate = options.run_time = None
    LocustTests(
        environment,
        lambda: LoadTest(plan, RunDirectoryOutput(run_dir), make_generator),
        senders=plan.scenario.limits.max_in_flight,
        exit_code_if_stopped=EXIT_INTERRUPTED,
    )


def _load_by_itself(environment: Any) -> None:
    options = environment.parsed_options
    plan = plan_of_scenario(Path(options.headroom_scenario), options.mwaa_environment or None)
    make_generator = _generator_maker(environment, plan, _report_to(environment))
    LocustTests(
        environment,
        lambda: LoadTest(plan.with_new_run_id(), NoOutput(), make_generator),
        senders=plan.scenario.limits.max_in_flight,
        # By itself, a test that its user or --run-time stops has ended well.
        exit_code_if_stopped=EXIT_FINISHED,
    )


def _generator_maker(environment: Any, plan: Plan, report: ReportToLocust | None) -> GeneratorMaker:
    """What makes the generator of each test: of a master, or of a process that sends by itself.

    Raises:
        HeadroomError: this process cannot send what is planned.
    """
    if isinstance(environment.runner, MasterRunner):
        channel, tests = Channel(environment.runner), count(1)
        return lambda plan, record: Master(
            channel, next(tests), plan, record, statistics=report is not None
        )
    transport = transport_of(plan, _handed_keys())
    return lambda plan, record: SingleProcess(
        plan, transport, InvokeRestApiUser.pool, record, report
    )


def _handed_keys() -> HandedCredentials | None:
    return HandedCredentials() if HANDED_KEYS_VARIABLE in os.environ else None


class LocustTests:
    """Carries out a load test whenever Locust starts one; not for workers.

    Args:
        environment: Locust's.
        new_test: makes the next test.
        senders: how many users Locust starts if nobody says otherwise.
        exit_code_if_stopped: of this process, when somebody stopped the last test.
    """

    def __init__(
        self,
        environment: Any,
        new_test: Callable[[], LoadTest],
        *,
        senders: int,
        exit_code_if_stopped: int,
    ) -> None:
        self._environment = environment
        self._new_test = new_test
        self._exit_code_if_stopped = exit_code_if_stopped
        self._test: LoadTest | None = None
        environment.events.test_start.add_listener(self._on_test_start)
        environment.events.spawning_complete.add_listener(self._on_spawning_complete)
        environment.events.test_stopping.add_listener(self._on_test_stopping)
        environment.events.quitting.add_listener(self._on_quitting)
        options = environment.parsed_options
        if options.num_users is None:
            options.num_users = senders
        if options.spawn_rate is None:
            options.spawn_rate = options.num_users

    def _on_test_start(self, **_: Any) -> None:
        self._test = self._new_test()

    def _on_spawning_complete(self, **_: Any) -> None:
        runner = self._environment.runner
        if isinstance(runner, MasterRunner):
            # When a worker comes or goes Locust would spread the senders anew, and end some that
            # have a call in flight.
            vars(runner)["start"] = _do_nothing
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

    def _on_test_stopping(self, **_: Any) -> None:
        # Locust also stops when the last worker is lost, and then waits for others for ever. The
        # test sees that by itself, ends, and says that it failed, not that somebody stopped it.
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner) or runner.worker_count:
            self._on_quitting()

    def _on_quitting(self, **_: Any) -> None:
        vars(self._environment.runner).pop("start", None)
        if self._test is None:  # told to quit before anything began
            self._environment.process_exit_code = self._exit_code_if_stopped
            return
        self._test.finish()
        code = self._test.exit_code
        was_stopped = code == EXIT_INTERRUPTED
        self._environment.process_exit_code = self._exit_code_if_stopped if was_stopped else code


def _do_nothing(*_: Any, **__: Any) -> None:
    """Instead of Locust's `start`, while a test goes on."""


def _report_to(environment: Any) -> ReportToLocust:
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
