from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from gateway_stand import Stand

from mwaa_headroom.harness.local.settings import GatewaySettings, StandInSettings


@pytest.fixture
def start_stand(tmp_path: Path) -> Iterator[Callable[..., Stand]]:
    """Start a stand; keyword arguments are those of Stand, or of GatewaySettings."""
    with ExitStack() as stack:

        def start(**choices: Any) -> Stand:
            gateway = {
                k: choices.pop(k) for k in list(choices) if k in GatewaySettings.model_fields
            }
            settings = StandInSettings(gateway=GatewaySettings(**gateway))
            return stack.enter_context(
                Stand(tmp_path / "trail.jsonl", **{"settings": settings, **choices})
            )

        yield start


@pytest.fixture
def stand(start_stand: Callable[..., Stand]) -> Stand:
    """A stand with default settings and one webserver."""
    return start_stand()
