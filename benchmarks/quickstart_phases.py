"""How long each phase of the quickstart takes, as a share of the whole.

Runs `headroom run scenarios/quickstart.toml` (about three minutes, real Airflow on this machine)
and prints the phases from its manifest, the rest being imports, analysis and report.

    .venv/bin/python benchmarks/quickstart_phases.py
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run once and print a table."""
    with tempfile.TemporaryDirectory() as runs:
        headroom = Path(sys.executable).with_name("headroom")
        began_s = time.monotonic()
        ended = subprocess.run(
            [headroom, "run", "scenarios/quickstart.toml", "--runs", runs, "--no-progress"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        whole_s = time.monotonic() - began_s
        manifest = json.loads((Path(runs) / "latest" / "manifest.json").read_text())
    phases: dict[str, float] = manifest["phases_s"]
    print(f"quickstart, exit code {ended.returncode}")
    for phase, duration_s in phases.items():
        print(f"{phase:20} {duration_s:7.1f} s {duration_s / whole_s:6.1%}")
    rest_s = whole_s - sum(phases.values())
    print(f"{'rest':20} {rest_s:7.1f} s {rest_s / whole_s:6.1%}")
    print(f"{'whole':20} {whole_s:7.1f} s")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
