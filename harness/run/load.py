"""The load itself: the generator is watched until its schedule ends or somebody stops it."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.aws.collector import LatestMetrics
from harness.generator import (
    EXIT_ABORTED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    GENERATOR_LOG,
    Generator,
    GeneratorStatus,
)
from harness.run.narrator import LoadStatus, Narrator
from harness.run.recording import Recording
from harness.scenario.model import Stage

Ending = Literal["finished", "interrupted", "aborted", "failed"]

LOOK_INTERVAL_S = 0.5
DRAIN_MARGIN_S = 10.0  # beyond the call timeout: writing the last rows, leaving Locust
START_MARGIN_S = 60.0  # until the generator has imported everything and is sending


@dataclass(frozen=True, slots=True)
class Watch:
    """What the loop looks at while the generator works."""

    latest_metrics: Callable[[], LatestMetrics | None]
    new_environment_events: Callable[[], list[dict[str, object]]]
    environment_is_alive: Callable[[], bool]
    environment_logs: str  # where the environment keeps them


def carry_load(
    generator: Generator, watch: Watch, recording: Recording, narrator: Narrator
) -> Ending:
    """Run the generator to its end, copying the environment's events into the record meanwhile.

    KeyboardInterrupt asks the generator to drain and stop; a second one kills it. A generator that
    overstays its schedule is stopped too: a run ends on its own, whatever happens.
    """
    limits, stages = recording.scenario.limits, recording.scenario.stages
    drain_s = limits.call_timeout_s + DRAIN_MARGIN_S
    longest_s = START_MARGIN_S + sum(stage.duration_s + drain_s for stage in stages)
    give_up_at_s = time.monotonic() + longest_s
    ending: Ending | None = None
    generator.start()
    try:
        while generator.is_running():
            _look(generator.latest(), watch, recording, narrator)
            reason = _reason_to_stop(watch, give_up_at_s)
            if reason:
                narrator.note(reason)
                recording.note(reason)
                ending = "failed"
                break
            time.sleep(LOOK_INTERVAL_S)
    except KeyboardInterrupt:
        narrator.step("Interrupted: finishing the calls in flight (Ctrl-C again to kill them)")
        ending = "interrupted"
    except BaseException:
        generator.kill()  # load must not go on when nobody watches it
        raise
    code = _stop(generator, drain_s)
    record_environment_events(watch.new_environment_events(), recording)
    return ending or _ending_of(code, recording)


def _reason_to_stop(watch: Watch, give_up_at_s: float) -> str:
    if not watch.environment_is_alive():
        logs = watch.environment_logs
        return f"The local environment ended during the load; its logs in {logs} say why."
    if time.monotonic() > give_up_at_s:
        return "The load generator was stopped: it ran on long after its schedule."
    return ""


def record_environment_events(events: Sequence[dict[str, object]], recording: Recording) -> None:
    """Copy the stand-in's own events into the record."""
    for event in events:
        fields = {key: value for key, value in event.items() if key not in _EVENT_KEYS}
        recording.events.write(
            str(event["kind"]),
            source="environment",
            time_s=float(str(event["time_s"])),
            **fields,
        )


_EVENT_KEYS = ("kind", "source", "time_s")


def _look(
    status: GeneratorStatus | None, watch: Watch, recording: Recording, narrator: Narrator
) -> None:
    record_environment_events(watch.new_environment_events(), recording)
    if status is not None and status.stage >= 0:
        narrator.load(_load_status(status, watch.latest_metrics(), recording.scenario.stages))


def _load_status(
    status: GeneratorStatus, metrics: LatestMetrics | None, stages: Sequence[Stage]
) -> LoadStatus:
    to_come_s = sum(stage.duration_s for stage in stages[status.stage :])
    return LoadStatus(
        stage=status.stage,
        stages=len(stages),
        stage_name=status.stage_name,
        rate_per_s=stages[status.stage].rate_per_s,
        remaining_s=max(0.0, to_come_s - status.elapsed_s),
        sent=status.sent,
        ok=status.ok,
        errors=status.errors,
        unsent=status.unsent,
        in_flight=status.in_flight,
        webservers=None if metrics is None else metrics.webservers,
        cpu_percent=None if metrics is None else metrics.cpu_percent,
    )


def _stop(generator: Generator, drain_s: float) -> int:
    """Make sure that the generator is gone, gently first."""
    if generator.is_running():
        generator.request_stop()
    try:
        return generator.wait(drain_s)
    except (TimeoutError, KeyboardInterrupt):
        generator.kill()
        return generator.wait()


def _ending_of(code: int, recording: Recording) -> Ending:
    ending = _ENDINGS.get(code)
    if ending is not None:
        return ending
    recording.note(f"The load generator ended with code {code}; {GENERATOR_LOG} says why.")
    return "failed"


_ENDINGS: dict[int, Ending] = {
    EXIT_FINISHED: "finished",
    EXIT_ABORTED: "aborted",
    EXIT_INTERRUPTED: "interrupted",
    -signal.SIGTERM: "interrupted",  # it came before Locust listened to signals
}
