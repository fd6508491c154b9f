"""The real Locust process against a canned server: what reaches the record, whatever happens."""

import http.server
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest
from botocore.credentials import RefreshableCredentials
from loopback import canned_server, cheap_scenario, events_of, prepare, rows_of, variables

from mwaa_headroom.harness.aws.credentials import KeySource
from mwaa_headroom.harness.errors import HeadroomError
from mwaa_headroom.harness.local.handle import StandIn
from mwaa_headroom.harness.local.settings import SimulatedSettings
from mwaa_headroom.harness.run.load_processes import (
    EXIT_ABORTED,
    EXIT_FAILED,
    EXIT_FINISHED,
    EXIT_INTERRUPTED,
    EXIT_UNUSABLE,
    GENERATOR_LOG,
    LOCUSTFILE,
    SCENARIO_FILE,
    Generator,
    LoadProcesses,
    reserve_port,
)
from mwaa_headroom.harness.scenario.load import check_scenario
from mwaa_headroom.harness.scenario.model import Scenario
from mwaa_headroom.harness.traffic.schedule import schedule_of
from mwaa_headroom.harness.traffic.stage_traces import trace_name
from mwaa_headroom.harness.traffic.trace_files import parse_trace

pytestmark = pytest.mark.slow

PARSE = """
from locust.argument_parser import parse_options
import mwaa_headroom.locustfiles.invoke_rest_api
for arguments in ([], ["--web-host", "127.0.0.2"]):
    print("web host:", parse_options(arguments).web_host)
"""

LOG_MAY_NOT_HOLD = ("Traceback", "MonkeyPatchWarning", "Connection pool is full")


def started(
    run_dir: Path, scenario: Scenario, port: int, processes: LoadProcesses | None = None
) -> Generator:
    prepare(run_dir, scenario)
    generator = Generator(run_dir, variables(port), processes or LoadProcesses())
    generator.start()
    return generator


def run(
    run_dir: Path, scenario: Scenario, port: int, processes: LoadProcesses | None = None
) -> tuple[int, Generator]:
    generator = started(run_dir, scenario, port, processes)
    try:
        code = generator.wait(60)
    finally:
        generator.kill()
    assert_logs_are_clean(run_dir)
    return code, generator


def assert_logs_are_clean(run_dir: Path) -> None:
    for path in run_dir.glob("generator*.log"):
        log = path.read_text()
        assert not [word for word in LOG_MAY_NOT_HOLD if word in log], log


