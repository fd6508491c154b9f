"""Whatever callers send as JSON is read, or refused, in a moment."""

import json
import time

import pytest

from mwaa_headroom.harness.local.bounded_json import MOST_VALUES, TooManyValuesError, read_json
from mwaa_headroom.harness.local.gateway.answers import ApiError
from mwaa_headroom.harness.local.gateway.operations import read_document, read_invocation
from mwaa_headroom.harness.local.settings import GatewaySettings

MANY_BYTES = 10 * 1024 * 1024
A_MOMENT_S = 0.7  # of CPU; 10 MB of empty lists took 3 s and more


def filled(before: bytes, part: bytes, after: bytes) -> bytes:
    return before + part * ((MANY_BYTES - 100) // len(part)) + part.rstrip(b",") + after


HOSTILE = {
    "empty lists": filled(b'{"Body":[', b"[],", b"]}"),
    "empty objects": filled(b'{"Body":[', b"{},", b"]}"),
    "numbers": filled(b'{"Body":[', b"1e9,", b"]}"),
    "texts": filled(b'{"Body":[', b'"",', b"]}"),
    "members": filled(b'{"Body":{', b'"a":1,', b"}}"),
    "nested": b'{"Body":[' + (b"[" * 300 + b"]" * 300 + b",") * 17_000 + b"1]}",
    "never closed": filled(b'{"Body":', b"[", b""),
    "UTF-16": '{"Body":['.encode("utf-16") + "[],".encode("utf-16-le") * 1_700_000,
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_body_of_very_many_values_is_refused_in_a_moment(payload: bytes) -> None:
    began_s = time.process_time()
    with pytest.raises(ApiError) as refused:
        read_document(payload)
    assert time.process_time() - began_s < A_MOMENT_S
    assert (refused.value.code, refused.value.status) == ("RequestEntityTooLargeException", 413)


def test_a_large_body_of_few_values_is_taken_in_a_moment() -> None:
    payload = json.dumps({"Body": {"conf": {"payload": "x" * MANY_BYTES}}}).encode()
    began_s = time.process_time()
    assert len(read_document(payload)["Body"]["conf"]["payload"]) == MANY_BYTES  # type: ignore[index]
    assert time.process_time() - began_s < A_MOMENT_S


def test_values_hidden_in_an_escaped_text_are_not_read() -> None:
    hidden = "\\u005b" + "\\u005b\\u005d\\u002c" * 500_000 + "1\\u005d"
    payload = f'{{"Method":"POST","Path":"/x","Body":"{hidden}"}}'.encode()
    began_s = time.process_time()
    call = read_invocation(
        read_document(payload), prefix="/api/v2", settings=GatewaySettings(unwrap_string_body=True)
    )
    assert time.process_time() - began_s < A_MOMENT_S
    assert call.body is not None
    assert call.body.startswith(b'"[[],')  # handed on as the text it is


def test_as_many_values_as_may_be_are_read() -> None:
    values = [1] * MOST_VALUES
    assert read_json(json.dumps(values)) == values
    with pytest.raises(TooManyValuesError):
        read_json(json.dumps([*values, 1]))
