"""What a log file says about why something failed, in a few words."""

from pathlib import Path

_TAIL_BYTES = 8192
_LONGEST = 200
_TELLING = ("error", "fatal", "exception", "failed", "no solution", "denied", "cannot", "no such")


def hint(log_path: Path) -> str:
    """`; see LOG` with the log's last telling line in front of it, if there is a short one."""
    line = last_telling_line(log_path)
    return f" ({line}); see {log_path}" if line else f"; see {log_path}"


def last_telling_line(log_path: Path) -> str:
    """The last line that looks like a reason, else the last line; empty if too long or none."""
    try:
        with log_path.open("rb") as log:
            log.seek(max(log.seek(0, 2) - _TAIL_BYTES, 0))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in _TELLING)]
    line = (telling or lines or [""])[-1].rstrip(".")
    return line if len(line) <= _LONGEST else ""
