"""CURVE (rfc.zeromq.org/spec/26) for peers that can: encrypted, and both ends known by their keys, from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dp_coordinator.settings import SettingsError
from dp_coordinator.words import Channel

OFFSETS = {Channel.FRONT_PUBLISH: 0, Channel.BACK_OUTPUT: 1, Channel.BACK_PUBLISH: 2}
"""Each socket's port, from that of --curve-address."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Where peers come with CURVE, and by which keys."""

    address: str
    """tcp://HOST:PORT"""
    secret_key: bytes
    clients: frozenset[bytes]
    """Public keys, 32 bytes each."""

    def address_of(self, channel: Channel) -> str:
        """Where one of the sockets is bound besides."""
        host, _, port = self.address.rpartition(":")
        return f"{host}:{int(port) + OFFSETS[channel]}"


def load(address: str | None, secret_key_file: str | None, clients: str | None) -> Curve | None:
    """What the three settings ask for; None when none is given. Raises `SettingsError`."""
    given = {"--curve-address": address, "--curve-key": secret_key_file, "--curve-clients": clients}
    if not any(given.values()):
        return None
    if address is None or secret_key_file is None or clients is None:
        missing = ", ".join(flag for flag, value in given.items() if value is None)
        raise SettingsError(f"CURVE needs three settings; {missing} is missing")
    from zmq import auth  # noqa: PLC0415  (asyncio and ssl come with it, and few want it)
    from zmq.utils import z85  # noqa: PLC0415

    try:
        _, secret = auth.load_certificate(secret_key_file)
        public = [auth.load_certificate(file)[0] for file in sorted(Path(clients).glob("*.key"))]
        keys = frozenset(z85.decode(key) for key in public)
    except (OSError, ValueError) as error:
        raise SettingsError(f"a CURVE key cannot be read: {error}") from None
    if secret is None:
        raise SettingsError(f"--curve-key: {secret_key_file!r} holds no secret key; take the *.key_secret file")
    if not keys:
        raise SettingsError(f"--curve-clients: {clients!r} holds no public keys (*.key), so nobody could connect")
    return Curve(address, secret, keys)
