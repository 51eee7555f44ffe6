"""A real nginx in front of servers, on free ports of this machine."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.ports import free_ports

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
OPENSSL = shutil.which("openssl")
PATIENCE = 20.0

_WHOLE = """daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen 127.0.0.1:{plain};
    listen 127.0.0.1:{secure} ssl;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    proxy_http_version 1.1;
{locations}
  }}
}}
"""
_HEADERS = """proxy_set_header Host {host};
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      {upgrade}"""
"""In each location: one that sets a header inherits none."""
UPGRADE = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"


@dataclass(frozen=True)
class Proxy:
    """Where it listens."""

    plain: str
    secure: str
    certificate: str
    """A file with its own certificate, by which it can be trusted."""


def location(path: str, port: int, *, strip: bool = True, more: str = "") -> str:
    """Show the server at `port` under a path, which is taken off or not."""
    target = f"http://127.0.0.1:{port}{'/' if strip else ''}"
    return f"    location {path} {{ proxy_pass {target}; {_HEADERS}\n      {more} }}"


@contextlib.contextmanager
def nginx(*locations: str, host: str = "$http_host", upgrade: str = UPGRADE) -> Iterator[Proxy]:
    """Run it. Skips the test where there is none."""
    if NGINX is None or OPENSSL is None:
        pytest.skip("no nginx or no openssl here: `make setup` installs nginx where it can")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _make_certificate(folder)
        ports = free_ports(2)
        places = "\n".join(locations).replace("{host}", host).replace("{upgrade}", upgrade)
        text = _WHOLE.format(folder=folder, plain=ports[0], secure=ports[1], locations=places)
        (folder / "nginx.conf").write_text(text)
        running = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"])
        stack.callback(running.wait)
        stack.callback(running.terminate)
        _await(running, ports[1])
        yield Proxy(f"http://127.0.0.1:{ports[0]}", f"https://localhost:{ports[1]}", str(folder / "certificate.pem"))


def _make_certificate(folder: Path) -> None:
    assert OPENSSL is not None
    told = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    made = [OPENSSL, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *told, *files]
    subprocess.run(made, check=True, capture_output=True)


def _await(running: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert running.poll() is None, "nginx ended at its start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
    raise AssertionError("nginx does not listen")
