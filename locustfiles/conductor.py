"""Ties the life of load tests to Locust's events; Locust runs one at a time."""

from collections.abc import Callable
from typing import Any

import gevent
from locust.runners import MasterRunner

from harness.generator import EXIT_INTERRUPTED
from locustfiles.load_test import LoadTest


class Conductor:
    """Of a process that sends by itself, or of a master.

    Args:
        environment: Locust's.
        new_test: makes the next test.
        exit_code_if_stopped: of this process, when somebody stopped the last test.
    """

    def __init__(
        self, environment: Any, new_test: Callable[[], LoadTest], *, exit_code_if_stopped: int
    ) -> None:
        self._environment = environment
        self._new_test = new_test
        self._exit_code_if_stopped = exit_code_if_stopped
        self._test: LoadTest | None = None

    def listen(self, *, senders: int) -> None:
        """Register for the events; `senders` is how many Locust starts if nobody says otherwise."""
        events = self._environment.events
        events.test_start.add_listener(self._on_test_start)
        events.spawning_complete.add_listener(self._on_all_senders_up)
        events.test_stopping.add_listener(self._on_test_stopping)
        events.quitting.add_listener(self._on_stop)
        options = self._environment.parsed_options
        if options.num_users is None:
            options.num_users = senders
        if options.spawn_rate is None:
            options.spawn_rate = options.num_users

    def _on_test_start(self, **_: Any) -> None:
        self._test = self._new_test()

    def _on_all_senders_up(self, **_: Any) -> None:
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

    def _let_locust_start_again(self) -> None:
        vars(self._environment.runner).pop("start", None)

    def _on_test_stopping(self, **_: Any) -> None:
        # Locust also stops when the last worker is lost, and then waits for others for ever. The
        # test sees that by itself, ends, and says that it failed, not that somebody stopped it.
        runner = self._environment.runner
        if not isinstance(runner, MasterRunner) or runner.worker_count:
            self._on_stop()

    def _on_stop(self, **_: Any) -> None:
        self._let_locust_start_again()
        if self._test is None:  # told to quit before anything began
            self._environment.process_exit_code = self._exit_code_if_stopped
            return
        self._test.finish()
        code = self._test.exit_code
        was_stopped = code == EXIT_INTERRUPTED
        self._environment.process_exit_code = self._exit_code_if_stopped if was_stopped else code


def _do_nothing(*_: Any, **__: Any) -> None:
    """Instead of Locust's `start`, while a test goes on."""
