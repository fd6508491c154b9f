"""Time that goes on evenly, and what is known of a clock that was set."""

from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.harness.epoch_clock import SMALLEST_STEP_S, EpochClock


class Hands:
    """A monotonic and a wall clock for a test to turn."""

    def __init__(self) -> None:
        self.monotonic_s, self.wall_s = 50.0, 1_000_000.0
        self.epoch = EpochClock(lambda: self.monotonic_s, lambda: self.wall_s)

    def go_on(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(-500, 500))))
def test_it_goes_on_evenly_and_tells_each_step_once(moves: list[tuple[int, int]]) -> None:
    hands = Hands()
    for passed_s, step_s in moves:
        hands.go_on(passed_s)
        hands.wall_s += step_s
        assert hands.epoch.now_s() == 1_000_000 + hands.monotonic_s - 50
        assert hands.epoch.take_step_s() == step_s
        assert hands.epoch.take_step_s() == 0
        assert hands.epoch.now_s() + hands.epoch.stepped_s == hands.wall_s


def test_what_synchronising_does_all_the_time_is_no_step() -> None:
    hands = Hands()
    hands.wall_s += 0.9 * SMALLEST_STEP_S
    assert hands.epoch.take_step_s() == 0
