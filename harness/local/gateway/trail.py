"""CloudTrail-shaped data events, one JSON line each.

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
from dataclasses import dataclass
from pathlib import Path

from harness.local.gateway.answers import Answer
from harness.local.gateway.identities import Credential

logger = logging.getLogger(__name__)

FLUSH_PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class DataEvent:
    """One call that CloudTrail would log."""

    event_name: str
    event_time_s: float  # since the epoch
    caller: Credential
    region: str
    environment: str
    request_parameters: Mapping[str, str]
    answer: Answer
    request_id: str
    source_address: str
    user_agent: str

    def record(self) -> dict[str, object]:
        """The event as CloudTrail writes it."""
        account = self.caller.permission.account
        arn = f"arn:aws:airflow:{self.region}:{account}:environment/{self.environment}"
        record: dict[str, object] = {
            "eventVersion": "1.09",
            "userIdentity": {
                "type": "IAMUser",
                "arn": self.caller.user_arn,
                "accountId": account,
                "accessKeyId": self.caller.access_key_id,
                "userName": self.caller.user_name,
            },
            "eventTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.event_time_s)),
            "eventSource": "airflow.amazonaws.com",
            "eventName": self.event_name,
            "awsRegion": self.region,
            "sourceIPAddress": self.source_address,
            "userAgent": self.user_agent,
            "requestParameters": self.request_parameters,
            "responseElements": self.answer.trail_elements,
            "requestID": self.request_id,
            "eventID": str(uuid.uuid4()),
            "readOnly": False,
            "resources": [
                {
                    "accountId": account,
                    "type": "AWS::MWAA::Environment",
                    "ARN": arn,
                }
            ],
            "eventType": "AwsApiCall",
            "managementEvent": False,
            "recipientAccountId": account,
            "eventCategory": "Data",
        }
        if self.answer.error_code is not None:
            record["errorCode"] = self.answer.error_code
            record["errorMessage"] = self.answer.error_message
        return record


class Trail:
    """Collects events in memory and appends them to a file about once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    def add(self, event: DataEvent) -> None:
        """Take one event; it reaches the file with the next flush."""
        self._lines.append(json.dumps(event.record()))

    def flush(self) -> None:
        """Append what was collected. A full disk loses events, never calls."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        except OSError as exc:
            logger.warning("%d trail events were lost: %s", len(lines), exc)

    async def keep_flushing(self) -> None:
        """Flush every second until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_PERIOD_S)
                self.flush()
        finally:
            self.flush()
