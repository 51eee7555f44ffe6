"""Hostile and broken peers, each a process: `python -m benchmarks.torture.hostile KIND SEED SECONDS TARGET`.

TARGET is JSON: where front_publish, back_output, back_publish and http listen. What is sent follows from the seed, how
much of it from the time. A peer that is cut off, refused or held up goes on with the next connection until its time is
over, and prints how many messages it has sent.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import zmq

from tests.transport import zmtp

pack = msgspec.msgpack.encode
FRONT, OUTPUT, BACK, HTTP = "front_publish", "back_output", "back_publish", "http"
SOCKETS = (FRONT, OUTPUT, BACK)
TYPES = {FRONT: b"XSUB", OUTPUT: b"PUSH", BACK: b"XSUB"}
UNFINISHED, FRAME, TOPIC = 60_000_000, 1 << 20, 60_000_000
STEERING = "\x1b]0;owned\x07\u202e\u200b\u2028"
WAVES = (0, 1, 2, 3, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, 2**63 - 1, 2**64 - 1)
ENGINES = (0, 1, 2, 3, 255, 999, 65_535, 65_536, 2**53 - 1)


@dataclass
class Attack:
    """One peer's view."""

    target: dict[str, tuple[str, int]]
    chance: random.Random
    until: float
    sent: int = 0

    @property
    def on(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.until

    def connections(self, name: str, socket_type: bytes) -> Iterator[socket.socket]:
        """Connections one after the other, each for as long as it is let live."""
        while self.on:
            with suppress(OSError), zmtp.connect(self.target[name], socket_type, timeout=2.0) as connection:
                connection.settimeout(0.5)
                yield connection
            time.sleep(0.02)

    def pour(self, connection: socket.socket, data: bytes, messages: int = 1) -> None:
        """Send the same again and again."""
        with suppress(OSError):
            while self.on:
                with suppress(TimeoutError):  # it is held up: what a hostile peer waits for
                    connection.sendall(data)
                    self.sent += messages

    def say(self, name: str, messages: list[bytes], *, together: bool = True) -> None:
        """Send messages as libzmq does, over one connection, and stay connected for a while."""
        kind = zmq.PUSH if name == OUTPUT else zmq.XSUB
        with zmq.Context() as context, context.socket(kind) as peer:
            peer.setsockopt(zmq.LINGER, 1000)
            peer.setsockopt(zmq.SNDTIMEO, 500)
            host, port = self.target[name]
            peer.connect(f"tcp://{host}:{port}")
            for message in messages:
                with suppress(zmq.Again):
                    peer.send(message)
                    self.sent += 1
            time.sleep(min(0.3, max(0.0, self.until - time.monotonic())) if together else 0.0)


Kind: TypeAlias = Callable[[Attack], None]


# -- memory ------------------------------------------------------------------------------------------------------------


def endless_multipart(a: Attack) -> None:
    """A message whose parts never end."""
    name = a.chance.choice(SOCKETS)
    for connection in a.connections(name, TYPES[name]):
        a.pour(connection, (zmtp.head(100, zmtp.MORE) + b"\x01" * 100) * 500, 0)


def small_frames(a: Attack) -> None:
    """Messages of a few bytes, as many as go through."""
    name = a.chance.choice(SOCKETS)
    for connection in a.connections(name, TYPES[name]):
        body = a.chance.choice([b"\x01", b"\x00", pack((0, 0)), b"x"])
        a.pour(connection, (zmtp.head(len(body)) + body) * 1000, 1000)


def large_frames(a: Attack) -> None:
    """Messages of 1 MiB, as many as go through."""
    name = a.chance.choice(SOCKETS)
    for connection in a.connections(name, TYPES[name]):
        a.pour(connection, zmtp.head(FRAME) + b"\xc1" * FRAME)


def large_topics(a: Attack) -> None:
    """Subscriptions to topics of 60 MB."""
    name = a.chance.choice((FRONT, BACK))
    for connection in a.connections(name, b"SUB"):
        a.pour(connection, zmtp.head(TOPIC) + b"\x01" + a.chance.randbytes(TOPIC - 1))


def unfinished_frames(a: Attack) -> None:
    """Many messages of 60 MB at a time, of which the last byte never comes."""
    with ExitStack() as stack:
        while a.on:
            name = a.chance.choice(SOCKETS)
            with suppress(OSError):
                connection = stack.enter_context(zmtp.connect(a.target[name], TYPES[name], timeout=2.0))
                connection.sendall(zmtp.head(UNFINISHED))
                block, left = b"\x01" * 1_000_000, UNFINISHED - 1
                while left > 0 and a.on:
                    connection.sendall(block[:left])
                    left -= len(block)


def connection_storm(a: Attack) -> None:
    """Connections that come and go, and some that stay and say nothing."""
    with ExitStack() as stack:
        for _ in range(60):
            with suppress(OSError):
                stack.enter_context(socket.create_connection(a.target[a.chance.choice((*SOCKETS, HTTP))], 2))
        while a.on:
            name = a.chance.choice(SOCKETS)
            with suppress(OSError):
                zmtp.connect(a.target[name], TYPES[name], timeout=2.0).close()
                a.sent += 1


def crowds(a: Attack) -> None:
    """More connections than a socket has, that greet, some at length, and say nothing."""
    name = a.chance.choice(SOCKETS)
    greeting = zmtp.greeting(TYPES[name], a.chance.choice([0, 400]))
    with ExitStack() as stack:
        while a.on:
            with suppress(OSError):
                connection = stack.enter_context(socket.create_connection(a.target[name], 2))
                connection.sendall(greeting)
                a.sent += 1
            if a.sent % 600 == 599:
                stack.close()


def pings(a: Attack) -> None:
    """Commands of ZMTP without end, which libzmq answers itself."""
    name = a.chance.choice(SOCKETS)
    ping = zmtp.head(7, zmtp.COMMAND) + b"\x04PING\0\0"
    for connection in a.connections(name, TYPES[name]):
        a.pour(connection, ping * 1000, 1000)


# -- strangers in the protocol -----------------------------------------------------------------------------------------


def other_protocols(a: Attack) -> None:
    """HTTP, TLS, ZMTP 1.0 and noise at the three sockets."""
    while a.on:
        address = a.target[a.chance.choice(SOCKETS)]
        with suppress(OSError), socket.create_connection(address, 2) as connection:
            connection.settimeout(0.3)
            match a.chance.randrange(4):
                case 0:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\n\r\n")
                case 1:
                    context = ssl.create_default_context()
                    with context.wrap_socket(connection, server_hostname="a"):
                        pass
                case 2:
                    connection.sendall(b"\x01\x00" + b"\x02\x00\x01" * a.chance.randint(1, 20))
                case _:
                    connection.sendall(a.chance.randbytes(a.chance.randint(1, 3000)))
            a.sent += 1
            with suppress(TimeoutError):
                connection.recv(200)


def members(a: Attack) -> None:
    """Subscriptions that are taken back and made again by somebody who is no engine and no front-end."""
    while a.on:
        messages = [
            a.chance.choice([b"\x01", b"\x00", b"\x01\x01", b"\x00\x00"]) for _ in range(a.chance.randint(1, 9))
        ]
        a.say(a.chance.choice((FRONT, BACK)), messages)


# -- well-formed messages ----------------------------------------------------------------------------------------------


def far_waves(a: Attack) -> None:
    """Wave messages of waves and ranks that are far from any.

    Each time of another wave: two that say the same are two witnesses (docs/guarantees.md, "Two messages that agree").
    """
    while a.on:
        wave = a.chance.choice((a.chance.randrange(2**20, 2**31), *WAVES[5:]))
        engine = a.chance.choice(ENGINES)
        stats = {"num_waiting_reqs": 0, "num_running_reqs": 0, "step_counter": wave, "current_wave": wave}
        a.say(OUTPUT, [pack(a.chance.choice(_from_an_engine(engine, wave, stats)))])
        a.say(FRONT, [pack((engine, wave))])


def strays(a: Attack) -> None:
    """One well-formed message of any kind, as an honest peer of some moment might send it."""
    engine, wave = a.chance.choice(ENGINES[:4]), a.chance.choice(WAVES[:4])
    stats = {"num_waiting_reqs": 3, "num_running_reqs": 1, "step_counter": 1, "current_wave": wave}
    if a.chance.random() < 0.25:
        a.say(FRONT, [pack((engine, wave))])
    else:
        a.say(OUTPUT, [pack(a.chance.choice(_from_an_engine(engine, wave, stats)))])


def _from_an_engine(engine: int, wave: int, stats: dict[str, int]) -> list[list[Any]]:
    """wave_complete, start_wave and a report."""
    complete = [engine, [], None, 0.0, None, None, wave]
    return [complete, [*complete[:6], None, wave], [engine, [], stats]]


def scales(a: Attack) -> None:
    """SCALE_ELASTIC_EP to sizes that nobody has.

    One more would be believed once a `members` of the next round subscribes: docs/guarantees.md, "A SCALE that fits".
    """
    while a.on:
        a.say(FRONT, [pack(("SCALE_ELASTIC_EP", a.chance.choice([0, 40, 16_384, 16_385, 2**31, 2**63 - 1])))])
        time.sleep(0.2)


def texts(a: Attack) -> None:
    """Frames that hold long texts which steer terminals and reorder lines."""
    while a.on:
        text = STEERING * (a.chance.choice([10, 900_000]) // len(STEERING.encode()))
        message = a.chance.choice(
            [text, [text], {text: text}, [0, [], {"num_waiting_reqs": text}], ("SCALE" + text, 1)]
        )
        a.say(a.chance.choice((FRONT, OUTPUT)), [pack(message)] * 5)


def fuzzed_frames(a: Attack) -> None:
    """Frames that are nearly right, in masses."""
    seeds = [
        pack([0, [], {"num_waiting_reqs": 1, "num_running_reqs": 1, "step_counter": 1, "current_wave": 0}, 0.0]),
        pack((0, 0)),
        pack(("SCALE_ELASTIC_EP", 3)),
        b"\x01",
    ]
    while a.on:
        frames = [mutated(a.chance, a.chance.choice(seeds)) for _ in range(2000)]
        a.say(a.chance.choice(SOCKETS), frames, together=False)


def mutated(chance: random.Random, frame: bytes) -> bytes:
    """A frame with some of its bytes changed, left out or doubled. Hardly any is a wave message of a near wave."""
    data = bytearray(frame)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at:at] = chance.randbytes(chance.randint(1, 4))
            case 1:
                del data[at : at + chance.randint(1, 4)]
            case 2:
                data[at : at + 1] = bytes([chance.choice(b"\x00\x7f\x80\x9f\xa0\xbf\xc0\xc1\xcb\xcf\xd3\xdf\xff")])
            case _:
                data[at:at] = data[at : at + 8]
    return bytes(data)


# -- the page ----------------------------------------------------------------------------------------------------------


def guesses(a: Attack) -> None:
    """Tokens that are tried, and HTTP that two parsers would read in two ways."""
    starts = b"GET /api/v1/state HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    post = b"POST /api/v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    while a.on:
        with suppress(OSError), socket.create_connection(a.target[HTTP], 2) as connection:
            connection.settimeout(2)
            odd = a.chance.choice(
                [
                    starts + b"Authorization: Bearer %d\r\n\r\n" % a.chance.getrandbits(64),
                    post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                    starts.replace(b"\r", b"") + b"\n",
                    starts + b"X-Folded: a\r\n b\r\n\r\n",
                    starts + b"X-Long: " + b"x" * 200_000 + b"\r\n\r\n",
                    a.chance.randbytes(500),
                ]
            )
            connection.sendall(odd)
            connection.recv(1000)
            a.sent += 1


def deaf_viewers(a: Attack) -> None:
    """Viewers of the stream that read nothing, and requests of which one byte comes a second."""
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    upgrade = b"GET /api/v1/stream?since=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    with ExitStack() as stack:
        for number in range(40):
            with suppress(OSError):
                connection = stack.enter_context(socket.create_connection(a.target[HTTP], 2))
                connection.sendall(upgrade + key + b"\r\n" if number % 2 else b"GET / HTTP/1.1\r\nHo")
                a.sent += 1
        time.sleep(max(0.0, a.until - time.monotonic()))


KINDS: dict[str, Kind] = {
    kind.__name__: kind
    for kind in (
        endless_multipart,
        small_frames,
        large_frames,
        large_topics,
        unfinished_frames,
        connection_storm,
        crowds,
        pings,
        other_protocols,
        members,
        far_waves,
        strays,
        scales,
        texts,
        fuzzed_frames,
        guesses,
        deaf_viewers,
    )
}


def main() -> None:
    """Be that peer for so long."""
    kind, seed, seconds, target = sys.argv[1:]
    addresses = {name: (host, port) for name, (host, port) in json.loads(target).items()}
    attack = Attack(addresses, random.Random(seed), time.monotonic() + float(seconds))
    KINDS[kind](attack)
    print(attack.sent)


if __name__ == "__main__":
    main()
