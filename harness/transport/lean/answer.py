"""What botocore would make of an answer of InvokeRestApi, without its two rounds of parsing.

The rules are those of botocore's parser for `rest-json` (botocore/parsers.py, 1.44): where the
error code comes from, what a load balancer's page means. A success can have 6 MB, of which only
`RestApiStatusCode` matters; it is read from the answer's ends where they show it, see
`_status_at_an_end`.
"""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from harness.transport.http import HttpAnswer

_WITH_AIRFLOW_STATUS = frozenset({"RestApiClientException", "RestApiServerException"})
_FIRST_KEY = re.compile(rb'\{\s*"RestApiStatusCode"\s*:\s*(\d{3})\s*[,}]')
_LAST_KEY = re.compile(rb'[,{]\s*"RestApiStatusCode"\s*:\s*(\d{3})\s*\}\s*\Z')
_LAST_BYTES = 64
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an answer says.

    Attributes:
        error_code: AWS's, or the status as text; None: a success.
        message: the error's text.
        airflow_status: RestApiStatusCode.
    """

    error_code: str | None = None
    message: str = ""
    airflow_status: int | None = None


def meaning_of(answer: HttpAnswer) -> Meaning:
    """Read an answer.

    Raises:
        Exception: of any kind, when the answer is JSON but not MWAA's.
    """
    if answer.status < 301:
        status = _status_at_an_end(answer.body)
        return Meaning(airflow_status=_airflow_status(answer.body) if status is None else status)
    page = answer.body.strip()
    if answer.status >= 500 and (not page or page.startswith(b"<html>")):
        return Meaning(str(answer.status), _REASONS.get(answer.status, ""))
    document = _document(answer.body)
    code = _error_code(answer, document)
    return Meaning(
        error_code=code,
        message=str(document.get("message", document.get("Message")) or ""),
        airflow_status=_airflow_status(answer.body) if code in _WITH_AIRFLOW_STATUS else None,
    )


def _error_code(answer: HttpAnswer, document: Any) -> str:
    code = answer.headers.get("x-amzn-errortype")
    if code is None:
        code = document.get("code", document.get("Code"))
    if code is None:
        code = document.get("__type", str(answer.status))
    return str(code.split(":", 1)[0].rsplit("#", 1)[-1]) or "Unknown"


def _status_at_an_end(body: bytes) -> int | None:
    """RestApiStatusCode, if it is the first or the last member of a JSON object.

    MWAA's answers repeat no key. That this one is an object's first, no text inside can feign. Nor
    that it is the last:
    the last brace closes the outermost object, and what stands before it is a number, so that the
    colon is no text; the quote before the colon ends a key, and that key begins at the nearest
    quote without a backslash, which is the one after the comma (or brace, or white space).
    """
    found = _FIRST_KEY.match(body)
    if found is None and body.startswith(b"{"):
        found = _LAST_KEY.search(body[-_LAST_BYTES:])
    return int(found[1]) if found else None


def _airflow_status(body: bytes) -> int | None:
    status = _document(body).get("RestApiStatusCode")
    return None if status is None else int(status)


def _document(body: bytes) -> Any:
    if not body:
        return {}
    text = body.decode()
    try:
        return json.loads(text)
    except ValueError:
        return {"message": text}
