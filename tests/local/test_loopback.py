"""Which requests a port on loopback answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwaa_headroom.harness.local.loopback import is_foreign

OWN = "127.0.0.1:8080"


@pytest.mark.parametrize(
    "host", [OWN, "localhost:8080", "LOCALHOST:8080", "[::1]:8080", "env.localhost:8080"]
)
def test_programs_of_this_machine_are_answered(host: str) -> None:
    assert not is_foreign({"Host": host}, 8080)
    assert not is_foreign({"Host": host, "Origin": f"http://{host}"}, 8080)
    assert not is_foreign({"Host": host, "Origin": f"https://{host}"}, 8080)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:80800",
        "127.0.0.1:18080",
        "evil.example:8080",
        "127.0.0.1.evil.example:8080",
        "evil.localhost:8080",
        "evil@127.0.0.1:8080",
        "127.0.0.1:8080, evil.example:8080",
        "localhost.:8080",
        "0.0.0.0:8080",
        "[::ffff:127.0.0.1]:8080",
        "2130706433:8080",
        "[",
    ],
)
def test_other_hosts_are_foreign(host: str) -> None:
    assert is_foreign({"Host": host}, 8080)
    assert is_foreign({"Host": host, "Origin": f"http://{host}"}, 8080)


def test_no_host_is_foreign() -> None:
    assert is_foreign({}, 8080)


def test_the_port_of_the_scheme_may_be_left_out() -> None:
    assert not is_foreign({"Host": "localhost"}, 80)
    assert not is_foreign({"Host": "env.127.0.0.1:443"}, 443)


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "http://localhost.evil.example:8080", "http://127.0.0.1", "file://"),
        *("http://localhost:8080", "http://127.0.0.1:3000", "http://127.0.0.1:8080.evil.example"),
    ],
)
def test_other_origins_are_foreign(origin: str) -> None:
    assert is_foreign({"Host": OWN, "Origin": origin}, 8080)


@pytest.mark.parametrize(
    ("site", "foreign"),
    [("cross-site", True), ("same-site", True), ("same-origin", False), ("none", False)],
)
def test_pictures_and_links_of_other_pages_are_foreign(site: str, foreign: bool) -> None:
    """A browser sends no Origin with these."""
    assert is_foreign({"Host": OWN, "Sec-Fetch-Site": site}, 8080) == foreign


@given(st.text())
def test_any_origin_but_the_own_is_foreign(origin: str) -> None:
    own = (f"http://{OWN}", f"https://{OWN}")
    assert is_foreign({"Host": OWN, "Origin": origin}, 8080) == (origin.lower() not in own)
