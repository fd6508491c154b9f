"""What a run was a run of, and whether runs are alike in all that matters to a purpose.

    must agree   where and how runs were made
    settings     must agree among the runs that recorded them: an older headroom may not have known
                 one
    under test   the Airflow version, or the simulated webservers in its place: what a comparison
                 compares, and what every other purpose needs to be the same
    may differ   named in reports: the environment's name, versions of packages, the machine that
                 sent the load, seeds

A purpose says which of the first two it needs. boto3 and botocore must agree when they send the
calls; otherwise they only describe the tool. The CPUs of the machine must agree when the
environment is on it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mwaa_headroom.analysis.findings import Finding, refusal, warning
from mwaa_headroom.analysis.record import RunRecord
from mwaa_headroom.analysis.results import Difference, Identity, RunAnalysis

# Of simulated webservers.
_UNDER_TEST = ("demand_s", "demand_cv", "contention", "latency_s", "background_cpu")
_MAY_DIFFER = ("name", "profile", "account", "gateway_port", "seed")
# Told once, by the environment's own answer or the facts.
_TOLD_ELSEWHERE = (
    "kind",
    "region",
    "airflow_version",
    "min_webservers",
    "max_webservers",
    "webserver_cpu",
    "cores",
)
_OWN_TOOLS = ("boto3", "botocore")
_LIMITS_OF_CALLS = ("max_in_flight", "call_timeout_s")
_HOST = ("CPU of the host", "host", "machine")
_WEBSERVERS_ELSEWHERE = ("aws", "simulated")
_MOST_NAMED = 3  # runs that share a value; sides are two
_NOT_RECORDED = "not recorded"
_NONE = "none"


def identity_of(record: RunRecord) -> Identity:
    """What a run was, by its manifest."""
    manifest = record.manifest
    scenario = _table(manifest, "scenario")
    traffic, configured = _table(scenario, "traffic"), _table(scenario, "environment")
    environment, versions = _table(manifest, "environment"), _table(manifest, "versions")
    before, facts = _table(environment, "before"), _table(environment, "facts")
    kind, host = environment.get("kind"), _table(manifest, "host")
    transport = traffic.get("transport", "boto3")  # of records before there was a choice
    sends_itself = transport != "boto3"
    must_agree: dict[str, Any] = {
        "environment kind": kind,
        "region": _region(environment, configured),
        "environment class": before.get("EnvironmentClass") if kind == "aws" else None,
        "min webservers": before.get("MinWebservers"),
        "max webservers": before.get("MaxWebservers"),
        "CPUs per webserver": facts.get("webserver_cpu"),
        "CPU of webservers limited": facts.get("cpu_limited"),
        "virtual time": facts.get("virtual_time"),
        "question": _table(scenario, "question").get("ask"),
        "SLO": scenario.get("slo"),
        "arrivals": traffic.get("arrivals", "poisson"),
        "think time": traffic.get("think_time_s"),
        "transport": transport,
        "retries": traffic.get("retries", "off"),
        "load processes": _table(manifest, "generator").get("workers", 1),
        "load from other machines": _table(manifest, "generator").get("remote", False),
        "host CPUs": host.get("cpus") if kind != "aws" else None,
    }
    must_agree |= _mix(traffic) | _stages(scenario)
    set_apart = (*_UNDER_TEST, *_MAY_DIFFER, *_TOLD_ELSEWHERE)
    limits, recovery = _table(scenario, "limits"), _table(scenario, "recovery")
    settings = {
        "environment": {k: value for k, value in configured.items() if k not in set_apart},
        "limits": {k: limits[k] for k in _LIMITS_OF_CALLS if k in limits},
        "recovery": recovery,
    }
    under_test = {"Airflow": versions.get("airflow") or before.get("AirflowVersion")}
    webservers = {key: configured[key] for key in _UNDER_TEST if configured.get(key) is not None}
    under_test |= dict(_leaves("environment", webservers))
    may_differ: dict[str, Any] = {
        "environment name": environment.get("name"),
        "seed": traffic.get("seed"),
        "scenario": scenario.get("name"),
        "record version": manifest.get("schema_version"),
        "database version": facts.get("database_version"),
        "host": host.get("platform"),
        "CPU of the host": host.get("cpu_model"),
        "machine": host.get("machine"),
        "CPUs of the host": host.get("cpus") if kind == "aws" else None,
    }
    for package, version in versions.items():
        if package != "airflow":
            strict = package in _OWN_TOOLS and not sends_itself
            (must_agree if strict else may_differ)[f"{package} version"] = version
    return Identity(
        _words(must_agree), dict(_leaves("", settings)), _words(under_test), _words(may_differ)
    )


@dataclass(frozen=True, slots=True)
class Purpose:
    """What runs are used for together; names are those of `Identity`, by their beginnings."""

    must_agree: tuple[str, ...] = ("",)  # "": all
    may_differ: tuple[str, ...] = ()  # of these
    compares: bool = False  # what is under test, which else must agree
    meant_to_differ: tuple[str, ...] = ()  # settings that are under test too

    def needs(self, values: Mapping[str, str]) -> dict[str, str]:
        """Those that must agree."""
        return {
            name: value
            for name, value in values.items()
            if name.startswith(self.must_agree)
            and not name.startswith((*self.may_differ, *self.meant_to_differ))
        }


# What decides the demand of a call.
_CALLS = (
    "environment kind",
    "environment class",
    "CPUs per webserver",
    "CPU of webservers limited",
    "host CPUs",
    "transport",
    "retries",
    "mix: ",
)
COMPARISON = Purpose(compares=True)
CAPACITY = Purpose(
    may_differ=(
        *("min webservers", "max webservers", "question", "stage "),
        *("load processes", "load from other machines"),
        *("recovery.", "environment.autoscaler."),
    )
)
SIZE = Purpose((*_CALLS, "SLO"))
# Limits, stages and SLO may differ: runs that differ in them tell more of one and the same rule.
SCALING_RULE = Purpose(
    (*_CALLS, "environment.autoscaler.", "environment.metrics.", "environment.start_")
)


def unusable(run: RunAnalysis, ended: Sequence[str] = ("finished",)) -> Finding | None:
    """Why a run cannot be used with others: it broke off, or was not of one environment."""
    changed = run.environment.get("changed")
    if run.status not in ended:
        return refusal("identity.not_finished", run_id=run.run_id, status=run.status)
    if not run.complete:
        why = next(iter(run.warnings), None)
        return refusal("identity.incomplete_record", run_id=run.run_id, why=why)
    if changed:
        names = tuple(map(str, changed)) if isinstance(changed, list) else (str(changed),)
        return refusal("identity.environment_changed", run_id=run.run_id, names=names)
    return None


def objection(run: RunAnalysis) -> Finding | None:
    """Why a run may not be compared with any other; None: it may."""
    if found := unusable(run):
        return found
    if not run.generator.ok:
        why = next(iter(run.generator.reasons), None)
        return refusal("identity.generator_past_limits", run_id=run.run_id, why=why)
    for stage in run.stages:
        if stage.failed_before:
            return refusal("identity.failed_before", run_id=run.run_id, why=stage.failed_before)
        if stage.host_disturbed:
            return refusal("identity.host_disturbed", run_id=run.run_id, why=stage.host_disturbed)
    return None


Sides = Mapping[str, Sequence[RunAnalysis]]


def each_run(runs: Iterable[RunAnalysis]) -> Sides:
    """Every run as a side of its own; two may have the same name."""
    sides: dict[str, list[RunAnalysis]] = {}
    for run in runs:
        sides.setdefault(run.run_id, []).append(run)
    return sides


def unlike(sides: Sides, purpose: Purpose) -> tuple[Difference, ...]:
    """Everything that must agree over all runs and does not.

    What a comparison compares must agree within each side.
    """
    runs = [(side, run.identity) for side, runs in sides.items() for run in runs]
    agreed = [
        (side, purpose.needs(each.must_agree) | ({} if purpose.compares else each.under_test))
        for side, each in runs
    ]
    settings = [(side, purpose.needs(each.settings)) for side, each in runs]
    return (
        *_differences(agreed, absent=_NONE),
        *(found for found in _differences(settings) if len(_recorded(found)) > 1),
        *(_unlike_within(sides) if purpose.compares else ()),
    )


def allowed(sides: Sides, purpose: Purpose) -> tuple[Difference, ...]:
    """What differs and may: first what is under test, then the rest."""
    runs = [(side, run.identity) for side, runs in sides.items() for run in runs]
    free = [
        (side, (each.under_test if purpose.compares else {}) | each.may_differ)
        for side, each in runs
    ]
    settings = [(side, purpose.needs(each.settings)) for side, each in runs]
    exempt = [
        (side, {k: v for k, v in each.settings.items() if k.startswith(purpose.meant_to_differ)})
        for side, each in runs
    ]
    return (
        *_differences(free),
        *_differences(exempt),
        *(found for found in _differences(settings) if len(_recorded(found)) == 1),
    )


def hosts_differ(
    baseline: Sequence[RunAnalysis], contender: Sequence[RunAnalysis]
) -> Finding | None:
    """That the sides of a comparison had other hosts; None: they had not, or it does not matter.

    It matters where webservers run on the host. Each host's share of a side's runs may differ by
    one run, so that runs that each had a host by chance are no reason to warn.
    """
    runs = [run.identity for run in (*baseline, *contender)]
    if runs[0].must_agree.get("environment kind") in _WEBSERVERS_ELSEWHERE:
        return None
    known = [name for name in _HOST if all(name in each.may_differ for each in runs)]
    before, after = (
        Counter(", ".join(run.identity.may_differ[name] for name in known) for run in side)
        for side in (baseline, contender)
    )
    m, n = len(baseline), len(contender)
    if all(abs(before[host] * n - after[host] * m) <= max(m, n) for host in before | after):
        return None
    return warning(
        "comparison.other_hosts",
        baseline=tuple(before.most_common()),
        contender=tuple(after.most_common()),
    )


def unlike_runs(differences: Iterable[Difference]) -> tuple[Finding, ...]:
    """Why runs cannot be used together, one for each difference."""
    return tuple(
        refusal("identity.unlike", what=found.what, values=found.values) for found in differences
    )


def _unlike_within(sides: Sides) -> Iterator[Difference]:
    for side, runs in sides.items():
        for found in _differences([(run.run_id, run.identity.under_test) for run in runs]):
            yield Difference(f"{found.what} within the {side}", found.values)


def _recorded(difference: Difference) -> list[str]:
    return [value for value, _ in difference.values if value != _NOT_RECORDED]


def _differences(
    members: Iterable[tuple[str, Mapping[str, str]]], *, absent: str = _NOT_RECORDED
) -> tuple[Difference, ...]:
    members = list(members)
    names = dict.fromkeys(name for _, values in members for name in values)
    found = []
    for name in names:
        who: dict[str, list[str]] = {}
        for member, values in members:
            who.setdefault(values.get(name, absent), []).append(member)
        if len(who) > 1:
            by_value = ((value, _names(dict.fromkeys(having))) for value, having in who.items())
            found.append(Difference(name, tuple(by_value)))
    return tuple(found)


def _names(members: Iterable[str]) -> str:
    named = list(members)
    if len(named) <= _MOST_NAMED:
        return ", ".join(named)
    return f"{', '.join(named[: _MOST_NAMED - 1])} and {len(named) - _MOST_NAMED + 1} others"


def _mix(traffic: Mapping[str, Any]) -> dict[str, Any]:
    """Every operation with its share of the calls and its parameters."""
    mix = _table(traffic, "mix")
    total = sum(float(choice["weight"]) for choice in mix.values()) or 1.0
    return {
        f"mix: {label}": [
            choice.get("operation", label),
            f"{float(choice['weight']) / total:.4g} of the calls",
            *[f"{key}={_word(value)}" for key, value in _table(choice, "parameters").items()],
        ]
        for label, choice in mix.items()
    }


def _stages(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Every stage by everything but its name; what has its default is left out."""
    return {
        f"stage {number}": [
            f"{key}={_word(value)}"
            for key, value in sorted(stage.items())
            if key != "name" and value not in (None, 0, 0.0)
        ]
        for number, stage in enumerate(scenario.get("stages") or (), start=1)
    }


def _region(environment: Mapping[str, Any], configured: Mapping[str, Any]) -> Any:
    parts = str(environment.get("arn") or "").split(":")
    return parts[3] if len(parts) > 3 else configured.get("region")


def _table(of: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = of.get(key)
    return dict(found) if isinstance(found, Mapping) else {}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every setting inside tables of tables, by its dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}" if name else str(key), inner)
    else:
        yield name, _NONE if value is None else _word(value)


def _words(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: _word(value) for name, value in values.items() if value is not None}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_word, value))
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
