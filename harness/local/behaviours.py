"""How AWS behaves where that is no setting of the stand-in, and which calls show what is a setting.

Together with the settings these are the rows of the table in docs/reference.md: what is documented,
what others have seen, what is assumed, and what was validated on AWS by `headroom local verify`,
whose calls have the ids named here (`harness.aws.shapes`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Basis = Literal["Documented", "Third party", "Assumed"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One thing that the stand-in does as AWS does or may do."""

    what: str
    basis: Basis
    source: str = ""
    check: str = ""  # the call that shows it; "": none does


BEHAVIOURS: Final = (
    Behaviour(
        "GetEnvironment answers with members of the service model, without a webserver count",
        "Documented",
        "botocore's service model",
        "environment",
    ),
    Behaviour(
        "An environment that does not exist is 404 ResourceNotFoundException, also where access to "
        "it would be denied",
        "Assumed",
        "AWS may look at permissions first",
        "unknown_environment",
    ),
    Behaviour(
        "An answer of Airflow is RestApiResponse beside RestApiStatusCode",
        "Documented",
        "botocore's service model",
        "list_dags",
    ),
    Behaviour(
        "Airflow's own 4xx and 5xx are HTTP 400, with the real status inside",
        "Documented",
        "botocore's service model; aws/aws-sdk-go-v2 issue 3101",
        "not_found",
    ),
    Behaviour(
        "A query that Airflow refuses is its own 4xx, not a ValidationException",
        "Assumed",
        check="bad_query",
    ),
    Behaviour(
        "A path that does not begin with a slash is refused", "Assumed", check="path_without_slash"
    ),
    Behaviour("A path with a question mark is refused", "Assumed", check="query_in_path"),
    Behaviour(
        "A path that ends with a slash is answered as Airflow does, redirects included",
        "Assumed",
        check="trailing_slash",
    ),
    Behaviour("A path with segments . or .. is refused", "Assumed"),
    Behaviour("A body with too many values is 413 RequestEntityTooLargeException", "Assumed"),
    Behaviour(
        "Without a healthy webserver, or when it breaks off, a call is InternalServerException",
        "Assumed",
    ),
    Behaviour(
        "CreateWebLoginToken answers with a token of one use and 60 s",
        "Documented",
        "user guide, REST API",
        "web_token",
    ),
    Behaviour(
        "The login of Airflow 3 is /pluginsv2/aws_mwaa/login and sets the cookie _token",
        "Documented",
        "user guide, REST API",
        "web_login",
    ),
    Behaviour(
        "/aws_mwaa/login of Airflow 3 is a page of the user interface and sets no cookie",
        "Third party",
        "aws-samples/mwaa-disaster-recovery on 3.0.6",
        "old_login",
    ),
    Behaviour("A call without a session is 401", "Assumed", check="no_session"),
    Behaviour(
        "A failed call is in CloudTrail with errorCode and errorMessage",
        "Assumed",
        "the form of other services",
    ),
    Behaviour(
        "Running tasks of Airflow 3 call the webservers",
        "Third party",
        "AWS's images set EXECUTION_API_SERVER_URL; the stand-in has a server of its own for them",
    ),
    Behaviour(
        "A private webserver answers AccessDeniedException from outside its VPC",
        "Third party",
        "text seen in July 2026; the stand-in has none",
    ),
)

SHOWN_BY: Final[Mapping[str, str]] = {  # of settings
    "gateway.enforce_path_limit": "long_path",
    "gateway.login_redirects": "web_login",
    "metrics.connections_have_cluster": "metrics",
}
