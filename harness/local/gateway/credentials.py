"""Who may call, and what: credentials, and the resource that IAM judges an action on."""

from dataclasses import dataclass, field

from mwaa_headroom.harness.local.gateway.answers import ApiError
from mwaa_headroom.harness.local.gateway.operations import Action
from mwaa_headroom.harness.local.settings import StandInSettings

ALL_ACTIONS: frozenset[Action] = frozenset(
    ("InvokeRestApi", "GetEnvironment", "ListEnvironments", "CreateWebLoginToken")
)


@dataclass(frozen=True, slots=True)
class Credential:
    """One access key, whose it is, and what it may do in the environment as which Airflow role."""

    access_key_id: str
    secret: str = field(repr=False)
    user_name: str
    account: str
    airflow_role: str
    actions: frozenset[Action] = ALL_ACTIONS
    session_token: str | None = field(default=None, repr=False)

    @property
    def user_arn(self) -> str:
        """The caller as AWS names it in messages and in CloudTrail."""
        return f"arn:aws:iam::{self.account}:user/{self.user_name}"

    def require(self, action: Action, settings: StandInSettings) -> None:
        """Raise AccessDeniedException (HTTP 403) unless the action is granted."""
        if action in self.actions:
            return
        # Calls that act as an Airflow role are judged on that role, not on the environment:
        # granting InvokeRestApi on `environment/NAME` is a common mistake.
        resource = {
            "InvokeRestApi": f"role/{settings.name}/{self.airflow_role}",
            "CreateWebLoginToken": f"role/{settings.name}/{self.airflow_role}",
            "GetEnvironment": f"environment/{settings.name}",
            "ListEnvironments": "environment/*",
        }[action]
        raise ApiError(
            "AccessDeniedException",
            403,
            f"User: {self.user_arn} is not authorized to perform: airflow:{action} "
            f"on resource: arn:aws:airflow:{settings.region}:{settings.account}:{resource} "
            f"because no identity-based policy allows the airflow:{action} action",
        )
