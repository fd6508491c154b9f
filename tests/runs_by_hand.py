"""Folders of runs to be found again: frozen ones under other names, times and tags."""

import json
import shutil
from pathlib import Path
from typing import Any

FROZEN = Path(__file__).parent / "frozen_runs"


def put_run(
    folder: Path, name: str, *, of: str = "simulated_check", whole: bool = False, **changes: Any
) -> Path:
    """A run in a folder: its manifest with these keys, and its report; `whole`: its record too."""
    directory = folder / name
    directory.mkdir(parents=True)
    for path in (FROZEN / of).iterdir():
        if whole or path.name in ("manifest.json", "report.json"):
            shutil.copy(path, directory)
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    manifest |= {"run_id": name, **changes}
    (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return directory
