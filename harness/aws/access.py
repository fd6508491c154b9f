"""Whether a scenario may load the environment it names."""

from harness.errors import NotAllowedError
from harness.scenario.model import Scenario


def require_allowed(scenario: Scenario, arn: str, *, endpoint_is_loopback: bool) -> None:
    """Refuse to load an environment that nobody named as allowed.

    Args:
        scenario: kind aws needs `limits.allow_environment`, the other kinds need this machine.
        arn: of the environment, as GetEnvironment tells it.
        endpoint_is_loopback: whether all endpoints are on this machine.

    Raises:
        NotAllowedError: with the line to add to the scenario.
    """
    if scenario.environment.kind != "aws":
        if not endpoint_is_loopback:
            raise NotAllowedError(
                f"A scenario of kind '{scenario.environment.kind}' loads only this machine, but an "
                'endpoint is elsewhere; use kind = "aws" for that environment.'
            )
        return
    if scenario.limits.allow_environment == arn:
        return
    named = scenario.limits.allow_environment
    other = f", not '{named}'" if named else ""
    raise NotAllowedError(
        f"The environment is {arn}{other}: if you may load it, put this line under [limits] of the "
        f'scenario: allow_environment = "{arn}".'
    )
