"""Which processes may carry out which scenario, where they meet, and how they end."""

import os
import socket
import subprocess
import sys
import time

import pytest

from mwaa_headroom.harness.errors import UsageError
from mwaa_headroom.harness.run.load_processes import (
    LOCUSTFILE,
    PARENT_VARIABLE,
    RUN_DIR_VARIABLE,
    Generator,
    LoadProcesses,
    end_all,
    locust_variables,
    reserve_port,
)
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario

ANYWHERE, NOBODYS_ADDRESS = "0.0.0.0", "192.0.2.77"  # noqa: S104
ELSEWHERE = "ADDRESS-OF-THIS-MACHINE:5557"
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
    ("processes", "kind", "fits"),
    [
        (LoadProcesses(), "simulated", True),
        (LoadProcesses(processes=8), "local", True),
        (LoadProcesses(remote_workers=2, port=reserve_port()), "aws", True),
        (LoadProcesses(remote_workers=2, port=reserve_port()), "simulated", True),
        (LoadProcesses(remote_workers=2, bind_host=ANYWHERE, port=reserve_port()), "aws", True),
        (LoadProcesses(remote_workers=2, bind_host="10.0.0.1"), "simulated", False),
        (LoadProcesses(remote_workers=2, bind_host=ANYWHERE), "local", False),
        (LoadProcesses(remote_workers=2, bind_host=NOBODYS_ADDRESS), "aws", False),
    ],
)
def test_a_local_environment_has_local_workers(
    processes: LoadProcesses, kind: str, fits: bool
) -> None:
    if fits:
        processes.require_fitting(scenario(kind))
    else:
        with pytest.raises(UsageError, match="--bind"):
            processes.require_fitting(scenario(kind))


def test_senders_cannot_be_fewer_than_processes() -> None:
    LoadProcesses(processes=3).require_fitting(scenario(max_in_flight=3))
    with pytest.raises(UsageError, match=r"4 processes cannot share limits\.max_in_flight = 3"):
        LoadProcesses(processes=4).require_fitting(scenario(max_in_flight=3))


def test_a_port_somebody_listens_at_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        processes = LoadProcesses(remote_workers=1, port=other.getsockname()[1])
        with pytest.raises(UsageError, match=r"Address already in use.*--port"):
            processes.require_fitting(scenario("aws"))


def test_a_reserved_port_is_given_to_who_asks_for_it_only() -> None:
    port = reserve_port()
    with socket.socket() as somebody, pytest.raises(OSError, match="in use"):
        somebody.bind(("127.0.0.1", port))
    with socket.socket() as master:
        master.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        master.bind(("127.0.0.1", port))
        master.listen()


@pytest.mark.parametrize(
    ("processes", "workers", "has_master", "where"),
    [
        (LoadProcesses(), 1, False, "127.0.0.1:5557"),
        (LoadProcesses(processes=2), 2, True, "127.0.0.1:5557"),
        (LoadProcesses(remote_workers=1), 1, True, "127.0.0.1:5557"),
        (LoadProcesses(remote_workers=3, bind_host="10.0.0.5", port=9), 3, True, "10.0.0.5:9"),
        (LoadProcesses(remote_workers=3, bind_host=ANYWHERE), 3, True, ELSEWHERE),
    ],
)
def test_what_load_processes_say_of_themselves(
    processes: LoadProcesses, workers: int, has_master: bool, where: str
) -> None:
    told = (processes.workers, processes.has_master, processes.master_address)
    assert told == (workers, has_master, where)


def test_load_processes_know_nothing_of_the_users_own_locust(tmp_path) -> None:
    given = {"PATH": "p", "LOCUST_USERS": "1", RUN_DIR_VARIABLE: "elsewhere"}
    own = {PARENT_VARIABLE: str(os.getpid()), "PYTHONIOENCODING": "utf-8"}
    kept = {"PATH": "p", **own}
    assert locust_variables(given) == kept
    assert locust_variables(given, tmp_path) == {**kept, RUN_DIR_VARIABLE: str(tmp_path)}


def test_processes_that_will_not_end_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mwaa_headroom.harness.run.load_processes.TERMINATED_WITHIN_S", 0.3)
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


def test_waiting_for_workers_has_an_end_too(tmp_path) -> None:
    alone, several = (Generator(tmp_path, {}, LoadProcesses(processes=n)) for n in (1, 2))
    patient = Generator(tmp_path, {}, LoadProcesses(remote_workers=2, wait_s=600))
    assert alone.longest_start_s < several.longest_start_s < patient.longest_start_s
    assert patient.longest_start_s > 600


def test_the_reason_of_an_end_is_found_in_the_log(tmp_path) -> None:
    generator = Generator(tmp_path, {})
    log = tmp_path / "generator.log"
    log.write_text("[2026-11-22 11:00:00,1] vm/INFO/locust.main: Starting\nTraceback: x\n")
    assert generator.logged_reason() == ""
    log.write_text(
        "[2026-11-22 11:00:00,1] vm/CRITICAL/locustfiles.x: First.\n"
        "[2026-11-22 11:00:00,2] vm/CRITICAL/locustfiles.x: It cannot be: do this.\n"
        "[2026-11-22 11:00:00,3] vm/INFO/locust.main: Shutting down (exit code 2)\n"
    )
    assert generator.logged_reason() == "It cannot be: do this."


def test_the_locustfile_is_where_load_processes_look_for_it() -> None:
    assert LOCUSTFILE.is_file()
    assert LOCUSTFILE.name == "invoke_rest_api.py"
