"""Web login tokens and the webserver address."""

from collections.abc import Callable
from http.cookies import SimpleCookie

import pytest
from gateway_stand import ENVIRONMENT, VIEWER_KEY_ID, HttpAnswer, Reply, Stand, http_call

V3_LOGIN = "/pluginsv2/aws_mwaa/login"


def web_token(stand: Stand, **changes: str) -> str:
    answer = stand.client(**changes).create_web_login_token(Name=ENVIRONMENT)
    return str(answer["WebToken"])


def log_in(stand: Stand, token: str, path: str = V3_LOGIN) -> HttpAnswer:
    return http_call(stand.addresses.webserver_url, "POST", path, form={"token": token})


def cookie(answer: HttpAnswer, name: str) -> str:
    return SimpleCookie(answer.headers["Set-Cookie"])[name].value


def call(stand: Stand, path: str, method: str = "GET", **headers: str) -> HttpAnswer:
    return http_call(stand.addresses.webserver_url, method, path, headers=headers)


def test_the_token_comes_with_its_address(stand: Stand) -> None:
    answer = stand.client().create_web_login_token(Name=ENVIRONMENT)
    assert f"http://{answer['WebServerHostname']}" == stand.addresses.webserver_url
    assert answer["IamIdentity"] == "user/tester"
    assert answer["AirflowIdentity"] == "tester"
    assert len(answer["WebToken"]) >= 32


def test_round_trip_on_airflow_3(stand: Stand) -> None:
    session = cookie(log_in(stand, web_token(stand, aws_access_key_id=VIEWER_KEY_ID)), "_token")
    answer = call(stand, "/api/v2/dags?limit=1&tags=a", Authorization=f"Bearer {session}")
    assert (answer.status, answer.json()) == (200, {"ok": True})
    (seen,) = stand.webservers[0].seen
    assert seen.raw_path == "/api/v2/dags?limit=1&tags=a"
    assert seen.headers["Authorization"] == "Bearer airflow-Viewer"
    assert session not in str(seen.headers)


def test_round_trip_on_airflow_2(start_stand: Callable[..., Stand]) -> None:
    stand = start_stand(airflow_version="2.11.2")
    session = cookie(log_in(stand, web_token(stand), "/aws_mwaa/login"), "session")
    assert call(stand, "/api/v1/dags", Cookie=f"session={session}").status == 200
    assert call(stand, "/api/v1/dags", Authorization=f"Bearer {session}").status == 401
    assert call(stand, "/api/v2/dags", Cookie=f"session={session}").status == 404
    (seen,) = stand.webservers[0].seen
    assert seen.headers["Authorization"] == "Bearer airflow-Admin"
    assert "Cookie" not in seen.headers


def test_the_login_of_airflow_2_is_a_page_on_airflow_3(stand: Stand) -> None:
    answer = log_in(stand, web_token(stand), "/aws_mwaa/login")
    assert (answer.status, answer.headers.get("Set-Cookie")) == (200, None)
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_login_may_redirect_to_the_same_path_and_a_slash(
    start_stand: Callable[..., Stand],
) -> None:
    stand = start_stand(login_redirects=True)
    token = web_token(stand)
    answer = log_in(stand, token)
    assert (answer.status, answer.headers["Location"]) == (307, f"{V3_LOGIN}/")
    assert cookie(log_in(stand, token, f"{V3_LOGIN}/"), "_token")


def test_a_login_form_holds_no_more_than_a_token(stand: Stand) -> None:
    large = log_in(stand, "&a=".join("x" * 5000))
    assert large.status == 413
    assert log_in(stand, "x" * 5000).status == 401


def test_bodies_and_airflows_own_statuses_pass(stand: Stand) -> None:
    session = cookie(log_in(stand, web_token(stand)), "_token")
    stand.webservers[0].replies["/api/v2/dags/x/dagRuns"] = Reply(
        409, b'{"detail": "exists"}', "application/problem+json"
    )
    answer = http_call(
        stand.addresses.webserver_url,
        "POST",
        "/api/v2/dags/x/dagRuns",
        headers={"Cookie": f"_token={session}", "Content-Type": "application/json"},
        body=b'{"logical_date":null}',
    )
    assert (answer.status, answer.json()) == (409, {"detail": "exists"})
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert stand.webservers[0].seen[0].body == b'{"logical_date":null}'
    assert stand.webservers[0].seen[0].headers["Content-Type"] == "application/json"


def test_a_token_serves_once(stand: Stand) -> None:
    token = web_token(stand)
    assert log_in(stand, token).status == 200
    assert log_in(stand, token).status == 401


@pytest.mark.parametrize(("age_s", "status"), [(59.0, 200), (61.0, 401)])
def test_a_token_lives_for_a_minute(stand: Stand, age_s: float, status: int) -> None:
    token = web_token(stand)
    stand.clock_offset_s = age_s - 0.5
    assert log_in(stand, token).status == status


@pytest.mark.parametrize(("age_h", "status"), [(11.9, 200), (12.1, 401)])
def test_a_session_lives_for_twelve_hours(stand: Stand, age_h: float, status: int) -> None:
    session = cookie(log_in(stand, web_token(stand)), "_token")
    stand.clock_offset_s = age_h * 3600
    assert call(stand, "/api/v2/dags", Authorization=f"Bearer {session}").status == status


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer guess"}, {"Cookie": "_token=guess"}]
)
def test_without_a_session_nothing_passes(stand: Stand, headers: dict[str, str]) -> None:
    assert call(stand, "/api/v2/dags", **headers).status == 401
    assert stand.webservers[0].seen == []


def test_a_web_token_is_no_session(stand: Stand) -> None:
    assert call(stand, "/api/v2/dags", Authorization=f"Bearer {web_token(stand)}").status == 401


@pytest.mark.parametrize("path", ["/", "/admin", "/api/v2/../../admin", "/api/v1/dags"])
def test_only_the_rest_api_is_reachable(stand: Stand, path: str) -> None:
    session = cookie(log_in(stand, web_token(stand)), "_token")
    assert call(stand, path, Authorization=f"Bearer {session}").status == 404
    assert stand.webservers[0].seen == []


def test_failing_webservers_answer_as_a_load_balancer_does(stand: Stand) -> None:
    session = cookie(log_in(stand, web_token(stand)), "_token")
    stand.webservers[0].replies["/api/v2/x"] = Reply(hang_up=True)
    assert call(stand, "/api/v2/x", Authorization=f"Bearer {session}").status == 502
    stand.balancer.remove("webserver-1")
    assert call(stand, "/api/v2/x", Authorization=f"Bearer {session}").status == 503
