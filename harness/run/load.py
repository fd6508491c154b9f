"""The load itself: the generator is watched until its schedule ends or somebody stops it."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from mwaa_headroom.harness.aws.collector import LatestMetrics
from mwaa_headroom.harness.run.environments import RunEnvironment
from mwaa_headroom.harness.run.host_watch import HostWatch
from mwaa_headroom.harness.run.load_processes import (
    EXIT_ABORTED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    GENERATOR_LOG,
    Generator,
    GeneratorStatus,
)
from mwaa_headroom.harness.run.progress import LoadStatus, Progress
from mwaa_headroom.harness.run.recording import Recording
from mwaa_headroom.harness.scenario.model import Limits, Scenario

Ending = Literal["finished", "interrupted", "aborted", "failed"]

LOOK_INTERVAL_S = 0.5
DRAIN_MARGIN_S = 10.0  # beyond the longest call: writing the last rows, leaving Locust

_ENDINGS: dict[int, Ending] = {
    EXIT_FINISHED: "finished",
    EXIT_ABORTED: "aborted",
    EXIT_INTERRUPTED: "interrupted",
    -signal.SIGTERM: "interrupted",  # it came before Locust listened to signals
}


def carry_load(
    generator: Generator,
    environment: RunEnvironment,
    recording: Recording,
    progress: Progress,
    *,
    latest_metrics: Callable[[], LatestMetrics | None],
    longest_call_s: float,
    host: HostWatch,
    reason_to_abort: Callable[[], str | None],
) -> Ending:
    """Run the generator to its end, copying the environment's events into the record meanwhile.

    KeyboardInterrupt asks the generator to drain and stop; a second one kills it. A generator that
    overstays its schedule is stopped too: a run ends on its own, whatever happens.

    Args:
        generator: not started yet.
        environment: watched, so that its end ends the load.
        recording: gets events and notes.
        progress: is told the load and what goes wrong.
        latest_metrics: of the collector.
        longest_call_s: attempts and waits between them included.
        host: entered by the caller.
        reason_to_abort: asked all the time; what it says ends the load.
    """
    drain_s = longest_call_s + DRAIN_MARGIN_S
    longest_s = generator.longest_start_s + longest_load_s(recording.scenario, drain_s)
    watched = _Watched(
        generator, environment, recording, progress, latest_metrics, host, reason_to_abort
    )
    generator.start()
    try:
        ending = watched.until_it_ends(time.monotonic() + longest_s)
    except KeyboardInterrupt:
        progress.step("Interrupted: finishing the calls in flight (Ctrl-C again to kill them)")
        ending = "interrupted"
    except BaseException:
        generator.kill()  # load must not go on when nobody watches it
        raise
    code = _stop(generator, drain_s)
    recording.copy_events(environment.new_events())
    if not environment.is_alive():  # calls that failed by it may have ended the load already
        recording.event("environment_ended", logs=environment.logs)
        logs = environment.logs
        progress.note(f"The local environment ended during the load; its logs in {logs} say why.")
        return "interrupted" if ending == "interrupted" else "failed"
    if ending is None and code not in _ENDINGS:
        why = generator.logged_reason() or f"{GENERATOR_LOG} says why."
        watched.tell_end(f"The load generator ended with code {code}: {why}")
    return ending or _ENDINGS.get(code, "failed")


@dataclass(slots=True)
class _Watched:
    """A load that goes on, and who is told of it."""

    generator: Generator
    environment: RunEnvironment
    recording: Recording
    progress: Progress
    latest_metrics: Callable[[], LatestMetrics | None]
    host: HostWatch
    reason_to_abort: Callable[[], str | None]
    told: set[str] = field(default_factory=set)

    def until_it_ends(self, give_up_at_s: float) -> Ending | None:
        """None: by itself."""
        while self.generator.is_running() and self.environment.is_alive():
            self.recording.copy_events(self.environment.new_events())
            self.recording.look_at_clock()
            self.host.look()
            self._tell_news()
            if reason := self.generator.problem_at_start():
                self.tell_end(reason)
                return "failed"
            if pain := self.reason_to_abort():
                self.progress.note(pain)
                self.recording.event("aborted", reason=pain)
                return "aborted"
            if reason := _reason_to_stop(give_up_at_s):
                self._tell(reason)
                return "failed"
            time.sleep(LOOK_INTERVAL_S)
        return None

    def tell_end(self, reason: str) -> None:
        """The generator ended before it should."""
        self.progress.note(reason)
        self.recording.event("generator_ended", reason=reason)

    def _tell_news(self) -> None:
        status = self.generator.latest()
        if status is not None and status.stage is not None:
            metrics, scenario = self.latest_metrics(), self.recording.scenario
            self.progress.load(load_status(status, status.stage, metrics, scenario))
        if status is not None and status.workers_lost:  # the record has each of them
            self._tell_once(_loss_of_workers(status.workers_lost), self.progress.note)
        if self.generator.keys_problem:
            self._tell_once(self.generator.keys_problem, self._tell)

    def _tell_once(self, text: str, tell: Callable[[str], None]) -> None:
        if text not in self.told:
            self.told.add(text)
            tell(text)

    def _tell(self, text: str) -> None:
        self.progress.note(text)
        self.recording.note(text)


def too_much_cpu(limits: Limits, latest: LatestMetrics | None) -> str | None:
    """Why the webservers' CPU ends the load; None: it does not."""
    percent = None if latest is None else latest.cpu_percent
    most = limits.abort_webserver_cpu
    if most is None or percent is None or percent <= most:
        return None
    return f"The webservers' CPU is at {percent:.0f} %, limits.abort_webserver_cpu is {most:g}."


