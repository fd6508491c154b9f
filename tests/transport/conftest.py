from collections.abc import Iterator

import pytest
from canned_service import CannedServer, listening_server, point_aws_at


@pytest.fixture(scope="module")
def listening() -> Iterator[CannedServer]:
    with listening_server() as canned:
        yield canned


@pytest.fixture
def server(listening, monkeypatch) -> CannedServer:
    fresh = CannedServer(url=listening.url)
    for name in CannedServer.__dataclass_fields__:
        setattr(listening, name, getattr(fresh, name))
    point_aws_at(monkeypatch, listening.url)
    return listening
