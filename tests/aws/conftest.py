from collections.abc import Iterator

import pytest
from canned_mwaa import CannedMwaa, handler_of, serving


@pytest.fixture
def canned() -> Iterator[CannedMwaa]:
    mwaa = CannedMwaa()
    with serving(handler_of(mwaa)) as url:
        mwaa.url = url
        yield mwaa
