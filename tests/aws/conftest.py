from collections.abc import Iterator
from functools import cache

import botocore.loaders
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


@pytest.fixture(scope="session", autouse=True)
def service_models_are_read_once() -> Iterator[None]:
    """Each session of boto3's would parse megabytes of JSON again."""
    loader = botocore.loaders.create_loader()
    read, list_services = (
        cache(loader.file_loader._load_file),
        cache(loader.list_available_services),
    )
    with pytest.MonkeyPatch.context() as patch:
        reader = type(loader.file_loader)
        patch.setattr(reader, "_load_file", lambda _, path, opening: read(path, opening))
        patch.setattr(type(loader), "list_available_services", lambda _, kind: list_services(kind))
        yield
