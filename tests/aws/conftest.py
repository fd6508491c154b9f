from collections.abc import Iterator

import pytest
from canned_mwaa import CannedMwaa, handler_of, serving


@pytest.fixture(scope="module")
def listening() -> Iterator[CannedMwaa]:
    mwaa = CannedMwaa()
    with serving(handler_of(mwaa)) as url:
        mwaa.url = url
        yield mwaa


@pytest.fixture
def canned(listening: CannedMwaa) -> Iterator[CannedMwaa]:
    url = listening.url
    yield listening
    listening.url = url
    listening.forget()
