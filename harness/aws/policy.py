"""The least IAM policy that a scenario needs, and what a given policy lacks or allows beyond it.

Sources: Amazon MWAA User Guide, "Using the Apache Airflow REST API" and "Accessing an Amazon MWAA
environment" (InvokeRestApi and CreateWebLoginToken are allowed on a role of Airflow's, everything
else on the environment); Airflow's default roles (what each may do); IAM User Guide, "Policy
evaluation logic" (an explicit Deny wins).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mwaa_headroom.analysis.findings import Finding, note, refusal, warning
from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.operations import OPERATIONS

INVOKE: Final = "airflow:InvokeRestApi"
LOG_IN: Final = "airflow:CreateWebLoginToken"
ROLES: Final = ("Viewer", "User", "Op", "Admin")  # of Airflow; each may do what those before may
_VERSION: Final = "2012-10-17"
_ROLE_OF: Final = {  # of operations that a Viewer may not call
    "trigger_dag_run": "User",  # and delete the run again
    "pause_dag": "User",
    "unpause_dag": "User",
    "list_variables": "Op",
    "set_variable": "Op",
    "list_connections": "Op",
}
_ARN: Final = re.compile(r"arn:(aws[a-z-]*):airflow:([a-z0-9-]+):(\d{12}):environment/([\w-]+)")


@dataclass(frozen=True, slots=True)
class EnvironmentArn:
    """The parts of an environment's ARN."""

    partition: str
    region: str
    account: str
    name: str

    @classmethod
    def parse(cls, arn: str) -> "EnvironmentArn | None":
        """None: it is no ARN of an environment."""
        found = _ARN.fullmatch(arn)
        return cls(*found.groups()) if found else None

    @property
    def environment(self) -> str:
        """The whole of it."""
        return f"{self._place}:environment/{self.name}"

    def role(self, role: str) -> str:
        """The ARN of a role of Airflow's in it."""
        return f"{self._place}:role/{self.name}/{role}"

    @property
    def _place(self) -> str:
        return f"arn:{self.partition}:airflow:{self.region}:{self.account}"


@dataclass(frozen=True, slots=True)
class Need:
    """An action that must be allowed on `resource`, or on one of `larger`, which allow more."""

    action: str
    resource: str
    larger: tuple[str, ...] = ()


def arn_of(scenario: Scenario) -> EnvironmentArn:
    """The environment that a scenario may load.

    Raises:
        UsageError: it is not on AWS, or does not name it by a whole ARN of that name.
    """
    if scenario.environment.kind != "aws":
        raise UsageError(
            f"A scenario of kind '{scenario.environment.kind}' needs no permission on AWS."
        )
    arn = EnvironmentArn.parse(scenario.limits.allow_environment or "")
    if arn is None or arn.name != scenario.environment.name:
        raise UsageError(
            "Set limits.allow_environment to the ARN of the environment, "
            f'"arn:aws:airflow:REGION:ACCOUNT:environment/{scenario.environment.name}": a policy '
            "names partition, region and account."
        )
    return arn


def least_role(scenario: Scenario) -> str:
    """The least of Airflow's default roles that may do all that a run of this scenario does."""
    operations = [choice.operation for choice in scenario.traffic.mix.values()]
    roles = [_ROLE_OF.get(operation, ROLES[0]) for operation in operations]
    if scenario.limits.trigger_dags_to_read and any(map(_reads_dag_runs, operations)):
        roles.append(_ROLE_OF["trigger_dag_run"])
    return max(roles, key=ROLES.index)


def _reads_dag_runs(operation: str) -> bool:
    return "dag_runs" in OPERATIONS[operation].needs


def needs_of(scenario: Scenario, arn: EnvironmentArn, role: str | None = None) -> tuple[Need, ...]:
    """What a run calls.

    Args:
        scenario: what is going to run.
        arn: of its environment.
        role: of Airflow; None: the least of the default ones, or any that may do more.
    """
    least = role or least_role(scenario)
    larger = () if role else tuple(map(arn.role, ROLES[ROLES.index(least) + 1 :]))
    actions = (INVOKE, LOG_IN) if scenario.traffic.transport == "web_token" else (INVOKE,)
    return (
        *(Need(action, arn.role(least), larger) for action in actions),
        Need("airflow:GetEnvironment", arn.environment),
        Need("cloudwatch:ListMetrics", "*"),  # CloudWatch knows no narrower resource for these
        Need("cloudwatch:GetMetricData", "*"),
    )


def policy_of(needs: Iterable[Need]) -> dict[str, Any]:
    """The least policy, one statement for each resource."""
    actions: dict[str, list[str]] = {}
    for need in needs:
        actions.setdefault(need.resource, []).append(need.action)
    statements = [
        {"Effect": "Allow", "Action": some[0] if len(some) == 1 else some, "Resource": resource}
        for resource, some in actions.items()
    ]
    return {"Version": _VERSION, "Statement": statements}


