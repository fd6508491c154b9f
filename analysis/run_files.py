"""The files of a run directory, which may come from anywhere."""

import stat
from pathlib import Path

from mwaa_headroom.analysis.errors import RecordFormatError


def run_file(directory: Path, name: str) -> Path | None:
    """A file of a run directory; None: it has none of that name.

    Raises:
        RecordFormatError: it is no regular file, or a link that leads out of the directory.
    """
    path = directory / name
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise RecordFormatError(f"'{path}' is a link that leads nowhere.") from None
        return None
    except (OSError, RuntimeError) as exc:  # RuntimeError: links in a circle
        raise RecordFormatError(f"'{path}' cannot be read: {exc}.") from exc
    if not stat.S_ISREG(mode):
        raise RecordFormatError(f"'{path}' is not a regular file.")
    if not real.is_relative_to(directory.resolve()):
        raise RecordFormatError(
            f"'{path}' is a link that leads out of the run directory; copy the file there."
        )
    return path