def until(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


def sent_at_least(generator: Generator, count: int) -> Callable[[], bool]:
    def check() -> bool:
        status = generator.latest()
        return status is not None and status.sent >= count

    return check


def arrivals_of(scenario: Scenario) -> int:
    return sum(schedule.count for schedule in schedule_of(scenario, {}))


def latencies_s(rows: list[dict]) -> np.ndarray:
    return np.array([row["lag_s"] + row["service_time_s"] for row in rows])


def kinds(run_dir: Path) -> list[str]:
    return [event["kind"] for event in events_of(run_dir)]


def of_kind(run_dir: Path, kind: str) -> list[dict]:
    return [event for event in events_of(run_dir) if event["kind"] == kind]


def assert_rows_are_the_arrivals(run_dir: Path, count: int) -> None:
    """None missing, none twice; and the generator has checked it, too."""
    assert sorted(row["arrival"] for row in rows_of(run_dir)) == list(range(count))
    (checked,) = of_kind(run_dir, "rows_checked")
    assert (checked["arrivals"], checked["rows"]) == (count, count)


def assert_starts_are_where_the_schedule_has_them(rows: list[dict], scenario: Scenario) -> None:
    intended = {row["arrival"]: row["intended_start_s"] for row in rows}
    for schedule in schedule_of(scenario, {}):
        blocks = list(schedule.blocks())
        arrivals = np.concatenate([block.arrival for block in blocks]).tolist()
        starts_s = np.array([intended[n] for n in arrivals])
        starts_s -= np.concatenate([block.offset_s for block in blocks])
        assert np.ptp(starts_s) < 0.005, "one schedule, on one clock"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """`../run`, seen from a folder and a home with settings of Locust and a package like ours."""
    here, home, run_dir = tmp_path / "elsewhere", tmp_path / "home", tmp_path / "run"
    for folder in (here / "analysis", home, run_dir):
        folder.mkdir(parents=True)
    (here / "analysis" / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    for settings in (here / "locust.conf", home / ".locust.conf"):
        settings.write_text("users = 1\nspawn-rate = 1\nrun-time = 1s\n")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOCUST_USERS", "1")
    return run_dir


def test_every_arrival_is_a_row_wherever_the_user_is(elsewhere):
    """Whatever of theirs Locust would read: with one sender not all could be sent."""
    scenario = cheap_scenario(
        [
            {"name": "low", "rate_per_s": 20, "duration_s": 2},
            {"name": "up", "rate_per_s": 20, "ramp_to_rate_per_s": 60, "duration_s": 2},
        ]
    )
    with canned_server("--delay-s", "0.1") as port:
        code, generator = run(Path("../run"), scenario, port)
    rows = rows_of(elsewhere)
    assert code == EXIT_FINISHED
    assert_rows_are_the_arrivals(elsewhere, arrivals_of(scenario))
    assert {row["outcome"] for row in rows} == {"ok"}
    assert {row["airflow_status"] for row in rows} == {200}
    assert min(row["lag_s"] for row in rows) >= 0
    assert min(row["service_time_s"] for row in rows) >= 0.1
    assert_starts_are_where_the_schedule_has_them(rows, scenario)
    told = [(e["kind"], e["stage"]) for e in events_of(elsewhere) if "stage" in e]
    assert told == [(k, n) for n in (0, 1) for k in ("stage_started", "stage_ended", "drained")]
    assert "generator_load" in kinds(elsewhere)
    last = generator.latest()
    assert last is not None
    assert (last.arrivals, last.sent, last.ok) == (len(rows),) * 3
    assert (last.unsent, last.errors, last.in_flight) == (0, 0, 0)


def test_without_any_worker_the_run_ends(tmp_path):
    scenario = cheap_scenario([{"rate_per_s": 40, "duration_s": 90}])
    with canned_server() as port:
        generator = started(tmp_path, scenario, port, LoadProcesses(processes=2))
        until(sent_at_least(generator, 60))
        for worker in psutil.Process().children():
            if "--worker" in worker.cmdline():
                worker.kill()
        code = generator.wait(60)
    assert code == EXIT_FAILED
    assert {event["worker"] for event in of_kind(tmp_path, "worker_lost")} == {0, 1}
    assert "interrupted" not in kinds(tmp_path), "nobody stopped it"
    assert_rows_are_the_arrivals(tmp_path, len(rows_of(tmp_path)))


def test_a_frozen_server_shows_in_the_latencies(tmp_path):
    """A freeze of 2 s within 6 s hits a third of all arrivals, however few calls are in flight."""
    scenario = cheap_scenario([{"rate_per_s": 20, "duration_s": 6}])
    with canned_server("--freeze-at-call", "40", "--freeze-s", "2") as port:
        code, _ = run(tmp_path, scenario, port)
    assert code == EXIT_FINISHED
    latency_s = latencies_s(rows_of(tmp_path))
    assert np.quantile(latency_s, 0.95) > 1.2
    assert np.quantile(latency_s, 0.5) < 0.5
    assert 0.15 < np.mean(latency_s > 0.25) < 0.5


def test_recovery_from_a_freeze_that_outlasts_the_load(tmp_path):
    """Frozen for 4 s from the second second of 3 on: light load meets it frozen."""
    scenario = cheap_scenario([{"rate_per_s": 20, "duration_s": 3}])
    tree = scenario.model_dump(mode="json")
    tree["recovery"] = {"rate_per_s": 30, "hold_s": 2, "longest_s": 30}
    scenario = check_scenario(tree, origin="test")
    with canned_server("--freeze-at-call", "20", "--freeze-s", "4") as port:
        code, _ = run(tmp_path, scenario, port)
    assert code == EXIT_FINISHED
    (began,) = of_kind(tmp_path, "recovery_started")
    (ended,) = of_kind(tmp_path, "recovery_ended")
    assert (began["stage"], began["rate_per_s"]) == (0, 30)
    assert (ended["stage"], ended["recovered"]) == (0, True)
    assert ended["time_s"] - began["time_s"] < 20, "it did not go on for longer than it had to"
    rows = sorted(rows_of(tmp_path), key=lambda row: row["intended_start_s"])
    light = [row for row in rows if row["stage"] == -1]
    assert latencies_s(light[:5]).min() > 0.5, "the first calls met a frozen server"
    assert np.quantile(latencies_s(light[-20:]), 0.9) < 1
    (checked,) = of_kind(tmp_path, "rows_checked")
    assert checked["arrivals"] == checked["rows"] == len(rows)
    assert [e["kind"] for e in events_of(tmp_path) if "stage" in e] == [
        "stage_started",
        "stage_ended",
        "recovery_started",
        "recovery_ended",
        "drained",
    ]


def test_a_closed_workload(tmp_path):
    """Users who think 0.2 s and wait 0.3 s make two calls a second, not five."""
    scenario = cheap_scenario(
        [{"users": 6, "duration_s": 3}], traffic={"arrivals": "closed", "think_time_s": 0.2}
    )
    with canned_server("--delay-s", "0.3") as port:
        code, _ = run(tmp_path, scenario, port)
    rows = rows_of(tmp_path)
    assert code == EXIT_FINISHED
    assert {row["outcome"] for row in rows} == {"ok"}
    assert {row["arrival"] % 6 for row in rows} == set(range(6))
    assert len({row["arrival"] for row in rows}) == len(rows)
    assert 12 < len(rows) < 54, "3 s of 6 users who never wait for less than 0.3 s"
    for user in range(6):
        own = sorted(
            (row["intended_start_s"], row["lag_s"] + row["service_time_s"])
            for row in rows
            if row["arrival"] % 6 == user
        )
        for (start_s, latency_s), (next_s, _) in itertools.pairwise(own):
            assert next_s >= start_s + latency_s - 1e-3, "it waited for its answer"


def test_a_trace_is_played(tmp_path):
    text = "time_s\n" + "".join(f"{n / 50}\n" for n in range(50)) + "1.5\n" * 10 + "9\n"
    (tmp_path / trace_name(0)).write_text(text)
    stage = {"trace_file": "t.csv", "rate_per_s": 30, "peak_rate_per_s": 50, "duration_s": 2}
    scenario = cheap_scenario([stage], traffic={"arrivals": "trace"})
    with canned_server() as port:
        code, _ = run(tmp_path, scenario, port)
    assert code == EXIT_FINISHED
    assert_rows_are_the_arrivals(tmp_path, 60)
    starts_s = np.sort([row["intended_start_s"] for row in rows_of(tmp_path)])
    expected_s = parse_trace(text, "t.csv").time_s[:60]
    assert starts_s - starts_s[0] == pytest.approx(expected_s, abs=1e-4)


def test_a_full_pool_leaves_rows_of_unsent_arrivals(tmp_path):
    """Two senders, calls of half a second: at most four a second can be sent of the twenty due."""
    scenario = cheap_scenario([{"rate_per_s": 20, "duration_s": 3}], max_in_flight=2)
    with canned_server("--delay-s", "0.5") as port:
        code, generator = run(tmp_path, scenario, port)
    rows = rows_of(tmp_path)
    assert code == EXIT_FINISHED
    assert len(rows) == arrivals_of(scenario)
    unsent = [row for row in rows if row["outcome"] == "unsent"]
    sent = [row for row in rows if row["outcome"] == "ok"]
    assert len(unsent) + len(sent) == len(rows)
    assert 2 <= len(sent) <= 14
    assert {row["attempts"] for row in unsent} == {0}
    assert {row["lag_s"] for row in unsent} == {None}
    # The senders that there were did not make anybody wait.
    assert np.median([row["lag_s"] for row in sent]) < 0.25
    assert generator.latest().unsent == len(unsent)


def test_sigterm_drains_and_leaves_a_whole_record(tmp_path):
    scenario = cheap_scenario([{"rate_per_s": 20, "duration_s": 60}])
    with canned_server("--delay-s", "0.8") as port:
        generator = started(tmp_path, scenario, port)
        until(sent_at_least(generator, 30))
        generator.request_stop()
        code = generator.wait(30)
    rows = rows_of(tmp_path)
    assert code == EXIT_INTERRUPTED
    assert {row["outcome"] for row in rows} == {"ok"}, "calls in flight came to their end"
    assert sorted(row["arrival"] for row in rows) == list(range(len(rows)))
    assert len(rows) == generator.latest().arrivals
    assert "interrupted" in kinds(tmp_path)
    assert "stage_ended" not in kinds(tmp_path)
    assert kinds(tmp_path)[-2:] == ["drained", "rows_checked"]


def test_sigterm_before_anything_began(tmp_path):
    scenario = cheap_scenario([{"rate_per_s": 20, "duration_s": 60}])
    with canned_server() as port:
        generator = started(tmp_path, scenario, port)
        generator.request_stop()
        code = generator.wait(30)
    assert code in (EXIT_INTERRUPTED, -signal.SIGTERM)


def test_a_kill_loses_the_last_seconds_only(tmp_path):
    scenario = cheap_scenario([{"rate_per_s": 50, "duration_s": 60}])
    with canned_server() as port:
        generator = started(tmp_path, scenario, port)
        until(sent_at_least(generator, 150))
        sent = generator.latest()
        generator.kill()
        assert generator.wait(5) == -signal.SIGKILL
    rows = rows_of(tmp_path)
    # A status line is printed behind the flush of all rows that ended before it.
    assert sent.ok + sent.errors + sent.unsent <= len(rows)
    assert {row["outcome"] for row in rows} == {"ok"}


def test_too_many_errors_abort_the_run(tmp_path):
    scenario = cheap_scenario(
        [{"rate_per_s": 20, "duration_s": 60}], abort_error_rate=0.5, abort_window_s=5
    )
    with canned_server("--broken") as port:
        code, _ = run(tmp_path, scenario, port)
    assert code == EXIT_ABORTED
    aborted = [event for event in events_of(tmp_path) if event["kind"] == "aborted"]
    assert len(aborted) == 1
    assert "abort_error_rate is 0.5" in aborted[0]["reason"]
    rows = rows_of(tmp_path)
    assert {row["outcome"] for row in rows} == {"airflow_server_error"}
    assert 20 <= len(rows) < arrivals_of(scenario) / 4


def test_an_environment_that_is_not_there(tmp_path):
    scenario = cheap_scenario([{"rate_per_s": 20, "duration_s": 2}])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        code, _ = run(tmp_path, scenario, taken.getsockname()[1])
    assert code in (EXIT_FINISHED, EXIT_ABORTED)
    assert {row["outcome"] for row in rows_of(tmp_path)} == {"connection_error"}


@pytest.mark.parametrize("transport", ["lean", "boto3"])
def test_calls_are_cut_at_the_time_limit(tmp_path, transport):
    scenario = cheap_scenario(
        [{"rate_per_s": 10, "duration_s": 1}],
        traffic={"transport": transport},
        call_timeout_s=0.5,
        abort_error_rate=1,
    )
    with canned_server("--delay-s", "20") as port:
        code, _ = run(tmp_path, scenario, port)
    rows = rows_of(tmp_path)
    assert code == EXIT_FINISHED
    assert {row["outcome"] for row in rows} == {"client_timeout"}
    assert len(rows) == arrivals_of(scenario)
    assert min(row["service_time_s"] for row in rows) >= 0.45


def test_load_never_goes_where_the_scenario_does_not_allow(tmp_path):
    tree = cheap_scenario([{"rate_per_s": 20, "duration_s": 2}]).model_dump(mode="json")
    tree["environment"] = {"kind": "aws", "name": "prod"}
    tree["limits"]["allow_environment"] = "arn:aws:airflow:us-east-1:123456789012:other"
    prepare(tmp_path, check_scenario(tree, origin="test"))
    with canned_server("--arn", "arn:aws:airflow:us-east-1:123456789012:prod") as port:
        generator = Generator(tmp_path, variables(port))
        generator.start()
        code = generator.wait(60)
    log = (tmp_path / GENERATOR_LOG).read_text()
    assert code == EXIT_UNUSABLE, log
    assert "allow_environment" in log


def test_a_log_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / GENERATOR_LOG).mkdir()
    with pytest.raises(HeadroomError, match=r"Cannot write '.*generator\.log'"):
        Generator(tmp_path, variables(1)).start()


def test_a_run_directory_without_a_scenario(tmp_path):
    generator = Generator(tmp_path, variables(1))
    generator.start()
    assert generator.wait(60) == EXIT_UNUSABLE
    assert SCENARIO_FILE in (tmp_path / GENERATOR_LOG).read_text()
    assert generator.latest() is None


def test_it_does_not_outlive_its_parent(tmp_path):
    prepare(tmp_path, cheap_scenario([{"rate_per_s": 10, "duration_s": 90}]))
    parent = textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from mwaa_headroom.harness.run.load_processes import Generator
        generator = Generator(Path(sys.argv[1]), os.environ)
        generator.start()
        while generator.latest() is None:
            time.sleep(0.05)
        print(generator._main.pid, flush=True)
        time.sleep(90)
    """)
    with (
        canned_server() as port,
        subprocess.Popen(
            [sys.executable, "-c", parent, str(tmp_path)],
            env=variables(port),
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs([child], timeout=20)
        for left in alive:
            left.kill()
    assert not alive
    assert "interrupted" in kinds(tmp_path)
    assert rows_of(tmp_path)


def locust_by_itself(scenario: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--headless", "-f", str(LOCUSTFILE)),
            *("--headroom-scenario", str(scenario), "--json"),
        ],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def short_scenario(tmp_path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(
        'slo = ["p95(latency) < 1s"]\n[question]\nask = "check"\n'
        '[environment]\nkind = "simulated"\nname = "alone"\n'
        "[traffic.mix]\nget_dag_run = 1\ntrigger_dag_run = 1\n"
        "[[stages]]\nrate_per_s = 10\nduration_s = 2\n"
    )
    return path


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> Iterator[StandIn]:
    directory = tmp_path_factory.mktemp("stand-in")
    with StandIn.start(SimulatedSettings(name="alone"), directory, lambda _: None) as stand_in:
        yield stand_in


def test_locust_by_itself_finds_its_targets(stand_in, short_scenario):
    done = locust_by_itself(short_scenario, stand_in.endpoints.as_variables())
    assert done.returncode == EXIT_FINISHED, done.stderr
    statistics = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert set(statistics) == {"get_dag_run", "trigger_dag_run"}
    assert sum(entry["num_requests"] for entry in statistics.values()) > 5
    assert sum(entry["num_failures"] for entry in statistics.values()) == 0


def test_locust_by_itself_needs_an_environment(short_scenario):
    done = locust_by_itself(short_scenario, variables(9))
    assert done.returncode == EXIT_UNUSABLE, done.stderr
    assert "http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_locust_by_itself_refuses_what_nobody_allowed(short_scenario):
    """Whatever answers: an environment of kind aws must be named in the scenario's limits."""
    with canned_server("--arn", "arn:aws:airflow:us-east-1:123456789012:environment/alone") as port:
        text = short_scenario.read_text().replace('kind = "simulated"', 'kind = "aws"')
        short_scenario.write_text(text)
        done = locust_by_itself(short_scenario, variables(port))
    assert done.returncode == EXIT_UNUSABLE, done.stderr
    assert "allow_environment" in done.stderr


def test_the_web_ui_starts_one_test_after_the_other(stand_in, short_scenario):
    """A master with its web UI and one worker, as somebody without `headroom run` starts them."""
    web_port, master_port = reserve_port(), reserve_port()
    locust = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]
    master_options = [
        *("--master", "--master-bind-port", str(master_port), "--web-port", str(web_port)),
        *("--headroom-scenario", str(short_scenario)),
    ]
    worker_options = ["--worker", "--master-port", str(master_port)]
    with ExitStack() as stack:
        environment = {**os.environ, **stand_in.endpoints.as_variables()}
        for options in (master_options, worker_options):
            process = subprocess.Popen(
                [*locust, *options], env=environment, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        url = f"http://127.0.0.1:{web_port}"
        until(lambda: statistics_of(url).get("worker_count") == 1, within_s=60)
        for _ in range(2):
            start = urllib.request.Request(f"{url}/swarm", b"user_count=5&spawn_rate=5")
            assert json.load(urllib.request.urlopen(start))["success"]
            until(lambda: statistics_of(url)["state"] == "running")
            until(lambda: statistics_of(url)["state"] == "stopped")
            # A worker's last figures reach the master a moment after the test has stopped.
            until(lambda: total_of(url)["num_requests"] > 5, within_s=30)
            assert total_of(url)["num_failures"] == 0


def total_of(url: str) -> dict:
    total = statistics_of(url)["stats"][-1]
    assert total["name"] == "Aggregated"
    return total


def statistics_of(url: str) -> dict:
    with suppress(OSError), urllib.request.urlopen(f"{url}/stats/requests") as answer:
        return json.load(answer)
    return {}


def test_the_web_ui_listens_on_this_machine_unless_told_otherwise() -> None:
    # A process of its own, because importing Locust patches the standard library.
    done = subprocess.run(
        [sys.executable, "-c", PARSE], capture_output=True, text=True, timeout=60, check=True
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("web host")]
    assert told == ["web host: 127.0.0.1", "web host: 127.0.0.2"]


class KeysSeen(http.server.BaseHTTPRequestHandler):
    """Answers every call, and remembers whose signature it had."""

    protocol_version = "HTTP/1.1"
    ids: ClassVar[list[str]] = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.ids.append(self.headers["Authorization"].split("Credential=")[1].split("/")[0])
        body = b'{"RestApiStatusCode": 200, "RestApiResponse": {}}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("processes", [1, 2])
def test_load_processes_sign_with_keys_they_were_handed_and_follow_new_ones(tmp_path, processes):
    """Also those in their variables are not asked for; nothing is left on disk."""
    issued = count(1)

    def keys_for_a_moment():
        until = datetime.now(UTC) + timedelta(seconds=20)  # so soon that they are renewed at once
        number = next(issued)
        return {
            "access_key": f"ASIA{number}",
            "secret_key": "very-secret",
            "token": "t",
            "expiry_time": until.isoformat(),
        }

    credentials = RefreshableCredentials.create_from_metadata(
        keys_for_a_moment(), keys_for_a_moment, "test"
    )
    KeysSeen.ids.clear()
    prepare(tmp_path, cheap_scenario([{"rate_per_s": 20, "duration_s": 4}]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), KeysSeen) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        generator = Generator(
            tmp_path,
            variables(server.server_address[1]),
            LoadProcesses(processes=processes),
            keys=KeySource(credentials, "env"),
        )
        generator.start()
        try:
            assert generator.wait(60) == EXIT_FINISHED
        finally:
            generator.kill()
            server.shutdown()
    seen = set(KeysSeen.ids)
    assert len(KeysSeen.ids) == len(rows_of(tmp_path))
    assert seen <= {f"ASIA{number}" for number in range(1, next(issued))}
    assert len(seen) >= 3
    assert not any("very-secret" in path.read_text("latin-1") for path in tmp_path.glob("*"))
