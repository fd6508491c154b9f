"""Reports about several runs, put where the user wants them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import RecordError


@contextmanager
def writing_into(directory: Path) -> Iterator[None]:
    """Tell in one sentence that a report's directory cannot be written.

    Raises:
        RecordError: instead of an OSError inside the `with` block.
    """
    try:
        yield
    except OSError as exc:
        raise RecordError(
            f"Cannot write into {directory}: {exc.strerror}; give another directory."
        ) from exc
