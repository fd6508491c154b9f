"""The order of things in a load test, with a generator that does as its script says."""

from functools import partial

import pytest
from load_parts import ManualClock, MemoryOutput, plan_by_hand, scenario_of
from rows_by_hand import rows_by_hand

from mwaa_headroom.analysis.slo import parse_slo
from mwaa_headroom.harness.epoch_clock import EpochClock
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.traffic.overload import AbortRule, Overload
from mwaa_headroom.locustfiles.dispatcher import Drained
from mwaa_headroom.locustfiles.load_test import StageSequence
from mwaa_headroom.locustfiles.recorder import RunRecord, Tally

LEAD_IN_S = 0.25
ALL_WELL = ["run 0", "update", "drain", "update", "run 1", "update", "drain", "update"]


class ScriptedGenerator:
    """On a clock moved by hand: each phase takes its time, and rows come as scripted.

    Args:
        service_time_s: by stage, of its calls.
        stopped_in: the phase in which somebody stops the test.
    """

    lead_in_s = LEAD_IN_S
    tally = Tally()

    def __init__(self, clock, epoch, *, service_time_s=None, stopped_in=None, in_flight=0):
        self.done = []
        self.starts_s = {}
        self.in_flight = in_flight
        self.ended_early = False
        self.overload = None  # where rows go
        self.after_each_second = lambda: None
        self._service_time_s = {0: 0.1, 1: 0.1, -1: 0.1, -2: 0.1} | (service_time_s or {})
        self._stopped_in = stopped_in
        self._clock = clock
        self._epoch = epoch
        self._rows = []

    def run(self, phase, start_s):
        self.done.append(f"run {phase.stage}")
        self.starts_s[phase.stage] = start_s
        self.ended_early = False
        self._clock.now_s = start_s
        for second in range(round(phase.duration_s)):
            self._clock.now_s = start_s + second + 1
            self._rows.append((phase.stage, second, start_s))
            if phase.stage == self._stopped_in:
                return False
            self.after_each_second()
            if self.ended_early:
                break
        return True

    def update(self):
        self.done.append("update")
        self.bring_rows()

    def bring_rows(self):
        for stage, second, start_s in self._rows:
            due_s = partial(self._due_s, start_s)
            self.overload.add(
                rows_by_hand(
                    range(second * 10, second * 10 + 10),
                    stage=stage,
                    starts_s=due_s,
                    service_time_s=self._service_time_s[stage],
                )
            )
        self._rows.clear()

    def end_phase(self):
        self.done.append("end phase")
        self.ended_early = True

    def drain(self):
        self.done.append("drain")
        self._clock.now_s += 0.5
        return Drained(self.in_flight, 0.5)

    def _due_s(self, start_s, arrival):
        return self._epoch.epoch_s(start_s + arrival / 10)


class Play:
    """A sequence of two stages of 10 s, and what came of it."""

    def __init__(self, *, recovery=None, **script):
        recovery = {"hold_s": 3.0, "longest_s": 20.0} if recovery is None else recovery
        scenario = scenario_of(
            {"name": "low", "rate_per_s": 10, "duration_s": 10, "warmup_s": 2},
            {"name": "high", "rate_per_s": 10, "ramp_to_rate_per_s": 20, "duration_s": 10},
            recovery=recovery,
        )
        self.clock = ManualClock()
        self.epoch = EpochClock(self.clock)
        self.output = MemoryOutput()
        self.generator = ScriptedGenerator(self.clock, self.epoch, **script)
        slos = [parse_slo(line) for line in scenario.slo]
        self.overload = Overload(slos, hold_s=scenario.recovery.hold_s)
        self.generator.overload = self.overload
        rule = AbortRule(limit=1.0, window_s=1.0)
        record = RunRecord(self.output, self.overload, rule, self.epoch)
        plan = plan_by_hand(scenario)
        self.stages = StageSequence(plan, self.generator, self.overload, record)
        self.generator.after_each_second = self.look

    def look(self):
        self.generator.bring_rows()
        self.stages.end_recovery_if_recovered()

    def run(self):
        return self.stages.run()

    @property
    def told(self):
        return [(event["kind"], event["stage"]) for event in self.output.events]


def test_stage_after_stage():
    play = Play()
    assert (play.stages.stage, play.stages.stage_name) == (None, "")
    assert play.run() is True
    assert play.generator.done == ALL_WELL
    assert play.told == [
        (kind, stage) for stage in (0, 1) for kind in ("stage_started", "stage_ended", "drained")
    ]
    stages = play.stages
    assert (stages.stage, stages.stage_name) == (1, "high")
    assert stages.stage_started_s == play.generator.starts_s[1]


def test_times_of_events():
    """A stage lasts from its first possible arrival to its planned end, on the time of day."""
    play = Play()
    began_s = play.clock()
    play.run()
    first_s = play.epoch.epoch_s(began_s + LEAD_IN_S)
    assert [event["time_s"] - first_s for event in play.output.events[:3]] == pytest.approx(
        [0.0, 10.0, 10.5]
    )
    assert play.output.events[2]["took_s"] == 0.5
    assert play.generator.starts_s[1] == pytest.approx(
        play.generator.starts_s[0] + 10.5 + LEAD_IN_S
    )


