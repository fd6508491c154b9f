"""What the gateway costs: its own CPU per call, and the latency it adds at 50 calls/s.

Three processes, all on loopback: a canned webserver that answers after a fixed time, the gateway in
front of it, and this client, which sends signed calls through the gateway and plain requests
straight to the webserver, in turn, on a constant schedule, so that both meet the same noise.

    .venv/bin/python benchmarks/gateway_cost.py
"""

import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import boto3
import urllib3
from aiohttp import web
from botocore.config import Config

from mwaa_headroom.harness.local.gateway.balancer import Balancer
from mwaa_headroom.harness.local.gateway.server import Gateway
from mwaa_headroom.harness.local.gateway.signature import Credential
from mwaa_headroom.harness.local.settings import SimulatedSettings

CALLS_PER_S = 50
CALLS = 1000  # each way
ANSWER_S = 0.020
ANSWER = json.dumps({"dags": [{"dag_id": f"dag_{i}", "is_paused": False} for i in range(20)]})
SETTINGS = SimulatedSettings(name="bench")
KEY, SECRET = "AKIDBENCH", "not-a-secret-outside-this-process"


def serve_webserver(pipe: Connection) -> None:
    """The canned webserver."""

    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(ANSWER_S)
        return web.Response(text=ANSWER, content_type="application/json")

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.to_thread(pipe.recv)
        await runner.cleanup()

    asyncio.run(main())


def serve_gateway(pipe: Connection) -> None:
    """The product's gateway; answers each message with its CPU seconds so far."""

    async def no_header(_: str) -> None:
        return None

    async def main(cloudtrail: Path) -> None:
        balancer = Balancer()
        balancer.add("webserver-1", f"http://127.0.0.1:{pipe.recv()}")
        gateway = Gateway(
            settings=SETTINGS,
            airflow_version="3.3.1",
            balancer=balancer,
            credentials=[Credential(KEY, SECRET, "bench", SETTINGS.account, SETTINGS.airflow_role)],
            authorization=no_header,
            cloudtrail_path=cloudtrail,
        )
        pipe.send((await gateway.start()).mwaa_url)
        while await asyncio.to_thread(pipe.recv) != "stop":
            pipe.send(time.process_time())
        await gateway.stop()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(Path(directory) / "cloudtrail.jsonl"))


def on_schedule(first: Callable[[], None], second: Callable[[], None]) -> list[list[float]]:
    """Start both kinds of call in turn; latencies from the intended start."""
    latencies: list[list[float]] = [[], []]

    def timed(kind: int, call: Callable[[], None], intended_s: float) -> None:
        call()
        latencies[kind].append(time.perf_counter() - intended_s)

    with ThreadPoolExecutor(32) as pool:
        start_s = time.perf_counter() + 0.1
        for index in range(2 * CALLS):
            due_s = start_s + index / (2 * CALLS_PER_S)
            time.sleep(max(0.0, due_s - time.perf_counter()))
            pool.submit(timed, index % 2, (first, second)[index % 2], due_s)
    return latencies


def main() -> None:
    """Measure and print."""
    to_webserver, webserver_end = multiprocessing.Pipe()
    to_gateway, gateway_end = multiprocessing.Pipe()
    processes = [
        multiprocessing.Process(target=serve_webserver, args=(webserver_end,)),
        multiprocessing.Process(target=serve_gateway, args=(gateway_end,)),
    ]
    for process in processes:
        process.start()
    port = to_webserver.recv()
    to_gateway.send(port)
    mwaa = boto3.client(
        "mwaa",
        region_name=SETTINGS.region,
        endpoint_url=to_gateway.recv(),
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        config=Config(
            inject_host_prefix=False, max_pool_connections=32, retries={"total_max_attempts": 1}
        ),
    )
    plain = urllib3.PoolManager(maxsize=32)

    def through() -> None:
        mwaa.invoke_rest_api(Name="bench", Path="/dags", Method="GET")

    def direct() -> None:
        plain.request("GET", f"http://127.0.0.1:{port}/api/v2/dags").json()

    for _ in range(50):  # connections, caches
        through()
        direct()
    to_gateway.send("cpu")
    before_s = to_gateway.recv()
    latencies = on_schedule(through, direct)
    to_gateway.send("cpu")
    cpu_s = to_gateway.recv() - before_s
    to_gateway.send("stop")
    to_webserver.send("stop")
    for process in processes:
        process.join(10)

    print(f"gateway CPU per call: {1000 * cpu_s / CALLS:.2f} ms")
    print(f"at {CALLS_PER_S} calls/s each way, webserver answers after {1000 * ANSWER_S:.0f} ms:")
    for name, values in zip(
        ("through gateway (boto3)", "direct (urllib3)"), latencies, strict=True
    ):
        ordered = sorted(values)
        p50, p99 = 1000 * statistics.median(ordered), 1000 * ordered[int(0.99 * len(ordered))]
        print(f"  {name:24} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")

    added = statistics.median(latencies[0]) / statistics.median(latencies[1])
    print(
        f"  ratio of medians {added:.2f} (includes what boto3 costs the client: signing, parsing)"
    )


if __name__ == "__main__":
    main()
