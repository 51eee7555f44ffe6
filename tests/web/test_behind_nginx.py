"""Two deployments under one host name: `/` is one of them, `/b/` the other."""

from __future__ import annotations

import contextlib
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.web.nginx import Proxy, location, nginx
from tests.web.rig import TOKEN, Site, site
from tests.web.test_rest import problem

TRUSTING = {"trusted_proxies": ("127.0.0.1",)}
PREFIX = "proxy_set_header X-Forwarded-Prefix /b;"


@contextlib.contextmanager
def two_sites(**settings: object) -> Iterator[tuple[Site, Site]]:
    """One with 3 engines, and one with 5; all have subscribed."""
    with site(3, **settings) as one, site(5, **settings) as other:  # type: ignore[arg-type]
        for each in (one, other):
            each.loop.subscribe_all()
        yield one, other


@pytest.fixture(params=["stripped", "stripped and said", "kept and said"])
def shown(request: pytest.FixtureRequest) -> Iterator[tuple[Proxy, Site, Site]]:
    """A proxy that takes the path off, or says which one it is, or both."""
    with (
        two_sites(**TRUSTING) as (one, other),
        nginx(
            location("/", one.port),
            location(
                "/b/",
                other.port,
                strip=request.param.startswith("stripped"),
                more=PREFIX if request.param.endswith("said") else "",
            ),
        ) as proxy,
    ):
        yield proxy, one, other


def client(proxy: Proxy) -> httpx.Client:
    return httpx.Client(verify=ssl.create_default_context(cafile=proxy.certificate), trust_env=False)


@pytest.mark.parametrize("secure", [False, True])
def test_every_address_leads_to_its_own_deployment(shown: tuple[Proxy, Site, Site], secure: bool) -> None:
    proxy, one, other = shown
    root = f"{proxy.secure if secure else proxy.plain}/b/"
    with client(proxy) as http:
        assert http.get(f"{root}api/v1/state").json()["engine_count"] == 5
        docs = http.get(f"{root}docs")
        links = re.findall(r'(?:href|src)="([^"#]+)"', docs.text)
        assert len(links) >= 2
        for link in links:
            target = urljoin(str(docs.url), link)
            assert target.startswith(root)
            assert http.get(target).status_code == 200
        described = http.get(f"{root}openapi.json")
        [server] = described.json()["servers"]
        assert urljoin(str(described.url), server["url"]) == root
        made = http.post(f"{root}api/v1/waves", json={"reason": "a test"})
        action = http.get(urljoin(str(made.url), made.headers["location"]))
        assert action.json()["id"] == made.json()["id"]
        refused = http.get(f"{root}api/v1/engines/9")
        kind = urljoin(str(refused.url), refused.json()["type"])
        assert kind == f"{root}problems/not-found"
        assert "not-found" in http.get(kind).text
        assert urljoin(str(refused.url), refused.json()["instance"]) == str(refused.url)
    assert one.mailbox.snapshot.actions == ()
    assert len(other.mailbox.snapshot.actions) == 1


@pytest.mark.parametrize("secure", [False, True])
def test_the_stream(shown: tuple[Proxy, Site, Site], secure: bool) -> None:
    proxy, _, _ = shown
    root = proxy.secure if secure else proxy.plain
    trusting = ssl.create_default_context(cafile=proxy.certificate) if secure else None
    address = f"{root.replace('http', 'ws', 1)}/b/api/v1/stream"
    with connect(address, proxy=None, ssl=trusting, origin=Origin(root)) as stream:
        assert json.loads(stream.recv(10))["type"] == "hello"
        assert json.loads(stream.recv(10))["engine_count"] == 5


@pytest.mark.parametrize("command", [("state",), ("top",), ("start-wave", "--reason", "a test", "--no-wait")])
def test_the_command_line(shown: tuple[Proxy, Site, Site], command: tuple[str, ...]) -> None:
    proxy, one, other = shown
    asked = [sys.executable, "-m", "dp_coordinator", *command, "--json", "--url", f"{proxy.secure}/b/"]
    trusting = {"SSL_CERT_FILE": proxy.certificate}
    done = subprocess.run(asked, check=False, capture_output=True, text=True, timeout=60, env=trusting)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.get("engine_count", 5) == 5
    assert (len(one.mailbox.snapshot.actions), len(other.mailbox.snapshot.actions)) == (0, int("start-wave" in command))


def test_logins_at_both_and_the_clients_that_are_told_apart() -> None:
    with (
        two_sites(token=TOKEN, **TRUSTING) as (one, other),
        nginx(location("/", one.port), location("/b/", other.port, more=PREFIX)) as proxy,
        client(proxy) as http,
    ):
        for path in ("/", "/b/"):
            answer = http.post(f"{proxy.secure}{path}api/v1/login", json={"token": TOKEN})
            assert f"; Path={path};" in answer.headers["set-cookie"]
            assert "; Secure" in answer.headers["set-cookie"]
        for path, count in (("/", 3), ("/b/", 5)):
            assert http.get(f"{proxy.secure}{path}api/v1/state").json()["engine_count"] == count
        for number in range(6):
            lie = {"X-Forwarded-For": f"203.0.113.{number}"}  # nginx adds what it saw
            wrong = login_from("127.0.0.2", f"{proxy.plain}/b/", "wrong", lie)
        problem(wrong, 429, "too-many-attempts", below="/b")
        assert login_from("127.0.0.3", f"{proxy.plain}/b/", TOKEN).status_code == 200


def login_from(address: str, root: str, token: str, headers: dict[str, str] | None = None) -> httpx.Response:
    with httpx.Client(trust_env=False, transport=httpx.HTTPTransport(local_address=address)) as http:
        return http.post(f"{root}api/v1/login", json={"token": token}, headers=headers)


def test_a_location_without_a_slash_before_a_target_with_one() -> None:
    """nginx then asks for //api/v1/state."""
    with (
        site(trusted_proxies=("127.0.0.1",)) as one,
        nginx(location("/b", one.port, more=PREFIX)) as proxy,
        client(proxy) as http,
    ):
        assert http.get(f"{proxy.plain}/b/api/v1/state").json()["engine_count"] == one.loop.core.engine_count


def test_a_proxy_that_passes_no_upgrade_and_half_a_host() -> None:
    with site() as one, nginx(location("/", one.port), host="$host", upgrade="") as proxy:
        problem(httpx.get(f"{proxy.plain}/api/v1/stream", headers={"sec-websocket-key": "x"}), 426, "upgrade-required")
        refused = httpx.post(f"{proxy.plain}/api/v1/waves", json={"reason": "r"}, headers={"origin": proxy.plain})
        assert "$http_host" in problem(refused, 403, "bad-origin")["detail"]
        assert one.app.state.turned_away.counts["upgrade"] == 1
        assert one.app.state.turned_away.counts["origin"] == 1