@dataclass(frozen=True, slots=True)
class _Statement:
    allows: bool
    actions: tuple[str, ...]
    not_these_actions: bool
    resources: tuple[str, ...]
    not_these_resources: bool
    is_conditional: bool

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "_Statement":
        is_not = ("NotAction" in tree, "NotResource" in tree)
        return cls(
            allows=tree["Effect"] == "Allow",
            actions=_texts(tree["NotAction" if is_not[0] else "Action"]),
            not_these_actions=is_not[0],
            resources=_texts(tree["NotResource" if is_not[1] else "Resource"]),
            not_these_resources=is_not[1],
            is_conditional=bool(tree.get("Condition")),
        )

    def names(self, action: str) -> bool:
        fits = any(_fits(each.lower(), action.lower()) for each in self.actions)
        return fits != self.not_these_actions

    def covers(self, action: str, resource: str) -> bool:
        fits = any(_fits(each, resource) for each in self.resources)
        return self.names(action) and fits != self.not_these_resources


def _texts(value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("not a text")
    return texts


def _fits(pattern: str, text: str) -> bool:
    """By IAM's wildcards: * for any characters, ? for one."""
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, text, re.DOTALL) is not None


def check_policy(tree: Any, needs: Sequence[Need], arn: EnvironmentArn) -> list[Finding]:
    """What a policy lacks (refusals), and what it allows beyond the needs (warnings).

    Args:
        tree: the policy document, or what the AWS CLI prints around one.
        needs: of the scenario.
        arn: of its environment.

    Raises:
        UsageError: it is no policy document.
    """
    statements = _statements(tree)
    found = [finding for need in needs for finding in _lacks(need, statements, arn)]
    if not any(finding.severity == "refusal" for finding in found):
        found.insert(0, note("iam.suffices", actions=tuple(need.action for need in needs)))
    return found + list(dict.fromkeys(_broader(statements, needs)))


def _statements(tree: Any) -> list[_Statement]:
    try:
        for key in ("PolicyVersion", "PolicyDocument", "Document"):
            tree = tree.get(key, tree)
        listed = tree["Statement"]
        return [_Statement.of(each) for each in (listed if isinstance(listed, list) else [listed])]
    except (AttributeError, KeyError, TypeError) as exc:
        raise UsageError(
            "This is no IAM policy document: it needs a Statement, and every statement an Effect, "
            "an Action and a Resource."
        ) from exc


def _lacks(need: Need, statements: Sequence[_Statement], arn: EnvironmentArn) -> Iterator[Finding]:
    places = (need.resource, *need.larger)
    allowing = [
        (place, one)
        for place in places
        for one in statements
        if one.allows and one.covers(need.action, place)
    ]
    if not allowing:
        yield _not_allowed(need, [one for one in statements if one.allows], arn)
        return
    if all(one.is_conditional for _, one in allowing):
        yield warning("iam.conditional", action=need.action, resource=allowing[0][0])
    for one in statements:
        if not one.allows and one.covers(need.action, allowing[0][0]):
            if one.is_conditional:
                yield warning("iam.conditional", action=need.action, resource=allowing[0][0])
            else:
                yield refusal("iam.denied", action=need.action, resource=allowing[0][0])


def _not_allowed(need: Need, allowing: Sequence[_Statement], arn: EnvironmentArn) -> Finding:
    action, resource = need.action, need.resource
    if any(one.covers(action, arn.environment) for one in allowing):
        return refusal(
            "iam.environment_instead_of_role",
            action=action,
            given=arn.environment,
            needed=resource,
        )
    elsewhere = [place for one in allowing if one.names(action) for place in one.resources]
    if elsewhere:
        return refusal("iam.other_resource", action=action, given=tuple(elsewhere), needed=resource)
    return refusal("iam.missing", action=action, needed=resource)


def _broader(statements: Sequence[_Statement], needs: Sequence[Need]) -> Iterator[Finding]:
    needed_actions = {need.action.lower() for need in needs}
    for one in statements:
        if not one.allows:
            continue
        if one.not_these_actions or one.not_these_resources:
            yield warning("iam.all_but", actions=one.actions, resources=one.resources)
            continue
        for action in one.actions:
            if action.lower() not in needed_actions:
                yield warning("iam.more_actions", action=action)
        for resource in one.resources:
            least = [
                n.resource for n in needs if resource != n.resource and _reaches(one, resource, n)
            ]
            if least:
                yield warning("iam.more_resources", resource=resource, least=tuple(least))


def _reaches(one: _Statement, resource: str, need: Need) -> bool:
    """Whether it is this resource that allows a need: what allows none of them is told already."""
    places = (need.resource, *need.larger)
    return one.names(need.action) and any(_fits(resource, place) for place in places)
