"""What GitHub Actions is told of an answer: a job summary and annotations of its verdict.

The summary goes into the file that GitHub names, annotations are lines on standard error. Where
there is no GitHub nothing is told, and nothing that goes wrong ends a command.
"""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from mwaa_headroom.harness.cli.streams import say_aside
from mwaa_headroom.harness.errors import ExitCode

if TYPE_CHECKING:
    from mwaa_headroom.analysis.report.document import Document

LARGEST_SUMMARY: Final = 1024 * 1024  # bytes of one step's file: GitHub takes no more
MOST_ANNOTATIONS: Final = 10  # of a kind in one step: GitHub leaves out the rest
_KIND_OF_EXIT: Final[Mapping[int, str]] = {
    ExitCode.OK: "notice",
    ExitCode.SLO_NOT_MET: "error",
    ExitCode.REGRESSION: "error",
}


def tell_github(
    document: "Document", exit_code: int, variables: Mapping[str, str] = os.environ
) -> None:
    """Append the document to the job summary and annotate its verdict; a second time is nothing.

    Args:
        document: an answer.
        exit_code: of its verdict.
        variables: of the process.
    """
    summary = variables.get("GITHUB_STEP_SUMMARY")
    is_new = not summary or _append(document, summary)
    if is_new and variables.get("GITHUB_ACTIONS") == "true":
        for line in annotations(document, exit_code):
            say_aside(line)


def annotations(document: "Document", exit_code: int) -> Iterator[str]:
    """Workflow commands: of the verdict, and of each case that makes it red."""
    kind = _KIND_OF_EXIT.get(exit_code, "warning")
    yield _command(kind, f"{document.title}: {document.headline}", document.sentence)
    failures = [each for each in document.cases if each.result == "failure"]
    # A run of one stage has each line twice.
    told = {(each.name, each.message): each for each in failures if each.scope != "verdict"}
    red = list(told.values())
    room = MOST_ANNOTATIONS - 1
    shown = red if len(red) <= room else red[: room - 1]
    for case in shown:
        yield _command("error", f"{case.scope}: {case.name}", case.message)
    if more := len(red) - len(shown):
        yield _command("error", f"{more} more", "The job summary and junit.xml name all of them.")


def _command(kind: str, title: str, message: str) -> str:
    return f"::{kind} title={_escaped(title, ':,')}::{_escaped(message)}"


def _escaped(text: str, further: str = "") -> str:
    for character in f"%\r\n{further}":  # the percent sign first
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _append(document: "Document", path: str) -> bool:
    """Whether the document was not in the summary yet."""
    from mwaa_headroom.analysis.report.markdown import render_markdown

    whole = render_markdown(document).encode(errors="backslashreplace")
    brief = whole.partition(b"<details>")[0]
    try:
        with open(path, "a+b") as file:  # noqa: PTH123 - as GitHub names it
            file.seek(0)
            before = file.read(LARGEST_SUMMARY + 1)
            if whole in before or brief in before:
                return False
            room = LARGEST_SUMMARY - len(before)
            answer = b"\n".join(brief.splitlines()[:3]) + b"\n"
            form = next((each for each in (whole, brief, answer) if len(each) < room), b"")
            file.write(b"\n" * bool(before and form) + form)
    except (OSError, ValueError) as exc:
        say_aside(f"The job summary cannot be written: {exc}.")
    return True
