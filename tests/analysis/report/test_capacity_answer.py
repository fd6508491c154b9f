"""The answer to `headroom capacity` as it is read."""

import math
import re
from dataclasses import fields, is_dataclass

import pytest
from trials_by_hand import trials

from mwaa_headroom.analysis.planning.capacity_curve import CapacityCurve, capacity_curve
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.planning.capacity import capacity_sections
from mwaa_headroom.analysis.report.planning.terminal import render_answer
from mwaa_headroom.analysis.report.plots.capacity_curve import draw_capacity_curve
from mwaa_headroom.analysis.report.plots.drawing import style
from mwaa_headroom.analysis.report.plots.gallery import as_inline_svg

CURVE = capacity_curve(
    [
        trials("one", 1, {10.0: 0.01, 12.0: 0.03, 14.0: 0.09}),
        trials("two", 2, {20.0: 0.01, 22.0: None, 24.0: 0.03, 28.0: 0.09}),
        trials("three", 3, {30.0: 0.01, 36.0: 0.03, 42.0: 0.09}),
        trials("four", 4, {40.0: 0.01}),
    ]
)
REFUSED = capacity_curve([trials("a", 1, {10.0: 0.1}), trials("b", 1, {9.0: 0.0}, airflow="2.9")])


def text(curve: CapacityCurve, width: int = 100) -> str:
    return render_answer(capacity_sections(curve), colour=False, width=width)


def drawn(curve: CapacityCurve) -> str:
    with style():
        figure = draw_capacity_curve(curve)
    assert figure is not None
    return as_inline_svg(figure, "capacity_curve")


def test_the_answer_ends_with_the_sentence_and_begins_with_the_slo() -> None:
    lines = text(CURVE).splitlines()

    assert lines[:4] == ["Capacity", "", "SLO", "  p95(latency) < 1s"]
    assert text(CURVE).replace("\n", " ").endswith(CURVE.sentence)
    answer = capacity_sections(CURVE)
    assert answer.headline == "12.9 to 38.7 calls/s with 1 to 3 webservers"
    assert answer.tone == "good"


def test_every_count_and_every_trial_has_its_row() -> None:
    shown = text(CURVE)

    (row,) = re.findall(r"^ +2 +25\.8 \(.*$", shown, re.M)
    assert "webserver CPU" in row
    assert re.search(r"^ +2 +22 +\? .*Its latency still rose\.$", shown, re.M)
    assert re.search(r"^ +2 +28 +✗ .*p95\(latency\) < 1s was 1\.2 s$", shown, re.M)
    assert "4 webservers: Stage 1 (40 calls/s) was the highest and met the SLO." in shown


def test_how_it_grows() -> None:
    shown = " ".join(text(CURVE).split())

    assert "Contention by Amdahl's law:" in shown


def test_what_to_try_next_names_a_rate_and_a_duration() -> None:
    assert "Hold 4 webservers at 60 calls/s for 5 minutes." in text(CURVE)
    known = capacity_curve([trials("fine", 2, {20.0: 0.03, 20.8: 0.08})])
    assert "Nothing: the capacity of every count is known well enough." in text(known)


def test_a_refusal_says_why_and_draws_nothing() -> None:
    answer = capacity_sections(REFUSED)

    assert (answer.headline, answer.tone) == ("No capacity", "unsure")
    assert "The runs differ in Airflow" in text(REFUSED)
    assert draw_capacity_curve(REFUSED) is None


@pytest.mark.parametrize("width", [72, 80, 100])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in text(CURVE, width).splitlines()) <= width


def test_json_has_everything_and_no_infinity() -> None:
    found = as_json(CURVE)

    assert found["schema_version"] == 1
    assert [each["webservers"] for each in found["counts"]] == [1, 2, 3, 4]
    assert found["counts"][3]["capacity_per_s"]["value"] is None
    assert all(math.isfinite(number) for number in _numbers(CURVE))


def _numbers(value: object) -> list[float]:
    if isinstance(value, float):
        return [value]
    if is_dataclass(value):
        return [n for field in fields(value) for n in _numbers(getattr(value, field.name))]
    return [n for each in value for n in _numbers(each)] if isinstance(value, tuple) else []


def test_the_picture_shows_trials_and_both_lines() -> None:
    svg = drawn(CURVE)

    for words in ("held", "broke", "undecided", "proportional", "Amdahl", "12.9 ("):
        assert words in svg


def test_the_picture_of_one_count_has_no_lines_to_draw() -> None:
    svg = drawn(capacity_curve([trials("one", 1, {10.0: 0.01, 14.0: 0.09})]))

    assert "capacity, 95 % interval" in svg
    assert "proportional" not in svg
    assert "Amdahl" not in svg


def test_the_picture_without_any_capacity_still_shows_what_was_tried() -> None:
    svg = drawn(capacity_curve([trials("held", 2, {8.0: 0.01, 10.0: 0.01})]))

    assert "held" in svg
    assert "capacity, 95 % interval" not in svg
