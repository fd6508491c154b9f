"""From botocore's exceptions to one sentence that says what to do.

AWS's own messages name principals and accounts, so a known error is told in our words only.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's name
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from mwaa_headroom.analysis.mwaa import partition_of
from mwaa_headroom.harness.errors import EnvironmentAccessError, HeadroomError

_ROLE = "{place}:<account>:role/{environment}/<Airflow role> (a role/ ARN, not an environment/ one)"
_RESOURCES = {
    "airflow:InvokeRestApi": _ROLE,
    "airflow:CreateWebLoginToken": _ROLE,
    "airflow:GetEnvironment": "{place}:<account>:environment/{environment}",
}
# AWS's general codes for "too fast"; the service model of `mwaa` has none.
_THROTTLES = frozenset(
    {
        "LimitExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_EXPIRED = "the AWS credentials have expired; renew them"
_UNKNOWN = "AWS does not know these credentials; check them"
_BAD_SIGNATURE = "the signature was refused; check the secret key and this clock"
_CLIENT_ERRORS: Mapping[str, str] = {
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "UnrecognizedClientException": _UNKNOWN,
    "InvalidClientTokenId": _UNKNOWN,
    "SignatureDoesNotMatch": _BAD_SIGNATURE,
    "InvalidSignatureException": _BAD_SIGNATURE,
    "RequestTimeTooSkewed": "this machine's clock is wrong; synchronise it",
    "InternalServerException": "the service failed inside; try again in a minute",
    "ServiceUnavailableException": "the service is not available; try again in a minute",
}

# What went wrong on this side of AWS: the first that fits is told.
_LOCAL_ERRORS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((ProfileNotFound,), "{error}; correct environment.profile or AWS_PROFILE"),
    ((NoRegionError,), "no AWS region is set; set environment.region or AWS_DEFAULT_REGION"),
    ((NoCredentialsError,), "there are no AWS credentials; set AWS_PROFILE or log in"),
    ((PartialCredentialsError,), "the AWS credentials are incomplete; set all their parts"),
    ((LoginError,), "the AWS login has expired; run `aws login`"),
    ((SSOError, TokenRetrievalError), "the AWS login has expired; run `aws sso login`"),
    ((CredentialRetrievalError,), "the AWS credentials could not be fetched; log in again"),
    (
        (ConnectionError,),
        "{endpoint} cannot be reached; check the network, the region and proxies",
    ),
    (
        (HTTPClientError,),
        "{endpoint} does not answer; check the network, the region and proxies",
    ),
    (
        (ResponseParserError, UnicodeDecodeError),
        "the answer is not AWS's; check the endpoint URL and proxies",
    ),
    (
        (EOFError,),
        "the AWS profile asks for an MFA code, which nobody can type here; run headroom in a "
        "terminal, or with keys that are ready (`aws configure export-credentials`)",
    ),
    ((json.JSONDecodeError,), "a source of credentials, such as credential_process, gave no JSON"),
    (
        (subprocess.SubprocessError,),
        "the credential_process of the AWS profile did not end well; run it by hand",
    ),
    ((OSError,), "{error}, which the AWS configuration names, cannot be used; correct it"),
    ((RuntimeError,), "the AWS credentials have expired and could not be renewed; log in again"),
    (
        (ValueError,),
        "the AWS configuration is wrong ({error}); correct it, and check AWS_ENDPOINT_URL_... and "
        "AWS_MAX_ATTEMPTS if they are set",
    ),
)


_NO_CREDENTIALS = (
    NoCredentialsError,
    CredentialRetrievalError,
    LoginError,
    SSOError,
    TokenRetrievalError,
)


@contextmanager
def aws_call(action: str, *, environment: str, client: Any = None) -> Iterator[None]:
    """Translate whatever botocore raises within the block.

    Its sources of credentials and of endpoints let out exceptions of any class: of a file that is
    not there, of a program that prints no JSON, of a code that nobody can type.

    Args:
        action: the IAM action, such as "airflow:GetEnvironment".
        environment: name of the environment under test.
        client: boto3's; knows the region that a hint has to name.

    Raises:
        EnvironmentAccessError: one sentence that says what to do.
    """
    try:
        yield
    except ClientError as exc:
        raise EnvironmentAccessError(
            f"{action} on environment '{environment}': "
            f"{_refusal(exc, action, environment, client)}."
        ) from exc
    except HeadroomError:
        raise
    except Exception as exc:
        if not _is_botocores(exc):
            raise
        raise EnvironmentAccessError(
            f"{action} on environment '{environment}': {_local_problem(exc)}."
        ) from exc


def member(answer: Mapping[str, Any], key: str) -> Any:
    """A member that AWS always sends; botocore lets any answer pass, a proxy's page included.

    To be used within `aws_call`.

    Raises:
        ResponseParserError: it is not there.
    """
    if key not in answer:
        raise ResponseParserError(f"the answer has no {key}")
    return answer[key]


def is_unanswered(error: EnvironmentAccessError) -> bool:
    """Whether nothing of use came back, in contrast to a refusal or a wrong configuration."""
    cause = error.__cause__
    if isinstance(cause, ClientError):
        return int(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) >= 500
    unanswered = (ConnectionError, HTTPClientError, ResponseParserError, UnicodeDecodeError)
    return isinstance(cause, unanswered)


def was_throttled(error: EnvironmentAccessError) -> bool:
    """Whether AWS did nothing because calls came too fast: such a call may be sent again."""
    cause = error.__cause__
    if not isinstance(cause, ClientError):
        return False
    status = int(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return is_throttle(cause.response.get("Error", {}).get("Code", ""), status)


def is_refused(error: EnvironmentAccessError) -> bool:
    """Whether these credentials may not, have expired, or are none: no other try changes that."""
    cause = error.__cause__
    if isinstance(cause, ClientError):
        status = int(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status in (401, 403)
    return isinstance(cause, _NO_CREDENTIALS)


def is_throttle(code: str, http_status: int) -> bool:
    """Whether an answer of AWS means "too fast"."""
    return code in _THROTTLES or http_status == 429


def _refusal(exc: ClientError, action: str, environment: str, client: Any) -> str:
    code = exc.response.get("Error", {}).get("Code", "")
    message = exc.response.get("Error", {}).get("Message", "")
    status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if "private webserver" in message.lower():
        return "the webserver is private; run headroom from inside the environment's VPC"
    if "update your environment" in message.lower():
        return "the environment is too old for InvokeRestApi; update it once"
    if code.startswith("AccessDenied"):
        region = "" if client is None else client.meta.region_name
        place = f"arn:{partition_of(region)}:airflow:{region or '<region>'}"
        resource = _RESOURCES.get(action, "*").format(place=place, environment=environment)
        return f"access is denied; allow {action} on {resource} for these credentials"
    if code.startswith("ResourceNotFound"):
        return "there is no such environment; check the name, the region and the account"
    if is_throttle(code, status):
        return "AWS throttles these calls; wait a minute or send fewer calls"
    answered = " ".join(part for part in dict.fromkeys((str(status), code, message)) if part)
    return _CLIENT_ERRORS.get(code, f"AWS answered {answered}".rstrip("."))


def _is_botocores(exc: Exception) -> bool:
    """Whether botocore raised it, or something that botocore called."""
    frames = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(exc.__traceback__))
    own = isinstance(exc, BotoCoreError | ResponseParserError | UnicodeDecodeError)
    return own or any(name.startswith(("botocore.", "boto3.")) for name in frames)


def _local_problem(exc: Exception) -> str:
    fields = getattr(exc, "kwargs", {})
    endpoint = _on_one_line(fields.get("endpoint_url") or fields.get("proxy_url") or "AWS")
    error = _on_one_line(exc)
    if isinstance(exc, OSError):  # the text of any other might hold a secret
        error = f"{exc.strerror or type(exc).__name__}: '{exc.filename}'"
    for kinds, sentence in _LOCAL_ERRORS:
        if isinstance(exc, kinds):
            return sentence.format(error=error, endpoint=endpoint)
    if isinstance(exc, BotoCoreError):
        return f"{error}; correct the AWS configuration"
    if isinstance(exc, TypeError) and "offset-naive" in str(exc):  # Python's own words
        return "a source of credentials tells their expiry without its time zone; let it end in Z"
    return f"the AWS configuration or a source of credentials is unusable ({type(exc).__name__})"


def _on_one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")
