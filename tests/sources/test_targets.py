"""Who is asked: by files and names that change, with tokens and certificates."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import ssl
import threading
from pathlib import Path

import pytest

from dp_coordinator.options import SourceOptions
from dp_coordinator.sources import asking as asking_module
from dp_coordinator.sources import targets as targets_module
from dp_coordinator.sources.http import Client
from dp_coordinator.sources.targets import Changing, Credentials, Target, Targets, resolve
from dp_coordinator.sources.telling import UnusableError
from dp_coordinator.words import TargetState
from tests.sources.standin import api_server, asking, metrics

TLS = Path(__file__).parent / "tls"


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and names are looked at twenty times a second."""
    monkeypatch.setattr(asking_module, "TARGETS_EVERY_S", 0.05)


async def test_a_token_from_a_file_that_changes(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with api_server(metrics(0)) as server, asking(server.url, scrape_token_file=str(token)) as rig:
        await rig.until(lambda: rig.target(server.url).state is TargetState.ANSWERS)
        assert "Authorization: Bearer first" in server.asked[0]
        token.write_text("the second\n")
        await rig.until(lambda: str(token) in rig.targets)
        token.write_text("second\n")
        await rig.until(lambda: "Authorization: Bearer second" in server.asked[-1])
        await rig.until(lambda: str(token) not in rig.targets)


async def test_a_file_of_targets_that_changes(tmp_path: Path) -> None:
    listed = tmp_path / "targets"
    async with (
        api_server(metrics(0, running=1)) as one,
        api_server(metrics(1, running=2)) as other,
        asking(scrape_file=str(listed)) as rig,
    ):
        await rig.until(lambda: rig.target(str(listed)).problem == "it cannot be read: No such file or directory")
        listed.write_text(f"# ours\n{one.url}  # the first\n\n")
        await rig.until(lambda: rig.seen.engines.running == (1,))
        listed.write_text(f"{one.url}\n{other.url}\nhttp://no port\n")
        await rig.until(lambda: rig.seen.engines.running == (1, 2))
        assert "is no API server" in str(rig.target(f"{listed}, line 3").problem)
        listed.write_text(f"{other.url}\n")
        await rig.until(lambda: rig.seen.engines.running == (None, 2))


async def test_a_name_with_several_addresses_and_one_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "RESOLVED_FOR_S", 0.0)
    known: list[list[str] | OSError] = [["127.0.0.1"]]

    async def resolve(host: str) -> list[str]:
        assert host == "vllm.example"
        if isinstance(known[-1], OSError):
            raise known[-1]
        return known[-1]

    found = targets_module.Targets(SourceOptions(scrape=("http://vllm.example:8000-8001",)), resolve)
    targets, troubles = await found.current(0.0)
    assert [(each.name, each.base, each.host) for each in targets] == [
        ("http://vllm.example:8000", "http://127.0.0.1:8000", "vllm.example"),
        ("http://vllm.example:8001", "http://127.0.0.1:8001", "vllm.example"),
    ]
    known.append(["10.0.0.1", "10.0.0.2"])
    targets, troubles = await found.current(1.0)
    assert [each.name for each in targets] == [f"http://10.0.0.{n}:{port}" for port in (8000, 8001) for n in (1, 2)]
    assert not troubles
    known.append(OSError(-2, "Name or service not known"))
    again, troubles = await found.current(2.0)
    assert again == targets, "those that it had go on being asked"
    assert troubles == {"vllm.example": "it has no address: Name or service not known"}


LISTS: dict[str, tuple[bytes, list[str], str]] = {
    "of Windows": (b"\xef\xbb\xbfhttp://a.b:1\r\n# more\r\nhttp://10.0.0.1:2\r\n", ["a.b:1", "10.0.0.1:2"], ""),
    "empty": (b"", [], "it lists no address"),
    "comments": (b"# nobody\n\n", [], "it lists no address"),
    "no text": (b"\x00\xff\n", [], "is no API server"),
    "backwards": (b"http://10.0.0.1:9-8\n", [], "is no API server"),
    "the same in other words": (b"http://10.0.0.1:1\nHTTP://10.0.0.1:1/\n", ["10.0.0.1:1"], ""),
    "thousands of millions": (
        b"".join(b"http://h%d:1-1024\n" % n for n in range(50_000)),
        [f"h{number}:{port}" for number in range(4) for port in range(1, 1025)],
        "only the first 4096 that are listed are asked",
    ),
    "far too long": (b"#" * 1_048_577, [], "it has more than 1 MiB"),
}


@pytest.mark.parametrize("how", LISTS)
async def test_files_of_targets_as_they_may_be(how: str, tmp_path: Path) -> None:
    written, names, problem = LISTS[how]
    listed = tmp_path / "targets"
    listed.write_bytes(written)

    async def resolve(host: str) -> list[str]:
        return [f"10.0.1.{host.removeprefix('h')}" if host.startswith("h") else "10.0.1.9"]

    targets, troubles = await Targets(SourceOptions(scrape_file=str(listed)), resolve).current(0.0)
    assert [target.name for target in targets] == [f"http://{name}" for name in names]
    assert problem in "; ".join(troubles.values())
    assert bool(problem) is bool(troubles)
    listed.unlink()


