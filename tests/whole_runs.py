"""What tests of whole runs share: the command, its run directory, and the processes it started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from mwaa_headroom.harness.cli.main import app

HEADROOM = str(Path(sys.executable).with_name("headroom"))


def run(
    *arguments: str, cwd: Path, variables: dict[str, str], timeout_s: float = 150
) -> subprocess.CompletedProcess[str]:
    """`headroom` with these arguments, to its end."""
    return subprocess.run(
        [HEADROOM, *arguments],
        cwd=cwd,
        env=variables,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
    )


def answer_here(*arguments: str, variables: dict[str, str]) -> Result:
    """The same in this process, for what only reads or makes a few calls; paths are absolute."""
    return CliRunner(env=variables).invoke(app, arguments, standalone_mode=False)


def start(
    *arguments: str, cwd: Path, variables: dict[str, str], before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """`headroom` with these arguments in the background; `before` may be `ip netns exec ...`."""
    # Whoever runs the tests in the background, or with nohup, would hand down what is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    return subprocess.Popen(
        [*before, HEADROOM, *arguments],
        cwd=cwd,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def until(condition: Callable[[], object], what: str, *, within_s: float = 120.0) -> None:
    """Return when the condition holds; it must, in time."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: it did not happen within {within_s:g} s"
        time.sleep(0.1)


def wait_for_load(runs: Path, *, besides: Path | None = None) -> Path:
    """The run directory (not that of an earlier run), once its generator has written rows."""

    def loaded() -> list[Path]:
        streams = [path for path in runs.glob("2*/requests.arrows") if path.parent != besides]
        return [path.parent for path in streams if path.stat().st_size > 1000]

    until(loaded, "load")
    return loaded()[0]


def pids_of(cache: Path, *words: str) -> list[int]:
    """Processes of the run whose cache this is, with these words among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (path / "cmdline").read_bytes().decode().split("\0")
            surroundings = (path / "environ").read_bytes()
        except OSError:
            continue
        ours = f"XDG_CACHE_HOME={cache}".encode() in surroundings.split(b"\0")
        if ours and all(word in arguments for word in words):
            found.append(int(path.name))
    return sorted(found)


def kill_one(cache: Path, *words: str) -> None:
    """End the one process that `pids_of` finds (the first one, if it started several)."""
    os.kill(pids_of(cache, *words)[0], signal.SIGKILL)
