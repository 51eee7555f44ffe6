"""Who is let in: ZMTP 3 by vLLM's peers, not what libzmq takes for ZMTP 1.0; by address; by CURVE key."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from zmq import auth

from benchmarks.ports import free_ports
from dp_coordinator.client import CurveKeys, EngineClient, FrontendClient, NotReadyError
from dp_coordinator.settings import SettingsError
from dp_coordinator.transport import curve
from dp_coordinator.words import Channel
from tests.transport.rig import PATIENCE, rig
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
