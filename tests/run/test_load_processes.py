"""Which processes may carry out which scenario, and where they meet."""

import os
import socket
import subprocess
import sys
import time

import pytest

from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.run.load_processes import (
    PARENT_VARIABLE,
    RUN_DIR_VARIABLE,
    Fleet,
    end_all,
    locust_variables,
    require_fitting,
    reserve_port,
)
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); "


def scenario(kind: str = "simulated", **limits: object) -> Scenario:
    tree = {
        "name": "x",
        "slo": ["rate(errors) < 1%"],
        "question": {"ask": "check"},
        "environment": {"kind": kind, "name": "x"},
        "traffic": {"mix": {"health": 1}},
        "stages": [{"rate_per_s": 1, "duration_s": 1}],
        "limits": limits,
    }
    return check_scenario(tree, origin="x.toml")


@pytest.mark.parametrize(
    ("fleet", "kind", "fits"),
    [
        (Fleet(), "simulated", True),
        (Fleet(processes=8), "local", True),
        (Fleet(remote_workers=2, port=reserve_port()), "aws", True),
        (Fleet(remote_workers=2, port=reserve_port()), "simulated", True),
        (Fleet(remote_workers=2, bind_host="0.0.0.0", port=reserve_port()), "aws", True),  # noqa: S104
        (Fleet(remote_workers=2, bind_host="10.0.0.1"), "simulated", False),
        (Fleet(remote_workers=2, bind_host="0.0.0.0"), "local", False),  # noqa: S104
        (Fleet(remote_workers=2, bind_host="192.0.2.77"), "aws", False),  # nobody has this address
    ],
)
def test_a_local_environment_has_local_workers(fleet: Fleet, kind: str, fits: bool) -> None:
    if fits:
        require_fitting(fleet, scenario(kind))
    else:
        with pytest.raises(UsageError, match="--bind"):
            require_fitting(fleet, scenario(kind))


def test_senders_cannot_be_fewer_than_processes() -> None:
    require_fitting(Fleet(processes=3), scenario(max_in_flight=3))
    with pytest.raises(UsageError, match=r"4 processes cannot share limits\.max_in_flight = 3"):
        require_fitting(Fleet(processes=4), scenario(max_in_flight=3))


def test_a_port_somebody_listens_at_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        fleet = Fleet(remote_workers=1, port=other.getsockname()[1])
        with pytest.raises(UsageError, match=r"Address already in use.*--port"):
            require_fitting(fleet, scenario("aws"))


def test_a_reserved_port_is_given_to_who_asks_for_it_only() -> None:
    port = reserve_port()
    with socket.socket() as somebody, pytest.raises(OSError, match="in use"):
        somebody.bind(("127.0.0.1", port))
    with socket.socket() as master:
        master.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        master.bind(("127.0.0.1", port))
        master.listen()


@pytest.mark.parametrize(
    ("fleet", "workers", "has_master", "where"),
    [
        (Fleet(), 1, False, "127.0.0.1:5557"),
        (Fleet(processes=2), 2, True, "127.0.0.1:5557"),
        (Fleet(remote_workers=1), 1, True, "127.0.0.1:5557"),
        (Fleet(remote_workers=3, bind_host="10.0.0.5", port=9), 3, True, "10.0.0.5:9"),
        (Fleet(remote_workers=3, bind_host="0.0.0.0"), 3, True, "ADDRESS-OF-THIS-MACHINE:5557"),  # noqa: S104
    ],
)
def test_what_a_fleet_says_of_itself(
    fleet: Fleet, workers: int, has_master: bool, where: str
) -> None:
    told = (fleet.workers, fleet.has_master, fleet.meeting_point)
    assert told == (workers, has_master, where)


def test_load_processes_know_nothing_of_the_users_own_locust(tmp_path) -> None:
    given = {"PATH": "p", "LOCUST_USERS": "1", RUN_DIR_VARIABLE: "elsewhere"}
    kept = {"PATH": "p", PARENT_VARIABLE: str(os.getpid())}
    assert locust_variables(given) == kept
    assert locust_variables(given, tmp_path) == {**kept, RUN_DIR_VARIABLE: str(tmp_path)}


def test_processes_that_will_not_end_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mwaa_headroom.harness.run.load_processes._ASK_AGAIN_S", 0.3)
    quick, stubborn = (
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        for code in ("pass", STUBBORN + "time.sleep(60)")
    )
    with quick, stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        began_s = time.monotonic()
        end_all([quick, stubborn], patience_s=0.1)
        assert (quick.poll(), stubborn.poll()) == (0, -9)
        assert time.monotonic() - began_s < 30
