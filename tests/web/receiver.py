"""Somebody who takes messages over HTTP, and answers as a test wants."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

PATIENCE_S = 90


class Got(NamedTuple):
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        """Its JSON."""
        told: dict[str, Any] = json.loads(self.body)
        return told


class Receiver:
    """Keeps what comes, in order."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.answers: queue.SimpleQueue[tuple[int, dict[str, str], bytes]] = queue.SimpleQueue()
        """What the next requests are answered; 200 once it is empty."""
        self.got: queue.SimpleQueue[Got] = queue.SimpleQueue()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer one request so."""
        self.answers.put((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    def next(self) -> Got:
        """The next request that came, or comes."""
        return self.got.get(timeout=PATIENCE_S)

    def nothing_more(self) -> bool:
        """Whether nothing has come that was not looked at."""
        return self.got.empty()


@contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """One that listens until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            made.got.put(Got(self.command, self.path, dict(self.headers.items()), body))
            status, headers, answer = (200, {}, b"") if made.answers.empty() else made.answers.get()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(answer))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET = _take

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    made = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="receiver")
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
