"""Texts that stay as they are: `UPDATE_GOLDEN=1 pytest tests/analysis/report` writes them anew."""

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, text: str) -> str:
    """The golden file's text; with UPDATE_GOLDEN set it is `text`, which is written."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")
