"""Which options say which processes send the load, and what does not go together."""

import socket
from typing import Any

import pytest

from mwaa_headroom.harness.cli.run import load_processes_of
from mwaa_headroom.harness.cli.worker import _address
from mwaa_headroom.harness.errors import HeadroomError, UsageError
from mwaa_headroom.harness.run.load_processes import LoadProcesses
from mwaa_headroom.harness.run.worker import wait_for_master

NOTHING: dict[str, Any] = dict.fromkeys(
    ("processes", "remote_workers", "bind_host", "port", "wait_s")
)


@pytest.mark.parametrize(
    ("given", "processes"),
    [
        ({}, LoadProcesses()),
        ({"processes": 4}, LoadProcesses(processes=4)),
        ({"remote_workers": 2}, LoadProcesses(remote_workers=2)),
        (
            {"remote_workers": 2, "bind_host": "10.0.0.5", "port": 6000, "wait_s": 5.0},
            LoadProcesses(remote_workers=2, bind_host="10.0.0.5", port=6000, wait_s=5.0),
        ),
    ],
)
def test_options_say_which_processes_send(given: dict[str, Any], processes: LoadProcesses) -> None:
    assert load_processes_of(**NOTHING | given) == processes


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"processes": 2, "remote_workers": 2}, "give only one"),
        ({"processes": 1, "remote_workers": 2}, "give only one"),
        ({"bind_host": "10.0.0.5"}, "--bind goes only with --expect-workers"),
        ({"processes": 2, "port": 6000}, "--port goes only with --expect-workers"),
        ({"wait_s": 5.0}, "--wait-for-workers goes only with --expect-workers"),
        ({"remote_workers": 2, "bind_host": "localhost"}, "must be an IPv4 address"),
        ({"remote_workers": 2, "bind_host": "::1"}, "must be an IPv4 address"),
    ],
)
def test_what_does_not_go_together_is_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_processes_of(**NOTHING | given)


@pytest.mark.parametrize(
    ("master", "address"),
    [
        ("10.0.0.5", ("10.0.0.5", 5557)),
        ("10.0.0.5:6000", ("10.0.0.5", 6000)),
        ("load-master.internal:6000", ("load-master.internal", 6000)),
    ],
)
def test_where_the_master_is(master: str, address: tuple[str, int]) -> None:
    assert _address(master) == address


@pytest.mark.parametrize("master", ["", ":5557", "a:b", "a:0", "a:65536", "http://a", "::1"])
def test_what_is_no_address_is_refused(master: str) -> None:
    with pytest.raises(UsageError, match=r"--master must be HOST or HOST:PORT"):
        _address(master)


def test_a_master_that_never_comes_is_not_waited_for_for_ever() -> None:
    now_s = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        port = taken.getsockname()[1]
        with pytest.raises(HeadroomError, match=r"within 120 s \(Connection refused\)") as told:
            wait_for_master("127.0.0.1", port, clock=lambda: now_s, sleep=sleep)
    assert told.value.exit_code == 1
    assert now_s == pytest.approx(120, abs=2)


def test_a_host_that_does_not_exist_is_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"There is no host 'nowhere\.invalid'"):
        wait_for_master("nowhere.invalid", 5557)