def longest_load_s(scenario: Scenario, drain_s: float) -> float:
    """How long the stages take at most, if each has a recovery and is drained for `drain_s`."""
    after_each_s = drain_s
    if scenario.recovery_rate_per_s is not None:
        after_each_s += scenario.recovery.longest_s
    return sum(stage.duration_s + after_each_s for stage in scenario.stages)


def _reason_to_stop(give_up_at_s: float) -> str:
    if time.monotonic() > give_up_at_s:
        return "The load generator was stopped: it ran on long after its schedule."
    return ""


def _loss_of_workers(lost: int) -> str:
    share = "Its share of this stage is" if lost == 1 else "Their shares of their stages are"
    processes = "A load process is" if lost == 1 else f"{lost} load processes are"
    return f"{processes} lost. {share} recorded as unsent; later stages go to those that are left."


def load_status(
    status: GeneratorStatus, phase: int, metrics: LatestMetrics | None, scenario: Scenario
) -> LoadStatus:
    """What there is to show in a stage (`phase` from 0 on) or the recovery after one (below 0)."""
    recovers = phase < 0
    number = -1 - phase if recovers else phase
    stage = scenario.stages[number]
    this_s = scenario.recovery.longest_s if recovers else stage.duration_s
    later_s = sum(later.duration_s for later in scenario.stages[number + 1 :])
    return LoadStatus(
        stage=number,
        stages=len(scenario.stages),
        stage_name=f"recovery after {stage.name}" if recovers else stage.name,
        rate_per_s=scenario.recovery_rate_per_s if recovers else stage.rate_per_s,
        users=stage.users,
        remaining_s=max(0.0, this_s - status.elapsed_s) + later_s,
        sent=status.sent,
        errors=status.errors,
        unsent=status.unsent,
        in_flight=status.in_flight,
        webservers=None if metrics is None else metrics.webservers,
        cpu_percent=None if metrics is None else metrics.cpu_percent,
    )


def _stop(generator: Generator, drain_s: float) -> int:
    """Make sure that the generator is gone, gently first; returns its exit code."""
    if generator.is_running():
        generator.request_stop()
    try:
        return generator.wait(drain_s)
    except (TimeoutError, KeyboardInterrupt):
        generator.kill()
        return generator.wait()