async def test_a_list_that_is_taken_away_is_asked_on(tmp_path: Path) -> None:
    listed = tmp_path / "targets"
    listed.write_text("http://10.0.0.1:1\n")
    found = Targets(SourceOptions(scrape_file=str(listed)))
    before, _ = await found.current(0.0)
    listed.unlink()
    after, troubles = await found.current(1.0)
    assert after is before, "the same list, as nothing changed"
    assert troubles == {str(listed): "it cannot be read: No such file or directory"}


async def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert await Changing(str(pipe)).read() == "it is no file that can be read again"


async def test_a_name_server_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets_module, "LOOKED_UP_WITHIN_S", 0.01)
    answers = asyncio.Event()

    async def resolve(host: str) -> list[str]:
        await answers.wait()
        return ["10.0.0.2"]

    found = Targets(SourceOptions(scrape=("http://vllm.example:1", "http://10.0.0.1:1")), resolve)
    async with asyncio.timeout(30):
        targets, troubles = await found.current(0.0)
        assert [each.base for each in targets] == ["http://10.0.0.1:1"]
        assert troubles == {"vllm.example": "its addresses are being looked up"}
        answers.set()
        while len(targets) == 1:
            targets, troubles = await found.current(1.0)
    assert [each.base for each in targets] == ["http://10.0.0.2:1", "http://10.0.0.1:1"]
    assert not troubles


async def test_a_look_up_that_is_stuck_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    over, stuck = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        loop.call_soon_threadsafe(stuck.set)
        assert over.wait(30)
        return [(socket.AF_INET6, 0, 0, "", ("::1", 0)), (socket.AF_INET, 0, 0, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    asked = asyncio.create_task(resolve("vllm.example"))
    async with asyncio.timeout(30):
        await stuck.wait()
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "resolve"] == [True]
        over.set()
        assert await asked == ["10.0.0.1"]


async def test_a_server_that_is_listed_by_address_and_by_name_is_asked_once() -> None:
    async def resolve(host: str) -> list[str]:
        return ["10.0.0.1", "10.0.0.2"]

    scrape = ("http://10.0.0.1:1", "http://a.example:1", "http://b.example:1")
    targets, _ = await Targets(SourceOptions(scrape=scrape), resolve).current(0.0)
    assert [(each.name, each.host) for each in targets] == [
        ("http://10.0.0.1:1", None),
        ("http://10.0.0.2:1", "a.example"),
    ]


async def test_by_name_and_by_an_address_of_ipv6() -> None:
    async with api_server(metrics(0, running=2)) as four, api_server(metrics(1, running=3), host="::1") as six:
        async with asking(f"http://localhost:{four.port}", f"http://[::1]:{six.port}") as rig:
            await rig.until(lambda: rig.seen.engines.running == (2, 3))
        assert f"Host: localhost:{four.port}\r\n" in four.asked[0]
        assert f"Host: [::1]:{six.port}\r\n" in six.asked[0]


async def test_certificates_from_a_file_that_changes(tmp_path: Path) -> None:
    """`localhost.pem` names localhost, 127.0.0.1, ::1, signed by `authority.pem`; they hold from 2020 to 2120."""
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(TLS / "localhost.pem")
    authorities = tmp_path / "authorities"
    shutil.copy(TLS / "other_authority.pem", authorities)
    async with api_server(metrics(0, running=2), secure=secure) as server:
        named = f"https://localhost:{server.port}"
        async with asking(named, scrape_ca_file=str(authorities)) as rig:
            await rig.until(lambda: "not believed (unable to get local issuer" in str(rig.target(named).problem))
            assert rig.target(named).state is TargetState.UNUSABLE
            authorities.write_text("no certificate")
            await rig.until(lambda: str(authorities) in rig.targets)
            shutil.copy(TLS / "authority.pem", authorities)
            await rig.until(lambda: rig.seen.running == 2)
            await rig.until(lambda: str(authorities) not in rig.targets)


async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("host", "secure", "problem"),
    [
        ("localhost", True, None),
        (None, True, None),
        ("vllm.example", True, "its certificate is not believed (Hostname mismatch"),
        (None, False, "what it speaks is no TLS, or not as we do"),
    ],
)
async def test_whom_the_certificate_must_name(host: str | None, secure: bool, problem: str | None) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "localhost.pem")
    credentials = Credentials(SourceOptions(scrape_ca_file=str(TLS / "authority.pem")))
    assert not await credentials.refresh()
    client = Client(30.0, credentials)
    async with api_server(metrics(0), secure=context) as server:
        plain = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
        port = server.port if secure else plain.sockets[0].getsockname()[1]
        target = Target("it", f"https://127.0.0.1:{port}", host)
        if problem is None:
            await client.get(target, "/metrics", lambda chunk: None)
        else:
            with pytest.raises(UnusableError, match=re.escape(problem)):
                await client.get(target, "/metrics", lambda chunk: None)
        await client.close()
        plain.close()
        await plain.wait_closed()
