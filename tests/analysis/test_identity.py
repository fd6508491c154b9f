"""Which runs may be compared, and what is told of those that may not."""

from typing import Any

import pytest
from compared_runs import imagined_manifest, imagined_run

from mwaa_headroom.analysis.findings import Finding, refusal
from mwaa_headroom.analysis.identity import (
    CAPACITY,
    COMPARISON,
    SCALING_RULE,
    SIZE,
    allowed,
    each_run,
    hosts_differ,
    objection,
    unlike,
)
from mwaa_headroom.analysis.results import Difference, GeneratorHealth, RunAnalysis

BUSY = GeneratorHealth(
    ok=False,
    arrivals=100,
    rows=100,
    unsent=9,
    lag_p99_s=0.3,
    longest_stall_s=None,
    cpu_fraction_max=None,
    workers=(),
    reasons=("In stage 1: 9 arrivals were not sent.",),
)


def differing(**changes: Any) -> tuple[tuple[Difference, ...], tuple[Difference, ...]]:
    """What forbids comparing, and what may differ, between the original and a changed copy."""
    original, changed = imagined_run("a"), imagined_run("b", manifest=imagined_manifest(**changes))
    sides = {"baseline": [original], "contender": [changed]}
    return unlike(sides, COMPARISON), allowed(sides, COMPARISON)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"environment__kind": "aws"}, "environment kind"),
        (
            {"environment__arn": "arn:aws:airflow:eu-west-1:123456789012:environment/x"},
            "region",
        ),
        ({"environment__before__MinWebservers": 3}, "min webservers"),
        ({"environment__before__MaxWebservers": 5}, "max webservers"),
        ({"environment__facts__webserver_cpu": 1.0}, "CPUs per webserver"),
        ({"environment__facts__cpu_limited": False}, "CPU of webservers limited"),
        ({"scenario__question__ask": "capacity"}, "question"),
        ({"scenario__slo": ["p95(latency) < 1s"]}, "SLO"),
        ({"scenario__traffic__arrivals": "constant"}, "arrivals"),
        ({"scenario__traffic__transport": "web_token"}, "transport"),
        ({"scenario__traffic__retries": "standard"}, "retries"),
        ({"scenario__traffic__mix__health__weight": 3.0}, "mix: health"),
        ({"scenario__traffic__mix__list_dags__parameters": {"limit": 50}}, "mix: list_dags"),
        ({"scenario__traffic__mix__list_pools": {"weight": 0.1}}, "mix: list_pools"),
        ({"generator": {"workers": 4, "remote": False}}, "load processes"),
        ({"host": {"cpus": 8}}, "host CPUs"),
    ],
)
def test_differences_that_forbid_comparing(changes: dict[str, Any], what: str) -> None:
    forbidden, _ = differing(**changes)

    assert what in [difference.what for difference in forbidden]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"versions__airflow": "3.3.1"}, "Airflow"),
        ({"scenario__traffic__seed": 99}, "seed"),
        ({"versions__python": "3.13.0"}, "python version"),
        ({"environment__name": "green"}, "environment name"),
        ({"scenario__environment__demand_s": {"health": 0.02}}, "environment.demand_s.health"),
    ],
)
def test_differences_that_are_only_named(changes: dict[str, Any], what: str) -> None:
    forbidden, named = differing(**changes)
    changed = imagined_run("b", manifest=imagined_manifest(**changes), airflow="3.3.1")
    if what == "Airflow":
        sides = {"baseline": [imagined_run("a")], "contender": [changed]}
        forbidden, named = unlike(sides, COMPARISON), allowed(sides, COMPARISON)

    assert forbidden == ()
    assert what in [difference.what for difference in named]


def test_other_stages_are_named_with_both_values() -> None:
    manifest = imagined_manifest()
    manifest["scenario"]["stages"][1]["rate_per_s"] = 9.0
    sides = {
        "baseline": [imagined_run("a")],
        "contender": [imagined_run("b", manifest=manifest)],
    }

    (difference,) = unlike(sides, COMPARISON)

    assert difference.what == "stage 2"
    assert [who for _, who in difference.values] == ["baseline", "contender"]
    assert "rate_per_s=8" in difference.values[0][0]
    assert "rate_per_s=9" in difference.values[1][0]


def test_a_stage_may_be_renamed() -> None:
    manifest = imagined_manifest()
    manifest["scenario"]["stages"][1]["name"] = "busy"
    sides = {"baseline": [imagined_run("a")], "contender": [imagined_run("b", manifest=manifest)]}

    assert unlike(sides, COMPARISON) == ()


@pytest.mark.parametrize(
    ("transport", "forbids"), [("boto3", True), ("lean", False), ("web_token", False)]
)
def test_botocore_matters_only_when_it_sends(transport: str, forbids: bool) -> None:
    sides = {
        side: [
            imagined_run(
                side,
                manifest=imagined_manifest(
                    scenario__traffic__transport=transport, versions__botocore=version
                ),
            )
        ]
        for side, version in (("baseline", "1.40.0"), ("contender", "1.44.5"))
    }

    assert bool(unlike(sides, COMPARISON)) == forbids
    assert bool(allowed(sides, COMPARISON)) != forbids


