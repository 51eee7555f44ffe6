from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from dp_coordinator.hosts import split_host
from dp_coordinator.limits import Throttle, TokenBucket
from dp_coordinator.options import ServeOptions
from dp_coordinator.settings import SettingsError, checked
from dp_coordinator.web.access.origins import Hosts
from dp_coordinator.web.access.sessions import SESSIONS_HELD, Sessions
from dp_coordinator.web.settings import WebSettings
from tests.web.rig import TOKEN, Site, site
from tests.web.test_rest import problem

BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Site]:
    with site(token=TOKEN, refusals_logged_per_s=1000, login_burst=1000) as running:
        running.loop.subscribe_all()
        yield running


def handshake_status(running: Site, query: str = "", **more: Any) -> int:
    """101 when the stream opens, else the status of the refusal."""
    try:
        with running.stream(query, **more):
            return 101
    except InvalidStatus as refused:
        response = refused.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code


# -- Host and Origin -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "host", "known"),
    [
        ("127.0.0.1", "127.0.0.1:8080", True),
        ("127.0.0.1", "localhost", True),
        ("127.0.0.1", "LocalHost.:8080", True),
        ("127.0.0.1", "demo.localhost:8080", True),
        ("127.0.0.1", "[::1]:8080", True),
        ("127.0.0.1", "192.168.1.7:8080", True),  # forwarded: an address cannot be rebound
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "coordinator:8080", False),
        ("0.0.0.0", "coordinator:8080", True),  # a compose service
        ("0.0.0.0", "evil.example:8080", False),
        ("0.0.0.0", "ops.example.com", True),  # configured
        ("dp.internal.example", "dp.internal.example:80", True),  # bound by that name
        ("127.0.0.1", "", False),
        ("127.0.0.1", "a@localhost", False),
        ("127.0.0.1", "localhost/x", False),
        ("127.0.0.1", "localhost:port", False),
        ("127.0.0.1", "[::1", False),
    ],
)
def test_hosts_that_a_strangers_page_cannot_have(bound: str, host: str, known: bool) -> None:
    allowed = ("ops.example.com",) if bound == "0.0.0.0" else ()
    assert Hosts(WebSettings(host=bound, allowed_hosts=allowed)).known(host) is known


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://localhost:8080", "localhost:8080", True),
        ("http://LOCALHOST:8080", "localhost:8080", True),
        ("http://localhost", "localhost:80", True),
        ("https://dp.example", "dp.example", True),  # behind a proxy that ends TLS
        ("https://dp.example:443", "dp.example", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://localhost:5173", "localhost:8080", False),
        ("http://evil.example", "localhost", False),
        ("null", "localhost", False),
        ("", "localhost", False),
        ("file://", "localhost", False),
        ("chrome-extension://localhost", "localhost", False),
        ("https://ops.example.com", "localhost", True),  # configured
        ("https://ops.example.com.evil", "localhost", False),
    ],
)
def test_only_our_own_page_may_act(origin: str, host: str, same: bool) -> None:
    hosts = Hosts(WebSettings(allowed_origins=("https://ops.example.com/",)))
    assert hosts.same_origin(origin, host) is same


def test_split_host() -> None:
    assert split_host("[::1]:80") == ("::1", 80)
    assert split_host("Example.COM") == ("example.com", None)
    assert split_host("example.com:99999") is None


@pytest.mark.parametrize("path", ["/", "/api/v1/state", "/metrics", "/docs", "/nothing"])
def test_a_rebound_name_is_refused_everywhere(shared: Site, path: str) -> None:
    told = problem(shared.get(path, headers={"host": "evil.example"}), 421, "bad-host")
    assert "--allowed-host" in told["detail"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/healthz"])
def test_probes_may_use_any_name(shared: Site, path: str) -> None:
    assert shared.get(path, headers={"host": "pod.cluster.example"}).status_code == 200


def test_another_origin_may_look_but_not_act(shared: Site) -> None:
    evil = {"origin": "http://evil.example"}
    seen = shared.get("/api/v1/state", headers=evil)
    assert seen.status_code == 200
    assert "access-control-allow-origin" not in seen.headers
    before = len(shared.refusals())
    problem(shared.start(None, origin="http://evil.example"), 403, "bad-origin")
    problem(shared.start(None, origin="null"), 403, "bad-origin")
    problem(shared.start(None, host="evil.example"), 421, "bad-host")
    assert [r["refusal"] for r in shared.refusals()[before:]] == ["bad-origin", "bad-origin", "bad-host"]
    problem(shared.http.post("/api/v1/login", json={"token": "x"}, headers=evil), 403, "bad-origin")
    problem(shared.http.post("/api/v1/logout", headers=evil), 403, "bad-origin")


def test_the_own_page_may_act(fresh: Site) -> None:
    assert fresh.start(None, origin=f"http://127.0.0.1:{fresh.port}").status_code == 202


def test_the_stream_checks_origin_and_host(shared: Site, caplog: pytest.LogCaptureFixture) -> None:
    own = f"http://127.0.0.1:{shared.port}"
    assert handshake_status(shared) == 101
    assert handshake_status(shared, origin=own) == 101
    assert handshake_status(shared, origin="http://evil.example") == 403
    assert handshake_status(shared, origin="null") == 403
    with socket.create_connection(("127.0.0.1", shared.port)) as sock, pytest.raises(InvalidStatus) as refused:
        connect("ws://evil.example/api/v1/stream", sock=sock, proxy=None)
    assert refused.value.response.status_code == 421
    assert not caplog.records  # a refusal is no error of ours


def test_no_host_at_all(shared: Site) -> None:
    with socket.create_connection(("127.0.0.1", shared.port), 5) as raw:
        raw.sendall(b"GET /api/v1/state HTTP/1.0\r\n\r\n")
        assert raw.recv(4096).split(b" ")[1] in (b"400", b"421")


# -- the token -----------------------------------------------------------------------------------------------------

PROTECTED = [
    "/api/v1/state",
    "/api/v1/engines",
    "/api/v1/engines/0",
    "/api/v1/waves",
    "/api/v1/events",
    "/api/v1/history",
    "/api/v1/actions/x",
    "/api/v1/nothing",
    "/metrics",
]


@pytest.mark.parametrize("path", PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": TOKEN},
        {"authorization": "Bearer \xe9\xff"},
        {"cookie": f"dp_session_0={TOKEN}"},
        {"cookie": "dp_session_0="},
        {"x-token": TOKEN},
    ],
)
def test_without_the_token_nothing_is_told(guarded: Site, path: str, headers: dict[str, str]) -> None:
    raw = [(name, value.encode("latin-1")) for name, value in headers.items()]
    response = guarded.get(path, headers=raw)
    told = problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in told["detail"]


