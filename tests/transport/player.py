"""Plays a recorded run of real vLLM over real sockets into a live coordinator, in the recorded order.

Where the recorded coordinator was killed, the live one is: everything that it sent until then has been received.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx
import zmq
from prometheus_client.parser import text_string_to_metric_families

from dp_coordinator.handle import DPCoordinator
from tests.transport.rig import PATIENCE, Peer, unpack
from tests.waiting import wait_until
from tests.wire.recordings import Recording, announcement_of, start_of


class Player:
    """Engines, front-ends and one output channel. Waits for the coordinator wherever the channel changes."""

    def __init__(self, coordinator: DPCoordinator, context: zmq.Context[Any]) -> None:
        self._coordinator = coordinator
        self._context = context
        self._front_address = coordinator.get_stats_publish_address()
        self._back_publish, self._back_output = coordinator.get_engine_socket_addresses()
        self._http = httpx.Client(base_url=str(coordinator.http_url), timeout=PATIENCE)
        self._to_engines: list[list[bytes]] = []
        self._published: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self.engines: list[Peer] = []
        self.front_ends: list[Peer] = []
        self.output = Peer(self._context, zmq.PUSH, self._back_output)
        self._sent = 0

    def play(self, recording: Recording) -> None:
        for number, incarnation in enumerate(recording.incarnations):
            if number:
                self._kill(recording.incarnations[number - 1])
            self._play(incarnation)

    def _play(self, incarnation: Recording) -> None:
        channel = ""
        for message in incarnation.messages:
            if message.dir != "recv":
                continue
            if message.role != channel or message.type.endswith("subscribe"):
                self.settle()
                channel = message.role
            self._send(message.type, message.frames)
        self.settle()

    def _kill(self, incarnation: Recording) -> None:
        """End the coordinator as it was ended then, and wait for the next one; peers come when they came then."""
        woken = 0
        while woken < len(incarnation.starts()) or not self._to_engines:
            self._to_engines.append(self.engines[0].receive())
            woken += self._to_engines[-1] != [b"READY"]
        heard = 0
        while heard < len(incarnation.heard()):
            (frame,) = self.front_ends[0].receive()
            heard += unpack(frame)[0] is None
            self._published.append(frame)
        restarts = self.get("state")["restarts"]
        os.kill(self._coordinator.worker_pid(), signal.SIGKILL)
        self._close_peers()
        wait_until(lambda: self._restarts() == restarts + 1, "the next coordinator")
        self._begin()

    def _restarts(self) -> int:
        try:
            return int(self.get("state")["restarts"])
        except httpx.TransportError:
            return -1  # between the two

    def settle(self) -> None:
        """Wait until the coordinator has taken in every frame sent so far."""
        wait_until(lambda: self.frames_in() == self._sent, f"{self._sent} frames in")

    def frames_in(self) -> int:
        text = self._http.get("/metrics").text
        families = {f.name: f for f in text_string_to_metric_families(text)}
        return int(sum(s.value for s in families["dp_coordinator_frames"].samples if s.name.endswith("_total")))

    def get(self, path: str) -> Any:
        response = self._http.get(f"/api/v1/{path}")
        response.raise_for_status()
        return response.json()

    def close(self) -> None:
        self._http.close()
        self._close_peers()

    def _close_peers(self) -> None:
        for peer in (*self.engines, *self.front_ends, self.output):
            peer.close()

    def _send(self, kind: str, frames: tuple[bytes, ...]) -> None:
        match kind:
            case "engine_subscribe":
                self.engines.append(Peer(self._context, zmq.XSUB, self._back_publish))
            case "front_subscribe":
                self.front_ends.append(Peer(self._context, zmq.XSUB, self._front_address))
            case "engine_unsubscribe":
                self.engines[-1].send(b"\x00")
            case "front_unsubscribe":
                self.front_ends[-1].send(b"\x00")
            case _ if kind.startswith("front_first_req"):
                self.front_ends[0].send(*frames)
            case _:
                self.output.send(*frames)
        self._sent += 1

    def starts(self) -> list[tuple[int, int | None]]:
        """What the first engine has received, but for READY, which came first."""
        self._to_engines += _received(self.engines[0])
        assert self._to_engines[0] == [b"READY"]
        return [start_of(frames) for frames in self._to_engines if frames[0] == b"\x02"]

    def publications(self, final: list[Any] | None = None) -> tuple[list[tuple[int, bool]], list[Any]]:
        """(announcements, loads) that the first front-end has received; with `final`, once that load has come last."""
        self._published += [message[0] for message in _received(self.front_ends[0])]
        while final is not None and (not self._loads() or self._loads()[-1][0] != final):
            self._published.append(self.front_ends[0].receive()[0])
        announced = [announcement_of(frame) for frame in self._published if unpack(frame)[0] is None]
        return announced, self._loads()

    def _loads(self) -> list[Any]:
        return [unpack(frame) for frame in self._published if unpack(frame)[0] is not None]


def _received(peer: Peer) -> list[list[bytes]]:
    messages = []
    while peer.socket.poll(200):
        messages.append(peer.receive())
    return messages
