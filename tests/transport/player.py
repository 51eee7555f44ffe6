"""Plays a recorded run of real vLLM over real sockets into a live coordinator, in the recorded order."""

from __future__ import annotations

from typing import Any

import httpx
import zmq
from prometheus_client.parser import text_string_to_metric_families

from dp_coordinator.handle import DPCoordinator
from tests.transport.rig import Peer, unpack, wait_until
from tests.wire.recordings import Recording, announcement_of, start_of


class Player:
    """Engines, front-ends and one output channel. Waits for the coordinator wherever the channel changes."""

    def __init__(self, coordinator: DPCoordinator, context: zmq.Context[Any]) -> None:
        self._context = context
        self._front_address = coordinator.get_stats_publish_address()
        self._back_publish, back_output = coordinator.get_engine_socket_addresses()
        self._http = httpx.Client(base_url=str(coordinator.http_url))
        self.engines: list[Peer] = []
        self.front_ends: list[Peer] = []
        self.output = Peer(context, zmq.PUSH, back_output)
        self._sent = 0

    def play(self, recording: Recording) -> None:
        channel = ""
        for message in recording.messages:
            if message.dir != "recv":
                continue
            if message.role != channel or message.type.endswith("subscribe"):
                self.settle()
                channel = message.role
            self._send(message.type, message.frames)
        self.settle()

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
        """What the first engine has received, but for READY."""
        messages = _received(self.engines[0])
        assert messages[0] == [b"READY"]
        return [start_of(frames) for frames in messages if frames[0] == b"\x02"]

    def publications(self) -> tuple[list[tuple[int, bool]], list[Any]]:
        """(announcements, loads) that the first front-end has received."""
        frames = [message[0] for message in _received(self.front_ends[0])]
        loads = [unpack(frame) for frame in frames if unpack(frame)[0] is not None]
        return [announcement_of(frame) for frame in frames if unpack(frame)[0] is None], loads


def _received(peer: Peer) -> list[list[bytes]]:
    messages = []
    while peer.socket.poll(200):
        messages.append(peer.receive())
    return messages
