"""What all tests share: their order, the examples of property tests, and what is read once."""

import os
from collections.abc import Iterator
from functools import cache

import hypothesis
import pytest
from botocore.loaders import JSONFileLoader
from browser import MISSING

# What commands print is the same wherever the tests run.
for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(name, None)

# A busy machine may take its time; and what fails here fails the same way elsewhere.
# Each example costs everybody time at every change, so a test takes more only where it needs them.
hypothesis.settings.register_profile("headroom", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("headroom")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: shared among processes, none is waited for at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def service_models_are_read_once() -> Iterator[None]:
    """Every client of boto3 would parse a megabyte of JSON anew, and there are hundreds."""
    load_file = cache(JSONFileLoader().load_file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JSONFileLoader, "load_file", lambda _, path: load_file(path))
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was not tested is said aloud: a page nobody looked at is no page that works."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = [str(report.longrepr[2]) for report in skipped if MISSING in str(report.longrepr)]
    if reasons:
        terminalreporter.section("MISSING", sep="!", red=True)
    for reason in sorted(set(reasons)):
        count = reasons.count(reason)
        terminalreporter.line(f"{count} tests were not run: {reason.removeprefix('Skipped: ')}")
