"""Who is let in: ZMTP 3 by vLLM's peers, not what libzmq takes for ZMTP 1.0; by address; by CURVE key."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import zmq
from zmq import auth

from benchmarks.ports import free_ports
from dp_coordinator.client import CurveKeys, EngineClient, FrontendClient, NotReadyError
from dp_coordinator.settings import SettingsError
from dp_coordinator.transport import Sockets, curve, zap
from dp_coordinator.words import Channel
from tests.transport.rig import PATIENCE, Peer, rig
from tests.transport.test_floods import served
from tests.waiting import wait_until

NO_ZMTP_3 = {
    "http": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "zmtp 1.0": b"\x01\x00\x02\x01\x02\x01\x02\x01",
    "zmtp 2.0": b"\xff" + bytes(7) + b"\x01\x7f\x01\x09\x00\x00\x02\x01",
}


@pytest.mark.parametrize("spoken", NO_ZMTP_3)
@pytest.mark.parametrize("channel", ["front_publish", "back_publish", "back_output"])
def test_what_speaks_no_zmtp_3_is_nobody(tmp_path: Path, channel: str, spoken: str) -> None:
    with rig(tmp_path, host="127.0.0.1") as r:
        port = int(getattr(r.mailbox.endpoints, channel).rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as stranger:
            stranger.sendall(NO_ZMTP_3[spoken])
            with suppress(ConnectionResetError):
                while stranger.recv(100):
                    pass  # refused: the other end closes
            address = f"127.0.0.1:{stranger.getsockname()[1]}"
        wait_until(lambda: "peer_refused" in r.kinds(), "the refusal")
        assert (r.mailbox.snapshot.engines_subscribed, r.mailbox.snapshot.front_ends) == (0, 0)
        (said,) = [entry.fields for entry in r.mailbox.log.since(0) if entry.kind == "peer_refused"]
        assert (said["channel"], said["count"]) == (channel, 1)
        assert said["peer"] in {address, "unknown"}, "it may be gone before anybody could ask the kernel"
        r.ready_engines()


def test_a_probe_that_connects_and_leaves_is_not_told_of(tmp_path: Path) -> None:
    with rig(tmp_path, host="127.0.0.1") as r:
        port = int(r.mailbox.endpoints.back_publish.rpartition(":")[2])
        for _ in range(20):
            socket.create_connection(("127.0.0.1", port)).close()
        r.ready_engines()
        assert not r.mailbox.counters.refused


@pytest.mark.parametrize(("allowed", "comes"), [("127.0.0.0/8", True), ("10.0.0.0/8", False)])
def test_peers_come_from_where_they_may(tmp_path: Path, allowed: str, comes: bool) -> None:
    command = [sys.executable, "-m", "dp_coordinator", "serve", "--engine-count=1", "--no-http"]
    told = tmp_path / "endpoints.json"
    command += [f"--endpoints-file={told}", f"--allow-peer={allowed}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while not told.exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            where = json.loads(told.read_text())
            with EngineClient(0, where["back_publish"], where["back_output"]) as engine:
                if comes:
                    engine.wait_ready(PATIENCE)
                else:
                    with pytest.raises(NotReadyError):
                        engine.wait_ready(1)
        finally:
            process.terminate()
        refused = "127.0.0.1: its address is not one of --allow-peer" in process.communicate()[1]
        assert refused is not comes


ANYWHERE = "tcp://127.0.0.1:0"
HERE = "127.0.0.1"


def answered(sockets: Sockets, now: float) -> int:
    """How many are let in at this time."""
    before = sockets.doorkeeper.given
    assert not list(sockets.doorkeeper.answer(now, lambda channel: None))
    return sockets.doorkeeper.given - before


@pytest.mark.parametrize(
    ("comes_to", "cut_off", "times", "waits"),
    [
        (HERE, HERE, 1, zap.FIRST_WAIT_S),
        (HERE, HERE, 2, 2 * zap.FIRST_WAIT_S),
        (HERE, HERE, 99, zap.LONGEST_WAIT_S),
        (HERE, "192.0.2.1", 9, 0),
        ("[::1]", "::2", 1, zap.FIRST_WAIT_S),  # one machine has all addresses of its network
        ("[::1]", "2001:db8::1", 9, 0),
        ("[::ffff:127.0.0.1]", HERE, 1, zap.FIRST_WAIT_S),
    ],
)
def test_who_comes_from_where_somebody_was_cut_off_waits_at_the_door(
    comes_to: str, cut_off: str, times: int, waits: float
) -> None:
    with Sockets(ANYWHERE, ANYWHERE, f"tcp://{comes_to}:0") as sockets, zmq.Context() as context:
        for _ in range(times):
            sockets.doorkeeper.cut_off(cut_off, 100.0)
        peer = Peer(context, zmq.XSUB, sockets.endpoints().back_publish)
        assert sockets.doorkeeper.socket.poll(int(PATIENCE * 1000))
        assert answered(sockets, 100.0) == (not waits)
        if waits:
            assert sockets.doorkeeper.due == 100.0 + waits
            assert answered(sockets, 99.9 + waits) == 0
            assert answered(sockets, 100.0 + waits) == 1
        assert sockets.doorkeeper.due == math.inf
        assert sockets.back_publish.poll(int(PATIENCE * 1000)), "its subscription comes in with it"
        peer.close()


def test_a_crowd_at_the_door_takes_no_memory_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zap, "MOST_WAITING", 2)
    with Sockets(ANYWHERE, ANYWHERE, ANYWHERE) as sockets, zmq.Context() as context:
        sockets.doorkeeper.cut_off(HERE, 100.0)
        peers, let_in = [], []
        for number in range(4):
            peers.append(Peer(context, zmq.PUSH, sockets.endpoints().back_output))
            assert sockets.doorkeeper.socket.poll(int(PATIENCE * 1000))
            let_in.append(answered(sockets, 100.0 + number / 1000))
        assert let_in == [0, 0, 1, 1]
        assert sockets.doorkeeper.due == 100.002 + zap.FIRST_WAIT_S, "those that came first came in first"
        for peer in peers:
            peer.close()


def test_who_is_cut_off_again_and_again_comes_in_ever_more_seldom(tmp_path: Path) -> None:
    with served(tmp_path) as peer:
        command = [sys.executable, "-m", "tests.transport.strangers", "small", peer.where["front_publish"], "3", "XSUB"]
        times = int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        assert 1 <= times <= 8, "after 0.1, 0.2, 0.4, 0.8 and 1.6 s more"
        peer.start()
        with EngineClient(0, peer.where["back_publish"], peer.where["back_output"]) as engine:
            engine.wait_ready(PATIENCE)  # though it comes from the same address


def test_curve_lets_in_who_has_a_key_and_vllms_peers_come_as_ever(tmp_path: Path) -> None:
    ours, theirs, other = (tmp_path / name for name in ("ours", "theirs", "other"))
    for folder in (ours, theirs, other):
        folder.mkdir()
        auth.create_certificates(folder, "key")
    port = free_ports(3)[0]
    arguments = [f"--curve-address=tcp://127.0.0.1:{port}", f"--curve-key={ours}/key.key_secret"]
    front, output, publish = (f"tcp://127.0.0.1:{port + n}" for n in range(3))
    with served(tmp_path, *arguments, f"--curve-clients={theirs}") as peer:  # its peers come without CURVE
        known, unknown = (CurveKeys.from_files(f"{own}/key.key_secret", f"{ours}/key.key") for own in (theirs, other))
        with EngineClient(0, publish, output, curve=known) as engine:
            engine.wait_ready(PATIENCE)
            engine.report_stats(waiting=3, running=4)
            with FrontendClient(front, curve=known) as front_end:
                deadline = time.monotonic() + PATIENCE
                while front_end.load is None or front_end.load.engines[0].waiting != 3:
                    assert time.monotonic() < deadline
                    front_end.wait_update(PATIENCE)
        with EngineClient(0, publish, output, curve=unknown) as engine, pytest.raises(NotReadyError):
            engine.wait_ready(1)
        with EngineClient(0, publish, output) as engine, pytest.raises(NotReadyError):
            engine.wait_ready(1)
        peer.start()


def test_what_is_missing_for_curve_is_named(tmp_path: Path) -> None:
    assert curve.load(None, None, None) is None
    auth.create_certificates(tmp_path, "key")
    secret, empty = str(tmp_path / "key.key_secret"), tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SettingsError, match=r"--curve-key, --curve-clients is missing"):
        curve.load("tcp://127.0.0.1:5600", None, None)
    with pytest.raises(SettingsError, match="holds no secret key"):
        curve.load("tcp://127.0.0.1:5600", str(tmp_path / "key.key"), str(tmp_path))
    with pytest.raises(SettingsError, match="nobody could connect"):
        curve.load("tcp://127.0.0.1:5600", secret, str(empty))
    (empty / "bad.key").write_text("nothing")
    with pytest.raises(SettingsError, match="cannot be read"):
        curve.load("tcp://127.0.0.1:5600", secret, str(empty))
    with pytest.raises(ValueError, match="holds no secret key"):
        CurveKeys.from_files(str(tmp_path / "key.key"), str(tmp_path / "key.key"))
    loaded = curve.load("tcp://127.0.0.1:5600", secret, str(tmp_path))
    assert loaded is not None
    assert loaded.address_of(Channel.BACK_PUBLISH) == "tcp://127.0.0.1:5602"
