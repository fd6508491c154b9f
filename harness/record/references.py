"""What people call a run by, besides its path: `latest`, `latest~1`, an id's beginning, a tag.

A reference is looked up in the folder that stands before it (`old-runs/latest`), else in `runs`. A
path that is there is always the path.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from mwaa_headroom.analysis.nearest import did_you_mean
from mwaa_headroom.harness.errors import RecordError, UsageError
from mwaa_headroom.harness.record.directory import LATEST_LINK
from mwaa_headroom.harness.record.listing import ListedRun, listed_runs, run_names
from mwaa_headroom.harness.validation import refuse_secrets

RUNS_FOLDER: Final = "runs"
_BACK: Final = re.compile(rf"{LATEST_LINK}(?:~([0-9]{{1,9}}))?")
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,99}")
_MOST_NAMED: Final = 3


def tags_of(given: Iterable[str]) -> dict[str, str]:
    """Tags as they are typed, KEY=VALUE.

    Raises:
        UsageError: one is none, a key comes twice, or looks like that of a secret.
    """
    tags: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (equals and _KEY.fullmatch(key) and _VALUE.fullmatch(value)):
            raise UsageError(
                f"'{text}' is no tag: give KEY=VALUE, such as branch=main; a key has up to 40 "
                "letters, digits, '_', '.' and '-', a value up to 100 of these, ':', '/', '@' and "
                "'+'."
            )
        if key in tags:
            raise UsageError(f"The tag '{key}' is given twice: leave one out.")
        tags[key] = value
    refuse_secrets(tags, where="the tags")
    return tags


def runs_named(reference: Path) -> list[Path]:
    """The run directories a reference means: one, or all with a tag, the earliest first.

    Raises:
        RecordError: there is none, or the beginning of an id is that of several.
    """
    place, equals, value = str(reference).partition("=")
    folder, name = Path(place).parent, Path(place).name
    if folder == Path() and not str(reference).startswith("./"):
        folder = Path(RUNS_FOLDER)
    if not folder.is_dir():
        raise RecordError(
            f"There is no run directory '{reference}', nor a folder '{folder}' with runs: give "
            "one, or go to the folder that has it."
        )
    if equals:
        return _tagged(folder, name, value, reference)
    if back := _BACK.fullmatch(name):
        return [_before_latest(folder, int(back[1] or 0), reference)]
    return [folder / _beginning(name, run_names(folder), folder, reference)]


def _tagged(folder: Path, key: str, value: str, reference: Path) -> list[Path]:
    runs = listed_runs(folder)
    if found := [folder / run.run for run in runs if run.tags.get(key) == value]:
        return found
    others = sorted({run.tags[key] for run in runs if key in run.tags})
    keys = {known for run in runs for known in run.tags}
    known = f"; of {key} there is {_named(others)}" if others else f", nor any other {key}"
    near = did_you_mean(value, others) if others else did_you_mean(key, keys)
    raise RecordError(
        f"There is no run '{reference}'{near}: none in '{folder}' has that tag{known}."
    )


def _before_latest(folder: Path, back: int, reference: Path) -> Path:
    runs = [run for run in listed_runs(folder) if run.verdict != "damaged"]
    latest = (folder / LATEST_LINK).resolve().name  # of several that began, the one that got going
    names = [run.run for run in runs]
    index = (names.index(latest) if latest in names else len(names) - 1) - back
    if index < 0:
        raise RecordError(f"There is no run '{reference}': '{folder}' holds {len(names)} in all.")
    return folder / names[index]


def _beginning(text: str, names: Sequence[str], folder: Path, reference: Path) -> str:
    """The only name that begins so."""
    found = [name for name in names if name.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RecordError(
            f"'{reference}' is the beginning of {_named(found)}: give more of the name."
        )
    if not names:
        raise RecordError(f"There is no run directory '{reference}', nor any run in '{folder}'.")
    newest = [run.run for run in listed_runs(folder)[::-1]]
    raise RecordError(
        f"There is no run '{reference}'{did_you_mean(text, [LATEST_LINK, *newest])} in '{folder}'; "
        f"the newest are {_named(newest)}."
    )


def shortest(runs: Sequence[ListedRun]) -> list[str]:
    """By what each run can be called: its name up to the first dash if that is enough, else all."""
    names = [run.run for run in runs]
    heads = [name.partition("-")[0] for name in names]
    return [
        head if sum(other.startswith(head) for other in names) == 1 else name
        for head, name in zip(heads, names, strict=True)
    ]


def _named(names: Sequence[str]) -> str:
    shown = [f"'{name}'" for name in names[:_MOST_NAMED]]
    if more := len(names) - len(shown):
        return f"{', '.join(shown)} and {more} more"
    *first, last = shown
    return f"{', '.join(first)} and {last}" if first else last
