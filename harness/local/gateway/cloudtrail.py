"""Data events as CloudTrail writes them, one JSON line each.

Source: the MWAA User Guide's CloudTrail page. Only InvokeRestApi and CreateWebLoginToken are data
events; the request's Body and QueryParameters are not in them, sensitive members read "***", and
`readOnly` is false even for a GET. The shape of failed calls is unverified: here it follows
CloudTrail's general rule (errorCode and errorMessage, no responseElements).
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from mwaa_headroom.analysis.mwaa import partition_of
from mwaa_headroom.harness.local.gateway.answers import Answer
from mwaa_headroom.harness.local.gateway.operations import Action
from mwaa_headroom.harness.local.gateway.signature import Credential

logger = logging.getLogger(__name__)

DATA_EVENTS: frozenset[Action] = frozenset(("InvokeRestApi", "CreateWebLoginToken"))
FLUSH_PERIOD_S = 1.0


def data_event(
    action: Action,
    *,
    time_s: float,
    caller: Credential,
    region: str,
    environment: str,
    document: Mapping[str, object],
    answer: Answer,
    request_id: str,
    source_address: str,
    user_agent: str,
) -> dict[str, object]:
    """One call as CloudTrail logs it; `time_s` is since the epoch, `document` the request's."""
    shown = ("Path", "Method") if action == "InvokeRestApi" else ()
    parameters = {name: document[name] for name in shown if isinstance(document.get(name), str)}
    arn = f"arn:{partition_of(region)}:airflow:{region}:{caller.account}:environment/{environment}"
    event: dict[str, object] = {
        "eventVersion": "1.09",
        "userIdentity": {
            "type": "IAMUser",
            "arn": caller.user_arn(region),
            "accountId": caller.account,
            "accessKeyId": caller.access_key_id,
            "userName": caller.user_name,
        },
        "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s)),
        "eventSource": "airflow.amazonaws.com",
        "eventName": action,
        "awsRegion": region,
        "sourceIPAddress": source_address,
        "userAgent": user_agent,
        "requestParameters": {"Name": environment, **parameters},
        "responseElements": answer.response_elements,
        "requestID": request_id,
        "eventID": str(uuid.uuid4()),
        "readOnly": False,
        "resources": [{"accountId": caller.account, "type": "AWS::MWAA::Environment", "ARN": arn}],
        "eventType": "AwsApiCall",
        "managementEvent": False,
        "recipientAccountId": caller.account,
        "eventCategory": "Data",
    }
    if answer.error_code is not None:
        event["errorCode"] = answer.error_code
        event["errorMessage"] = answer.error_message
    return event


class CloudTrailLog:
    """Collects events in memory and appends them to a file about once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    def add(self, event: Mapping[str, object]) -> None:
        """Take one event; it reaches the file with the next flush."""
        self._lines.append(json.dumps(event))

    def flush(self) -> None:
        """Append what was collected. A full disk loses events, never calls."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        except OSError as exc:
            logger.warning("%d CloudTrail events were lost: %s", len(lines), exc)

    async def keep_flushing(self) -> None:
        """Flush every second until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_PERIOD_S)
                self.flush()
        finally:
            self.flush()
