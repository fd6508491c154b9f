"""The test plan, and what of it reaches workers: packed and unpacked as Locust does it."""

from dataclasses import replace

import numpy as np
import pytest
from load_parts import TARGETS, plan_by_hand, scenario_of
from locust.rpc.protocol import Message

from mwaa_headroom.harness.errors import HeadroomError, NotAllowedError
from mwaa_headroom.harness.traffic.operations import Targets
from mwaa_headroom.harness.traffic.trace_files import parse_trace
from mwaa_headroom.locustfiles import plan as plan_module
from mwaa_headroom.locustfiles.plan import plan_of_message

ARN = "arn:aws:airflow:eu-west-1:123456789012:environment/prod"
ON_AWS = {"environment": {"kind": "aws", "name": "prod"}, "allow_environment": ARN}


def sent(tree):
    """As it arrives: Locust packs a message with msgpack."""
    return Message.unserialize(Message("headroom_plan", tree, "worker-1").serialize()).data


def received(plan, *, allowed_arn="", **changes):
    return plan_of_message(sent(plan.to_message() | changes), allowed_arn=allowed_arn)


def arrivals_of(phase):
    return [
        (block.arrival.tolist(), block.offset_s.tolist(), block.label.tolist())
        for block in phase.schedule.blocks()
    ]


def test_a_plan_arrives_as_it_was_sent():
    scenario = scenario_of(
        {"name": "up", "ramp_to_rate_per_s": 30},
        {},
        traffic={"arrivals": "constant", "mix": {"health": 1, "list_dags": {"limit": 5}}},
        recovery={"rate_per_s": 3, "longest_s": 20.0},
    )
    targets = Targets("2.10.3", "run-1", {"slow": ("a", "b"), "fast": ()})
    there = replace(plan_by_hand(scenario), targets=targets, environment_name="another")
    here = received(there)
    assert (here.scenario, here.targets, here.environment_name) == (scenario, targets, "another")
    for one, other in zip(there.phases(), here.phases(), strict=True):
        assert arrivals_of(one) == arrivals_of(other)
    assert arrivals_of(there.recovery_after(0)) == arrivals_of(here.recovery_after(0))


@pytest.mark.parametrize(
    "text",
    [
        "time_s\n0\n0.25\n0.25\n0.5\n",
        "time_s,rate_per_s\n0,30\n0.5,100\n",
        "time_s,operation\n0,health\n0.25,health\n",
        "time_s,rate_per_s,operation\n0,30,health\n0.5,100,health\n",
    ],
)
def test_traces_travel_with_it(text):
    trace = parse_trace(text, "t.csv")
    stage = {"trace_file": "t.csv", "rate_per_s": 1, "peak_rate_per_s": 1}
    scenario = scenario_of(stage, stage, traffic={"arrivals": "trace"})
    there = plan_by_hand(scenario, {0: trace, 1: trace})
    here = received(there)
    assert set(here.traces) == {0, 1}
    assert here.traces[1].kind == trace.kind
    assert np.array_equal(here.traces[1].time_s, trace.time_s)
    for one, other in zip(there.phases(), here.phases(), strict=True):
        assert arrivals_of(one) == arrivals_of(other)


def test_a_closed_plan_has_users():
    scenario = scenario_of({"users": 3}, traffic={"arrivals": "closed", "think_time_s": 2})
    (phase,) = received(plan_by_hand(scenario)).phases()
    assert (phase.users, phase.schedule, phase.labels) == (3, None, ("health",))


def test_nothing_secret_is_sent(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nor-this")
    message = Message("headroom_plan", plan_by_hand(scenario_of()).to_message(), None).serialize()
    assert b"do-not-tell" not in message
    assert b"nor-this" not in message


@pytest.mark.parametrize("allowed_arn", ["", ARN + "-2", ARN.upper()])
def test_load_on_aws_needs_the_workers_own_consent(allowed_arn):
    with pytest.raises(NotAllowedError, match=f"--allow-environment {ARN}") as caught:
        received(plan_by_hand(scenario_of(**ON_AWS)), allowed_arn=allowed_arn)
    assert "\n" not in str(caught.value)


def test_with_its_consent_it_is_a_plan():
    plan = plan_by_hand(scenario_of(**ON_AWS))
    assert received(plan, allowed_arn=ARN).scenario == plan.scenario


def test_a_local_plan_needs_no_consent_but_stays_on_this_machine(monkeypatch):
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "by-hand")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_MWAA", "http://elsewhere.invalid")
    with pytest.raises(NotAllowedError, match="elsewhere"):
        plan_module.transport_of(received(plan_by_hand(scenario_of())))


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": None},
        {"targets": {"airflow_version": "3.3.1"}},
        {"traces": None},
        {"traces": {"0": {"kind": "arrivals"}}},
        {"traces": {"0": {"kind": "arrivals", "time_s": b"odd", "rate_per_s": None}}},
        {"traces": {"first": {}}},
        {"scenario": None},
        {"scenario": {}},
        {"scenario": {"name": "of another version", "new_key": 1}},
    ],
)
def test_what_is_not_understood_is_told_in_one_sentence(changes):
    with pytest.raises(HeadroomError) as caught:
        received(plan_by_hand(scenario_of()), **changes)
    assert "\n" not in str(caught.value)
    assert "master" in str(caught.value)


@pytest.mark.parametrize("tree", [None, [], "plan", {}, {"scenario": {}}])
def test_an_old_message_is_told_in_one_sentence(tree):
    with pytest.raises(HeadroomError) as caught:
        plan_of_message(sent(tree), allowed_arn="")
    assert "\n" not in str(caught.value)


def test_a_plan_must_be_able_to_build_its_calls():
    """Before the first one is due, not in the middle of a run."""
    scenario = scenario_of(traffic={"mix": {"get_dag_run": 1}})
    with pytest.raises(HeadroomError):
        plan_by_hand(scenario)


def test_each_test_has_run_ids_of_its_own():
    plan = plan_by_hand(scenario_of())
    one, other = plan.with_new_run_id(), plan.with_new_run_id()
    assert len({TARGETS.run_id, one.targets.run_id, other.targets.run_id}) == 3
    assert one.scenario is plan.scenario
