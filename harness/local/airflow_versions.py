"""Which Airflow versions can run on this machine.

Outside the room `airflow`, so that settings can be checked without importing what runs Airflow.
"""

from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "airflow" / "requirements"


def known_versions() -> tuple[str, ...]:
    """The Airflow versions whose packages are pinned, and which can thus be installed."""
    return tuple(sorted(file.stem for file in REQUIREMENTS.glob("*.txt")))