def test_a_stage_that_broke_the_slo_is_followed_by_light_load_before_it_drains():
    play = Play(service_time_s={0: 5.0, -1: 0.1})
    assert play.run() is True
    assert play.generator.done == [
        *("run 0", "update", "run -1", "end phase", "update", "drain", "update"),
        *("run 1", "update", "drain", "update"),
    ]
    assert play.told[:5] == [
        ("stage_started", 0),
        ("stage_ended", 0),
        ("recovery_started", 0),
        ("recovery_ended", 0),
        ("drained", 0),
    ]
    (started,) = play.output.of_kind("recovery_started")
    (ended,) = play.output.of_kind("recovery_ended")
    assert started["rate_per_s"] == 10.0, "the lowest there is"
    assert ended["recovered"] is True
    # It held from the first call on, which is known when the first call after 3 s has its answer.
    assert 3.0 < ended["time_s"] - started["time_s"] <= 5.0


def test_the_load_is_on_while_stages_are_sent_and_not_in_recoveries():
    play = Play(service_time_s={0: 5.0})
    seen = set()

    def look():
        seen.add((play.stages.stage, play.stages.is_loading))
        play.look()

    play.generator.after_each_second = look
    play.run()
    assert seen == {(0, True), (-1, False), (1, True)}
    assert not play.stages.is_loading


def test_a_recovery_that_does_not_come_lasts_its_time():
    play = Play(service_time_s={1: 5.0, -2: 5.0})
    assert play.run() is True
    assert play.generator.done == [*ALL_WELL[:6], "run -2", "update", "drain", "update"]
    (started,) = play.output.of_kind("recovery_started")
    (ended,) = play.output.of_kind("recovery_ended")
    assert (started["stage"], ended["stage"], ended["recovered"]) == (1, 1, False)
    assert ended["time_s"] - started["time_s"] == pytest.approx(20.0)
    assert play.stages.stage_name == "recovery after high"


def test_a_server_that_froze_in_the_last_moment_is_seen_when_its_calls_have_ended():
    play = Play(service_time_s={1: 5.0})
    bring = play.generator.bring_rows
    play.generator.bring_rows = lambda: bring() if play.generator.done.count("drain") > 1 else None
    play.run()
    assert [kind for kind, stage in play.told if stage == 1] == [
        *("stage_started", "stage_ended", "drained"),
        *("recovery_started", "recovery_ended", "drained"),
    ]


def test_a_frozen_server_is_seen_by_the_calls_in_flight():
    play = Play(in_flight=50)
    play.generator.bring_rows = lambda: None  # not one call has ended
    play.run()
    assert [stage for kind, stage in play.told if kind == "recovery_started"] == [0, 1]
    assert [event["in_flight_left"] for event in play.output.of_kind("drained")] == [50, 50]


def test_the_rate_at_the_end_of_a_ramp_counts():
    """25 in flight are too many for 10/s and 1 s, but not for 20/s."""
    play = Play(in_flight=25)
    play.run()
    assert [stage for kind, stage in play.told if kind == "recovery_started"] == [0]


def test_only_the_warm_up_was_slow():
    play = Play()
    slow = rows_by_hand(
        range(20),
        starts_s=lambda n: play.epoch.epoch_s(play.clock() + LEAD_IN_S + n / 10),
        service_time_s=5.0,
    )
    look_at = play.overload.look_at

    def look_and_see_slow_ones(stage, from_s):
        look_at(stage, from_s)
        if stage == 0:
            play.overload.add(slow)

    play.overload.look_at = look_and_see_slow_ones
    play.run()
    assert play.generator.done == ALL_WELL


def test_without_recovery_phases_nothing_follows_a_broken_stage():
    play = Play(recovery={"longest_s": 0.0}, service_time_s={0: 5.0, 1: 5.0}, in_flight=99)
    assert play.run() is True
    assert [step for step in play.generator.done if step.startswith("run")] == ["run 0", "run 1"]


@pytest.mark.parametrize(
    ("stopped_in", "told"),
    [
        (0, [("stage_started", 0), ("drained", 0)]),
        (
            -1,
            [
                ("stage_started", 0),
                ("stage_ended", 0),
                ("recovery_started", 0),
                ("recovery_ended", 0),
                ("drained", 0),
            ],
        ),
    ],
)
def test_stopped_in_the_middle(stopped_in, told):
    """What was begun is drained, nothing more begins, and a stage that was cut has no end."""
    play = Play(stopped_in=stopped_in, service_time_s={0: 5.0})
    assert play.run() is False
    assert play.told == told
    assert all(event["recovered"] is False for event in play.output.of_kind("recovery_ended"))


def test_looking_outside_a_recovery_ends_nothing():
    play = Play()
    play.run()
    play.overload.look_at(0, 0.0)
    play.overload.add(rows_by_hand(range(200), starts_s=lambda n: n / 10))
    assert play.overload.has_recovered()
    play.stages.end_recovery_if_recovered()
    assert "end phase" not in play.generator.done


def test_a_generator_that_cannot_go_on_is_heard():
    play = Play()

    def broken(*_):
        raise UsageError("no.")

    play.generator.run = broken
    with pytest.raises(UsageError, match="no"):
        play.run()