@pytest.mark.parametrize("path", PROTECTED)
def test_with_the_token_all_is(guarded: Site, path: str) -> None:
    expected = 404 if path.endswith(("nothing", "actions/x")) else 200
    assert guarded.get(path, headers=BEARER).status_code == expected
    assert guarded.get(path, headers={"authorization": f"bEARER  {TOKEN}"}).status_code == expected


@pytest.mark.parametrize("query", ["token", "access_token", "Authorization", "auth"])
def test_the_token_is_never_taken_from_the_url(guarded: Site, query: str) -> None:
    assert guarded.get(f"/api/v1/events?{query}={TOKEN}").status_code == 401
    assert handshake_status(guarded, f"?{query}={TOKEN}") == 401


@pytest.mark.parametrize(
    "path", ["/livez", "/readyz", "/health", "/healthz", "/api/v1/session", "/docs", "/openapi.json"]
)
def test_what_needs_no_token(guarded: Site, path: str) -> None:
    assert guarded.get(path).status_code == 200


def test_a_start_without_the_token_is_logged_without_it(guarded: Site) -> None:
    before = len(guarded.refusals())
    problem(guarded.start({"reason": "r"}), 401, "unauthorized")
    problem(guarded.start({"reason": "r"}, authorization="Bearer wrong-secret"), 401, "unauthorized")
    refused = guarded.refusals()[before:]
    assert [r["caller"] for r in refused] == ["127.0.0.1 without a token"] * 2
    assert "wrong-secret" not in str(refused)


def test_the_caller_is_told_by_how_it_proved_itself(guarded: Site) -> None:
    made = guarded.start({"reason": "r"}, **BEARER).json()
    assert made["caller"] == "127.0.0.1 with the token"


def test_the_stream_needs_the_token(guarded: Site) -> None:
    assert handshake_status(guarded) == 401
    assert handshake_status(guarded, additional_headers=BEARER) == 101


# -- the page's own login ------------------------------------------------------------------------------------------


def login(running: Site, token: str = TOKEN, **headers: str) -> Any:
    return running.http.post("/api/v1/login", json={"token": token}, headers=headers)


def cookie_of(response: Any) -> str:
    value: str = response.headers["set-cookie"].partition(";")[0]
    return value


def test_login_gives_a_cookie_that_is_not_the_token() -> None:
    with site(token=TOKEN) as running:
        assert running.get("/api/v1/session").json() == {"token_required": True, "authenticated": False}
        answer = login(running)
        given = answer.headers["set-cookie"]
        assert answer.json() == {"token_required": True, "authenticated": True}
        assert TOKEN not in given
        for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"):
            assert part in given
        assert "Secure" not in given
        headers = {"cookie": f"other=1; {cookie_of(answer)}; more=2"}
        assert running.get("/api/v1/session", headers=headers).json()["authenticated"]
        assert running.get("/metrics", headers=headers).status_code == 200
        assert handshake_status(running, additional_headers={"Cookie": headers["cookie"]}) == 101
        made = running.start({"reason": "r"}, **headers)
        assert made.status_code == 409  # not ready; but let in
        assert running.refusals()[-1]["caller"] == "127.0.0.1 logged in"


def test_the_cookie_is_secure_where_the_browser_sees_https() -> None:
    with site(token=TOKEN, allowed_hosts=("dp.example",)) as running:
        answer = login(running, host="dp.example", origin="https://dp.example")
        assert "; Secure" in answer.headers["set-cookie"]


