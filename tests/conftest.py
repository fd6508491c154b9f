"""In what order test files are run, and how long an example of a property test may take."""

import hypothesis
import pytest

# A busy machine may take its time; and what fails here fails the same way elsewhere.
# Each example costs everybody time at every change, so a test takes more only where it needs them.
hypothesis.settings.register_profile("headroom", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("headroom")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: shared among processes, none is waited for at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
