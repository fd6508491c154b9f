"""A webserver process that does not come up, and the ports that webservers get."""

import asyncio
import sys
from pathlib import Path

import pytest

from mwaa_headroom.harness.errors import EnvironmentStartError
from mwaa_headroom.harness.local.airflow.webserver import AirflowWebserver, free_port
from mwaa_headroom.harness.local.processes import Children


@pytest.mark.slow
def test_a_webserver_that_ends_while_starting_names_its_log_and_the_reason(tmp_path: Path) -> None:
    log = tmp_path / "webserver-1.log"
    code = "print('starting'); print('ValueError: the port is taken'); print('bye'); exit(3)"
    with Children(tmp_path / "state") as children:
        child = children.start("webserver-1", [sys.executable, "-c", code], env={}, log_path=log)
        webserver = AirflowWebserver(
            name="webserver-1",
            base_url=f"http://127.0.0.1:{free_port()}",
            health="/health",
            child=child,
            children=children,
            limit=None,
            memory_mib=100,
        )
        with pytest.raises(EnvironmentStartError) as caught:
            asyncio.run(webserver.wait_until_ready())
    assert str(caught.value) == (
        f"webserver-1 ended while it was starting (ValueError: the port is taken); see {log}."
    )
    assert not webserver.is_alive()
    assert not webserver.ready
    assert webserver.usage().memory_fraction < 1


def test_free_ports_are_below_those_of_outgoing_connections() -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 10
    assert all(1024 < port < 32768 for port in ports)
