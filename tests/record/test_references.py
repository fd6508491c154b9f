"""What a run can be called by: the latest, those before it, an id's beginning, a tag."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from runs_by_hand import put_run

from mwaa_headroom.harness.errors import RecordError, UsageError
from mwaa_headroom.harness.record.references import runs_named, tags_of
from mwaa_headroom.harness.run.answers import only_run, run_directories

IDS = st.from_regex(r"2026120[12]T0[01]0000-(smoke|smoke-aws|x)-[0-9a-f]{1,2}", fullmatch=True)
NAMES = st.sets(IDS | st.sampled_from(["latest-load", "a", "ab"]), min_size=1, max_size=8)


@pytest.fixture(autouse=True)
def folder_of_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second has begun last, and is of two branches' runs the later one of main."""
    monkeypatch.chdir(tmp_path)
    runs = tmp_path / "runs"
    put_run(runs, "20261201T070000-a-1111", started_at_s=100.0, tags={"branch": "main"})
    put_run(runs, "20261201T080000-b-2222", started_at_s=300.0, tags={"branch": "main"})
    put_run(runs, "20261201T080000-c-3333", started_at_s=200.0, tags={"branch": "fix/x=1"})


def named(reference: str) -> list[str]:
    return [path.name[-4:] for path in runs_named(Path(reference))]


@pytest.mark.parametrize(
    ("reference", "runs"),
    [
        ("latest", ["2222"]),
        ("latest~0", ["2222"]),
        ("latest~1", ["3333"]),
        ("runs/latest~2", ["1111"]),
        ("20261201T07", ["1111"]),
        ("20261201T080000-c", ["3333"]),
        ("branch=main", ["1111", "2222"]),
        ("runs/branch=fix/x=1", ["3333"]),
    ],
)
def test_references_find_runs(reference: str, runs: list[str]) -> None:
    assert named(reference) == runs


def test_the_latest_is_the_one_that_got_going() -> None:
    Path("runs/latest").symlink_to("20261201T080000-c-3333")
    assert [named("latest"), named("latest~1")] == [["3333"], ["1111"]]


def test_a_damaged_run_is_no_latest() -> None:
    (Path("runs/20261201T090000-d-4444")).mkdir()
    assert named("latest") == ["2222"]
    assert named("20261201T09") == ["4444"]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("latest~3", "'runs' holds 3 in all"),
        ("20261201T08", "'20261201T080000-b-2222' and '20261201T080000-c-3333'"),
        ("nothing", "the newest are '20261201T080000-b-2222', '20261201T080000-c-3333'"),
        ("branch=dev", "of branch there is 'fix/x=1' and 'main'"),
        ("commit=1", "nor any other commit"),
        ("elsewhere/latest", "nor a folder 'elsewhere'"),
        ("latest~", "There is no run 'latest~'"),
    ],
)
def test_what_refers_to_none_or_several_is_told_with_those_there_are(
    reference: str, told: str
) -> None:
    with pytest.raises(RecordError) as problem:
        runs_named(Path(reference))
    assert told in str(problem.value)


def test_a_path_that_is_there_is_the_path() -> None:
    elsewhere = put_run(Path("latest"), "mine").resolve()
    assert only_run(Path("latest")) == elsewhere


def test_several_runs_may_be_named_by_a_tag_but_not_one() -> None:
    assert len(run_directories([Path("branch=main"), Path("latest")])) == 2
    with pytest.raises(RecordError, match="is a tag of 2 runs"):
        only_run(Path("branch=main"))


@given(names=NAMES, data=st.data())
def test_any_beginning_that_only_one_name_has_finds_it(
    names: set[str], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(names)))
    text = name[: data.draw(st.integers(1, len(name)))]
    assume(text != "latest")
    found = [other for other in names if other.startswith(text)]
    with TemporaryDirectory() as base, chdir(base):
        for each in names:
            Path("runs", each).mkdir(parents=True)
            Path("runs", each, "manifest.json").touch()
        if text in names:
            assert only_run(Path("runs") / text).name == text
        elif len(found) == 1:
            assert [path.name for path in runs_named(Path(text))] == found
        else:
            with pytest.raises(RecordError, match="is the beginning of"):
                runs_named(Path(text))


def test_tags_are_kept_as_they_are_typed() -> None:
    assert tags_of(["branch=fix/x", "build=3.1:7"]) == {"branch": "fix/x", "build": "3.1:7"}


@pytest.mark.parametrize(
    "given_tags",
    [["x"], ["=x"], ["x="], ["a b=c"], ["a=b c"], ["a=\n"], ["a=1", "a=2"], ["api_key=1"]],
)
def test_what_is_no_tag_is_refused(given_tags: list[str]) -> None:
    with pytest.raises(UsageError):
        tags_of(given_tags)
