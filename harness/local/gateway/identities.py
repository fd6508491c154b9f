"""Who may call, and what each caller may do."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from harness.local.gateway.answers import ApiError

Action = Literal["InvokeRestApi", "GetEnvironment", "ListEnvironments", "CreateWebLoginToken"]

ALL_ACTIONS: frozenset[Action] = frozenset(
    ("InvokeRestApi", "GetEnvironment", "ListEnvironments", "CreateWebLoginToken")
)


def resource_arn(
    action: Action, *, region: str, account: str, environment: str, airflow_role: str
) -> str:
    """The resource that IAM judges this action on.

    Calls that act as an Airflow role are judged on that role, not on the environment: granting
    InvokeRestApi on `environment/NAME` is a common mistake.
    """
    prefix = f"arn:aws:airflow:{region}:{account}"
    if action in ("InvokeRestApi", "CreateWebLoginToken"):
        return f"{prefix}:role/{environment}/{airflow_role}"
    if action == "ListEnvironments":
        return f"{prefix}:environment/*"
    return f"{prefix}:environment/{environment}"


@dataclass(frozen=True, slots=True)
class Permission:
    """Which actions a caller may perform, where, and as which Airflow role."""

    actions: frozenset[Action]
    region: str
    account: str
    environment: str
    airflow_role: str

    def allows(self, action: Action, resource: str) -> bool:
        """True if `action` is granted on the resource with this ARN."""
        return action in self.actions and resource == resource_arn(
            action,
            region=self.region,
            account=self.account,
            environment=self.environment,
            airflow_role=self.airflow_role,
        )


@dataclass(frozen=True, slots=True)
class Credential:
    """One access key, whose it is, and what it may do."""

    access_key_id: str
    secret: str = field(repr=False)
    user_name: str
    permission: Permission
    session_token: str | None = field(default=None, repr=False)

    @property
    def user_arn(self) -> str:
        """The caller as AWS names it in messages and trails."""
        return f"arn:aws:iam::{self.permission.account}:user/{self.user_name}"

    def require(self, action: Action, *, region: str, account: str, environment: str) -> None:
        """Raise AccessDeniedException (HTTP 403) unless the action is granted."""
        resource = resource_arn(
            action,
            region=region,
            account=account,
            environment=environment,
            airflow_role=self.permission.airflow_role,
        )
        if not self.permission.allows(action, resource):
            raise ApiError(
                "AccessDeniedException",
                403,
                f"User: {self.user_arn} is not authorized to perform: airflow:{action} "
                f"on resource: {resource} because no identity-based policy allows "
                f"the airflow:{action} action",
            )


class Identities:
    """The credentials that the gateway knows."""

    def __init__(self, credentials: Iterable[Credential]) -> None:
        self._by_key_id = {credential.access_key_id: credential for credential in credentials}

    def find(self, access_key_id: str) -> Credential | None:
        """The credential with this access key id, or None."""
        return self._by_key_id.get(access_key_id)