def test_logout_ends_the_session_and_its_streams() -> None:
    with site(token=TOKEN, heartbeat_s=0.02, sample_interval_s=0.01) as running:
        headers = {"cookie": cookie_of(login(running))}
        with running.stream(additional_headers={"Cookie": headers["cookie"]}) as viewer:
            viewer.recv(5)
            out = running.http.post("/api/v1/logout", headers=headers)
            assert out.json() == {"token_required": True, "authenticated": False}
            assert "Max-Age=0" in out.headers["set-cookie"]
            assert running.get("/api/v1/state", headers=headers).status_code == 401
            with pytest.raises(ConnectionClosedError):
                list(viewer)
            assert viewer.close_code == 1008
        assert running.http.post("/api/v1/logout").status_code == 200  # nobody is logged in: nothing to do


def test_sessions_end_by_themselves_and_are_bounded() -> None:
    over = Sessions(WebSettings(token=TOKEN, session_s=0))
    made = over.login(TOKEN, "here")
    assert made is not None
    assert not over.holds(made)
    many = Sessions(WebSettings(token=TOKEN))
    ids = [many.login(TOKEN, "here") or "" for _ in range(SESSIONS_HELD + 1)]
    assert len(set(ids)) == len(ids)
    assert not many.holds(ids[0])
    assert many.holds(ids[1])


def test_wrong_tokens_are_slowed_down() -> None:
    with site(token=TOKEN, login_burst=3) as running:
        for _ in range(3):
            problem(login(running, "wrong"), 401, "unauthorized")
        slowed = login(running, "wrong")
        problem(slowed, 429, "too-many-attempts")
        assert 1 <= int(slowed.headers["retry-after"]) <= 6
        assert login(running).status_code == 429  # the right one too, or guessing would go on
        assert running.get("/api/v1/state", headers=BEARER).status_code == 200


@pytest.mark.parametrize("body", [{}, {"token": 1}, {"token": "a", "more": 1}, []])
def test_logins_that_cannot_be_read(guarded: Site, body: Any) -> None:
    problem(guarded.http.post("/api/v1/login", json=body), 422, "invalid-body")


def test_login_with_text_no_token_can_be(guarded: Site) -> None:
    problem(login(guarded, "é" * 20), 401, "unauthorized")
    problem(login(guarded, ""), 401, "unauthorized")


def test_login_where_no_token_is_asked_for(shared: Site) -> None:
    answer = login(shared, "anything")
    assert answer.json() == {"token_required": False, "authenticated": True}
    assert "set-cookie" not in answer.headers


# -- headers and bounds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/state", "/nothing", "/metrics", "/docs", "/livez", "/api/v1/waves?limit=0"]
)
def test_headers_that_keep_browsers_in_check(shared: Site, path: str) -> None:
    headers = shared.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_refusals_carry_the_same_headers(guarded: Site) -> None:
    for response in (guarded.get("/api/v1/state"), guarded.get("/", headers={"host": "evil.example"})):
        assert response.headers["x-content-type-options"] == "nosniff"


def test_forwarded_addresses_are_not_believed(fresh: Site) -> None:
    made = fresh.start(None, x_forwarded_for="10.9.8.7", forwarded="for=10.9.8.7").json()
    assert made["caller"] == "127.0.0.1"


def test_buckets() -> None:
    bucket = TokenBucket(rate=2, burst=2, now=0)
    assert [bucket.take(0) for _ in range(3)] == [True, True, False]
    assert bucket.wait(0.25) == 0.25
    assert bucket.take(0.5)
    throttle = Throttle(rate=1, burst=1)
    assert throttle.bucket("a", 0).take(0)
    assert not throttle.bucket("a", 0).take(0)
    for key in range(Throttle.KEYS):
        throttle.bucket(str(key), 0)
    assert throttle.bucket("a", 0).take(0)  # forgotten: the newest keys are kept


def test_pages_of_a_named_origin_may_show_ours_in_a_frame_and_nobody_else() -> None:
    with site(allow_frames=("https://grafana.example.com", "http://ops:3000")) as running:
        for path in ("/", "/api/v1/state", "/not/there"):
            headers = running.get(path).headers
            assert headers["content-security-policy"].endswith(
                "; frame-ancestors https://grafana.example.com http://ops:3000"
            )
            assert "x-frame-options" not in headers


@pytest.mark.parametrize("origin", ["*", "grafana.example.com", "https://a.example; script-src *", "https://*.example"])
def test_what_may_frame_the_page_is_an_origin(origin: str) -> None:
    with pytest.raises(SettingsError, match="--allow-frame"):
        checked(ServeOptions(engine_count=1, allow_frames=(origin,)))


def test_the_public_address_is_a_name_of_ours() -> None:
    with site(public_url="https://dp.example.com/prod") as running:
        assert running.get("/api/v1/state", headers={"Host": "dp.example.com"}).status_code == 200
        assert running.get("/api/v1/state", headers={"Host": "other.example.com"}).status_code == 421