def test_a_setting_forbids_only_where_both_recorded_it() -> None:
    """An older headroom wrote no such key; a throttle of none and one of 10/s do differ."""

    def sides(*throttles: dict[str, Any]) -> dict[str, Any]:
        runs = [
            imagined_run(
                f"run {index}",
                manifest=imagined_manifest(scenario__environment__gateway__throttle=throttle),
            )
            for index, throttle in enumerate(throttles)
        ]
        return {"baseline": runs[:1], "contender": runs[1:]}

    older = sides({"rate_per_s": None}, {"rate_per_s": None, "retry_after_ms": 5})
    other = sides({"rate_per_s": None}, {"rate_per_s": 10.0})

    assert unlike(older, COMPARISON) == ()
    assert [each.what for each in allowed(older, COMPARISON)] == [
        "environment.gateway.throttle.retry_after_ms"
    ]
    assert unlike(other, COMPARISON) == (
        Difference(
            "environment.gateway.throttle.rate_per_s", (("none", "baseline"), ("10", "contender"))
        ),
    )


def test_one_side_has_one_airflow() -> None:
    runs = [imagined_run("a"), imagined_run("b", airflow="3.3.1")]

    (difference,) = unlike({"baseline": runs}, COMPARISON)

    assert difference == Difference("Airflow within the baseline", (("3.2.1", "a"), ("3.3.1", "b")))


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"status": "aborted"}, refusal("identity.not_finished", run_id="x", status="aborted")),
        ({"status": "running"}, refusal("identity.not_finished", run_id="x", status="running")),
        (
            {"complete": False, "warnings": ("Its last rows are lost.",)},
            refusal("identity.incomplete_record", run_id="x", why="Its last rows are lost."),
        ),
        (
            {"generator": BUSY},
            refusal("identity.generator_past_limits", run_id="x", why=BUSY.reasons[0]),
        ),
        (
            {"environment": {"changed": ["MaxWebservers"]}},
            refusal("identity.environment_changed", run_id="x", names=("MaxWebservers",)),
        ),
    ],
)
def test_invalid_runs_are_refused_by_name(changes: dict[str, Any], finding: Finding) -> None:
    assert objection(imagined_run("x", **changes)) == finding


def test_a_sound_run_may_be_compared() -> None:
    assert objection(imagined_run("x")) is None


def test_of_a_table_under_test_only_the_leaves_that_differ_are_named() -> None:
    runs = [
        imagined_run(name, manifest=imagined_manifest(scenario__environment__demand_s=demand))
        for name, demand in (
            ("a", {"health": 0.006, "list_dags": 0.024}),
            ("b", {"health": 0.0072, "list_dags": 0.024}),
        )
    ]

    named = allowed({"baseline": runs[:1], "contender": runs[1:]}, COMPARISON)

    assert named == (
        Difference("environment.demand_s.health", (("0.006", "baseline"), ("0.0072", "contender"))),
    )


@pytest.mark.parametrize(
    ("changes", "forbidden_for"),
    [
        ({"environment__before__MinWebservers": 3}, {"comparison"}),
        ({"scenario__slo": ["p95(latency) < 1s"]}, {"comparison", "capacity", "size"}),
        ({"scenario__traffic__retries": "standard"}, {"comparison", "capacity", "size", "rule"}),
        ({"scenario__environment__autoscaler__scale_in_periods": 9}, {"comparison", "rule"}),
        ({"versions__airflow": "3.3.1"}, {"capacity", "size", "rule"}),
    ],
)
def test_each_purpose_needs_its_own_agreement(
    changes: dict[str, Any], forbidden_for: set[str]
) -> None:
    purposes = {"comparison": COMPARISON, "capacity": CAPACITY, "size": SIZE, "rule": SCALING_RULE}
    airflow = changes.pop("versions__airflow", "3.2.1")
    original = {"scenario__environment__autoscaler__scale_in_periods": 6}
    sides = each_run(
        [
            imagined_run("a", manifest=imagined_manifest(**original)),
            imagined_run("b", manifest=imagined_manifest(**original | changes), airflow=airflow),
        ]
    )

    assert {name for name, purpose in purposes.items() if unlike(sides, purpose)} == forbidden_for


def on(hosts: str, kind: str) -> list[RunAnalysis]:
    """A run on each of these machines."""
    return [
        imagined_run(
            f"{place}",
            manifest=imagined_manifest(
                environment__kind=kind, host__cpu_model="fast CPU", host__machine=name
            ),
        )
        for place, name in enumerate(hosts)
    ]


@pytest.mark.parametrize(
    ("baseline", "contender", "kind", "is_told"),
    [
        ("aaaaaa", "aaaaaa", "local", False),
        ("aaaaaa", "bbbbbb", "local", True),
        ("aaaaaa", "bbbbbb", "simulated", False),
        ("aaaaaa", "bbbbbb", "aws", False),
        ("aaaaab", "abbbbb", "local", True),
        ("aaabbb", "aabbbb", "local", False),
        ("aaaaaa", "aaaaa", "local", False),
        ("abcdef", "ghijkl", "local", False),
    ],
)
def test_other_hosts_of_the_sides_are_told_where_webservers_run_on_them(
    baseline: str, contender: str, kind: str, is_told: bool
) -> None:
    found = hosts_differ(on(baseline, kind), on(contender, kind))

    assert (found is not None) == is_told


def test_hosts_are_told_apart_by_what_all_runs_recorded() -> None:
    old = [
        imagined_run(f"{n}", manifest=imagined_manifest(environment__kind="local")) for n in "xyz"
    ]

    assert hosts_differ(old, on("bbb", "local")) is None
    (host,) = [hosts_differ(on("aaa", "local"), on("bbb", "local"))]
    assert host is not None
    assert host.values["contender"] == (("fast CPU, b", 3),)
