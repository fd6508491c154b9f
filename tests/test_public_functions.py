"""What `import mwaa_headroom` offers, over the frozen runs."""

import subprocess
import sys
from pathlib import Path

import pytest

import mwaa_headroom as headroom
from mwaa_headroom.analysis.schema import REQUESTS_SCHEMA

FROZEN = Path(__file__).parent / "frozen_runs"


@pytest.fixture(scope="module")
def run() -> headroom.Run:
    return headroom.load(FROZEN / "virtual_capacity")


def test_importing_it_imports_nothing_heavy() -> None:
    script = (
        "import sys, mwaa_headroom\n"
        "print(sorted({'numpy', 'pyarrow', 'click', 'mwaa_headroom.analysis'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_run_has_all_columns_of_its_requests(run: headroom.Run) -> None:
    assert run.requests.schema.names == REQUESTS_SCHEMA.names
    assert run.metrics.num_rows > 0


def test_a_folder_with_several_runs_is_no_run() -> None:
    with pytest.raises(headroom.HeadroomError, match="holds 15 runs"):
        headroom.load(FROZEN / "compared")


def test_a_missing_run_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(headroom.HeadroomError, match="no run directory"):
        headroom.capacity([tmp_path / "nothing"])


def test_a_run_and_its_directory_give_the_same_answers(run: headroom.Run) -> None:
    directory = FROZEN / "virtual_capacity"

    assert headroom.analyse(run) == headroom.analyse(directory)
    assert headroom.capacity(run) == headroom.capacity(str(directory))


def test_runs_and_directories_can_be_given_together(run: headroom.Run) -> None:
    curve = headroom.capacity([run, FROZEN / "pinned_three"])

    assert [count.webservers for count in curve.counts] == [2, 3]


def test_a_run_that_is_named_twice_counts_once() -> None:
    once = headroom.capacity(FROZEN / "pinned_three")

    assert headroom.capacity([FROZEN / "pinned_three", str(FROZEN / "pinned_three")]) == once


@pytest.mark.parametrize("load", [(20, 30), (20.0, 30.0), "20-30"])
def test_a_load_can_be_given_as_numbers_or_as_text(
    run: headroom.Run, load: tuple[float, float] | str
) -> None:
    answer = headroom.size(run, load, region="us-west-2")

    assert (answer.low_per_s, answer.high_per_s) == (20, 30)
    assert answer.recommended is not None


def test_a_load_of_one_rate(run: headroom.Run) -> None:
    answer = headroom.size(run, 12.5)

    assert (answer.low_per_s, answer.high_per_s) == (12.5, 12.5)


@pytest.mark.parametrize("load", [0, -3, (30, 20), "much"])
def test_a_wrong_load_is_refused(run: headroom.Run, load: object) -> None:
    with pytest.raises(headroom.HeadroomError):
        headroom.size(run, load)  # type: ignore[arg-type]


def test_dearer_calls_are_a_regression() -> None:
    runs = [FROZEN / "compared" / f"{number:02}" for number in range(1, 16)]

    assert headroom.compare(runs[:5], runs[10:]).exit_code == 4
    assert headroom.compare(runs[:5], runs[5:10], margin=0.25).exit_code == 0


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sise'"):
        headroom.sise  # noqa: B018
