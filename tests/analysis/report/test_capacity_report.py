"""The document of `headroom capacity` as it is read."""

import math
from dataclasses import fields, is_dataclass

import pytest
from golden_files import golden
from trials_by_hand import trials

from mwaa_headroom.analysis.planning.capacity_curve import CapacityCurve, capacity_curve
from mwaa_headroom.analysis.report.as_json import as_json
from mwaa_headroom.analysis.report.capacity_report import capacity_document, headline
from mwaa_headroom.analysis.report.plots.capacity_curve import draw_capacity_curve
from mwaa_headroom.analysis.report.plots.drawing import as_inline_svg, style
from mwaa_headroom.analysis.report.terminal import render_terminal

CURVE = capacity_curve(
    [
        trials("one", 1, {10.0: 0.01, 12.0: 0.03, 14.0: 0.09}),
        trials("two", 2, {20.0: 0.01, 22.0: None, 24.0: 0.03, 28.0: 0.09}),
        trials("three", 3, {30.0: 0.01, 36.0: 0.03, 42.0: 0.09}),
        trials("four", 4, {40.0: 0.01}),
    ]
)
REFUSED = capacity_curve([trials("a", 1, {10.0: 0.1}), trials("b", 1, {9.0: 0.0}, airflow="2.9")])


def text(curve: CapacityCurve, *, verbose: bool = True, width: int = 100) -> str:
    document = capacity_document(curve)
    return render_terminal(document, verbose=verbose, colour=False, width=width)


def drawn(curve: CapacityCurve) -> str:
    with style():
        figure = draw_capacity_curve(curve, headline(curve))
    assert figure is not None
    return as_inline_svg(figure, "capacity_curve")


@pytest.mark.parametrize("verbose", [True, False], ids=["all", "brief"])
def test_a_capacity_reads_like_the_golden_text(verbose: bool) -> None:
    shown = text(CURVE, verbose=verbose)

    assert shown == golden("capacity.txt" if verbose else "capacity_brief.txt", shown)


def test_the_headline_says_rates_and_counts() -> None:
    document = capacity_document(CURVE)

    assert document.headline == "12.9 to 38.7 calls/s with 1 to 3 webservers"
    assert document.status == "good"
    assert [case.result for case in document.cases] == ["passed", "passed", "passed", "error"]


def test_when_every_capacity_is_known_nothing_is_left_to_try() -> None:
    known = capacity_curve([trials("fine", 2, {20.0: 0.03, 20.8: 0.08})])

    assert "Nothing: the capacity of every count is known well enough." in text(known)


def test_a_refusal_says_why_and_draws_nothing() -> None:
    document = capacity_document(REFUSED)

    assert (document.headline, document.status) == ("No capacity", "unclear")
    assert document.sentence.startswith("No capacity: the runs differ in Airflow: 3.2.1 (a); ")
    assert [case.result for case in document.cases] == ["error"]
    assert draw_capacity_curve(REFUSED, "") is None


@pytest.mark.parametrize("width", [72, 80, 100])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in text(CURVE, width=width).splitlines()) <= width


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
