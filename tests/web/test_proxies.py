"""Who asks, when a proxy stands between; and what is refused, told to everybody whom it concerns."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

from dp_coordinator.hosts import allowed_host, allowed_origin, network
from dp_coordinator.web.access.proxies import PREFIX, TrustedProxies
from tests.web.rig import TOKEN, Site, site
from tests.web.test_rest import problem
from tests.web.test_security import BEARER, cookie_of, handshake_status, login

PROXY = ("10.0.0.0/8", "127.0.0.1")


def seen(peer: str, path: str = "/", **headers: str) -> dict[str, Any]:
    """A scope, as it is after the headers of a peer were heeded."""
    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {
        "type": "http",
        "client": (peer, 4711),
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "headers": [(b"host", b"inside"), *told],
    }
    TrustedProxies(PROXY).correct(scope)
    return scope


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),  # the client's own words stand left
        ("10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),  # through two proxies
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),  # the client is a proxy's machine
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),  # as a socket of [::] shows it
        ("::ffff:192.0.2.1", "203.0.113.9", "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9", "192.0.2.1"),  # not trusted
    ],
)
def test_the_client_is_the_nearest_that_is_no_proxy(peer: str, forwarded: str, client: str) -> None:
    assert seen(peer, x_forwarded_for=forwarded)["client"][0] == client


def test_what_a_proxy_says_of_itself() -> None:
    scope = seen(
        "10.0.0.1",
        "/b/api/v1/state",
        x_forwarded_proto="https",
        x_forwarded_host="evil.example, dp.example",
        x_forwarded_prefix="/b/",
    )
    assert (scope["scheme"], scope["path"], scope["raw_path"]) == ("https", "/api/v1/state", b"/api/v1/state")
    assert dict(scope["headers"])[b"host"] == b"dp.example"
    assert scope[PREFIX] == "/b"
    assert seen("10.0.0.1", "/api", x_forwarded_prefix="/b")["path"] == "/api"  # the proxy took it off itself
    assert seen("10.0.0.1", "/bb", x_forwarded_prefix="/b")["path"] == "/bb"
    assert seen("10.0.0.1", "/b", x_forwarded_prefix="/b")["path"] == "/"
    assert seen("10.0.0.1", "//api/v1/state", x_forwarded_prefix="/b")["raw_path"] == b"/api/v1/state"
    assert seen("192.0.2.1", "//api", x_forwarded_prefix="/b")["path"] == "//api"
    assert seen("10.0.0.1", "/@me/a b/x", x_forwarded_prefix="/@me/a%20b")["path"] == "/x"


@pytest.mark.parametrize("prefix", ["//evil.example", "b", "/b%2", "/b c", "/" + "b" * 300, "/b\\c"])
def test_prefixes_that_are_none(prefix: str) -> None:
    assert seen("10.0.0.1", "/x", x_forwarded_prefix=prefix)[PREFIX] == ""


def test_nobody_else_is_believed() -> None:
    lies = {"x_forwarded_proto": "https", "x_forwarded_host": "dp.example", "x_forwarded_prefix": "/b"}
    scope = seen("192.0.2.1", "/b/x", **lies)
    assert (scope["scheme"], scope["path"], dict(scope["headers"])[b"host"]) == ("http", "/b/x", b"inside")


# -- through the server ----------------------------------------------------------------------------------------------


def test_wrong_logins_through_a_proxy_lock_out_their_own_client_alone() -> None:
    with site(token=TOKEN, trusted_proxies=PROXY) as running:
        for _ in range(5):
            problem(login(running, "wrong", **{"x-forwarded-for": "203.0.113.9"}), 401, "unauthorized")
        problem(login(running, "wrong", **{"x-forwarded-for": "203.0.113.9"}), 429, "too-many-attempts")
        assert login(running, TOKEN, **{"x-forwarded-for": "203.0.113.10"}).status_code == 200


def test_the_event_log_names_the_client(fresh: Site) -> None:
    with site(trusted_proxies=PROXY) as running:
        running.loop.subscribe_all()
        assert running.start(None, x_forwarded_for="203.0.113.9").json()["caller"] == "203.0.113.9"


@pytest.mark.parametrize(("headers", "path"), [({}, "/"), ({"x-forwarded-prefix": "/b"}, "/b/")])
def test_a_cookie_is_for_where_we_are_seen(headers: dict[str, str], path: str) -> None:
    with site(token=TOKEN, trusted_proxies=PROXY) as running:
        answer = login(running, TOKEN, **headers)
        assert f"; Path={path};" in answer.headers["set-cookie"]
        out = running.http.post("/api/v1/logout", headers={"cookie": cookie_of(answer)})
        assert f"; Path={path};" in out.headers["set-cookie"]  # else the browser would keep it


def test_the_page_tells_where_it_is_seen() -> None:
    with site(token=TOKEN) as running:
        given = running.http.post("/api/v1/login", json={"token": TOKEN, "path": "/some/where/"})
        assert "; Path=/some/where/;" in given.headers["set-cookie"]
        given = running.http.post("/api/v1/login", json={"token": TOKEN, "path": "/some/x;y/z/"})
        assert "; Path=/some/;" in given.headers["set-cookie"]
        for path in ("x", "/x", "/\r\n/", "//", ""):
            problem(running.http.post("/api/v1/login", json={"token": TOKEN, "path": path}), 422, "invalid-body")


def test_the_cookie_is_secure_where_the_proxy_says_https() -> None:
    with site(token=TOKEN, trusted_proxies=PROXY) as running:
        assert "; Secure" in login(running, TOKEN, **{"x-forwarded-proto": "https"}).headers["set-cookie"]


def test_two_deployments_under_one_name_do_not_share_a_cookie() -> None:
    with site(token=TOKEN) as one, site(token=TOKEN) as other:
        assert cookie_of(login(one)).partition("=")[0] != cookie_of(login(other)).partition("=")[0]


# -- refusals --------------------------------------------------------------------------------------------------------


def test_refusals_are_counted_and_logged_at_a_limited_rate(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dp_coordinator.web")
    with site() as running:
        for _ in range(50):
            running.get("/", headers={"host": "dp.example"})
            running.start(None, origin="https://dp.example")
            running.get("/api/v1/stream")
        metrics = running.get("/metrics").text
    for reason in ("host", "origin", "upgrade"):
        assert f'dp_coordinator_http_refused_total{{reason="{reason}"}} 50.0' in metrics
    said = [line for line in caplog.messages if line.startswith("refused")]
    assert len(said) <= 3 * 6
    assert "--allowed-host dp.example" in said[0]
    assert "--allowed-origin" in said[1]
    assert "Upgrade and Connection" in said[2]


def test_a_proxy_that_drops_the_port_is_told_what_to_do() -> None:
    with site(allowed_hosts=("dp.example",)) as running:
        told = problem(running.start(None, host="dp.example", origin="https://dp.example:8443"), 403, "bad-origin")
        assert "proxy_set_header Host $http_host" in told["detail"]
        assert "--allowed-origin https://dp.example:8443" in told["detail"]
    with site(allowed_hosts=("dp.example",), allowed_origins=("https://dp.example:8443",)) as running:
        running.loop.subscribe_all()
        assert running.start(None, host="dp.example", origin="https://dp.example:8443").status_code == 202


def test_a_lost_handshake_is_told_to_the_page(fresh: Site) -> None:
    assert fresh.get("/api/v1/session").json() == {"token_required": False, "authenticated": True}
    answer = fresh.get("/api/v1/stream")
    problem(answer, 426, "upgrade-required")
    assert answer.headers["upgrade"] == "websocket"
    assert "Upgrade and Connection" in fresh.get("/api/v1/session").json()["stream_refused"]
    assert handshake_status(fresh, origin="https://evil.example") == 403
    assert "evil.example" in fresh.get("/api/v1/session").json()["stream_refused"]


# -- guesses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/state", "/metrics", "/api/v1/session", "/docs", "/"])
def test_bearer_guesses_are_slowed_counted_and_logged(path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dp_coordinator.web")
    with site(token=TOKEN, login_burst=2) as running:
        for number in range(3):
            answer = running.get(path, headers={"authorization": f"Bearer guess-{number}"})
        problem(answer, 429, "too-many-attempts")
        assert answer.elapsed.total_seconds() >= 1
        assert running.get(path, headers=BEARER).status_code == 200  # never refused for what others guess
        assert 'http_refused_total{reason="token"} 3.0' in running.get("/metrics", headers=BEARER).text
        assert running.get("/livez", headers={"authorization": "Bearer wrong"}).status_code == 200
    assert [line for line in caplog.messages if "127.0.0.1" in line]
    assert "guess-" not in caplog.text


def test_a_program_with_an_old_token_does_not_lock_out_logins() -> None:
    with site(token=TOKEN, login_burst=1) as running:
        for _ in range(2):
            running.get("/metrics", headers={"authorization": "Bearer old-token-of-decent-length"})
        assert login(running).status_code == 200


def test_who_comes_through_a_proxy_that_nobody_named_is_told_of_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dp_coordinator.web")
    with site(token=TOKEN) as running:
        login(running, "wrong", **{"x-forwarded-for": "203.0.113.9"})
    assert "--trusted-proxy" in caplog.text


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("dp.example", "dp.example"),
        ("DP.example.", "dp.example"),
        ("dp.example:8443", "dp.example"),
        ("https://dp.example", "dp.example"),
        ("https://dp.example:8443/", "dp.example"),
        ("[::1]:80", "::1"),
        ("::1", "::1"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_allowed_hosts_in_one_form(given: str, name: str) -> None:
    assert allowed_host(given) == name


@pytest.mark.parametrize("given", ["*", "*.example.com", "", "https://", "ftp://h", "h/x", "a b", "h:port", "u@h"])
def test_allowed_hosts_that_would_never_match(given: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(given))):
        allowed_host(given)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://ops.example", "https://ops.example"),
        ("HTTPS://Ops.example:443/", "https://ops.example"),
        ("http://ops.example:8000", "http://ops.example:8000"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_allowed_origins_as_browsers_send_them(given: str, origin: str) -> None:
    assert allowed_origin(given) == origin


@pytest.mark.parametrize("given", ["ops.example", "ops.example:8000", "*", "https://*", "https://h/x", "ws://h", ""])
def test_allowed_origins_that_would_never_match(given: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        allowed_origin(given)


@pytest.mark.parametrize("given", ["", "nginx", "10.0.0.0/99", "*", "10.0.0"])
def test_proxies_that_are_none(given: str) -> None:
    with pytest.raises(ValueError, match="CIDR"):
        network(given)
