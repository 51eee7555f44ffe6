"""What the web layer can be told, and what it refuses to be told."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from dp_coordinator.options import WebOptions
from dp_coordinator.settings import SettingsError

STATIC_DIR = Path(__file__).parent / "static"
TOKEN_AT_LEAST = 16
"""Characters of a token that guards an address which others can reach: guessing it must stay hopeless."""


@dataclass(frozen=True)
class WebSettings(WebOptions):
    """Everything the web layer is told. Names ending in `_s` are seconds."""

    host: str = "127.0.0.1"
    port: int = 8080
    journal: str | None = None
    """Whose notes outlive the process."""
    static_dir: Path = STATIC_DIR
    """Where the built page lies."""
    sample_interval_s: float = 0.1
    heartbeat_s: float = 1.0
    """A snapshot is sent at least this often, changed or not."""
    stall_timeout_s: float = 10.0
    """A viewer that takes nothing for this long is disconnected."""
    max_viewers: int = 2000
    viewers_per_client: int = 1000
    """Of one address. It is less than all there may be, so that one cannot take the place of all others."""
    max_connections: int = 2288
    """Viewers and others. There are fewer where the open files that engines leave allow no more."""
    agent_connections: int = 128
    """Of HAProxy's agent checks, at a time."""
    send_buffer_bytes: int = 64 * 1024
    """What the kernel is to hold for one viewer; Linux takes twice that, and a thousand who never read 140 MB."""
    answer_timeout_s: float = 2.0
    """How long the loop may take to answer a command."""
    loop_timeout_s: float = 10.0
    """A loop that did not turn for this long is not alive."""
    max_body_bytes: int = 16 * 1024
    body_timeout_s: float = 10.0
    session_s: float = 12 * 3600.0
    """How long a login lasts."""
    login_burst: int = 5
    """Wrong tokens that one client may present at once; then one every five seconds."""
    refusals_logged_per_s: float = 10.0
    """Refused starts that get an event-log entry of their own; more than these are only counted there."""
    start_burst: int = 20
    """Start requests taken at once; then as many a second as `starts_per_s` says."""
    starts_per_s: float = 10.0


def page_url(settings: WebSettings) -> str:
    """Where people open the page, without a slash at the end: as was told, or as it is bound."""
    if settings.public_url is not None:
        return settings.public_url
    host = settings.host.strip("[]")
    host = socket.gethostname() if host in ("", "0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.port}"


def is_loopback(host: str) -> bool:
    """Whether an address to bind can be reached from this machine only. A name other than localhost counts as no."""
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def check_token(settings: WebSettings, token: str) -> None:
    """Raise `SettingsError` when a token cannot be sent in a header, or is too short for the address it guards."""
    if not token or not all("!" <= c <= "~" for c in token):
        raise SettingsError(
            "the token must be one or more visible ASCII characters without spaces; it is empty or has others "
            "(make one with `openssl rand -hex 32`)"
        )
    if len(token) < TOKEN_AT_LEAST and not is_loopback(settings.host):
        raise SettingsError(
            f"refusing to serve {_where(settings)} with a token of {len(token)} characters: others can reach that "
            f"address and guess; take at least {TOKEN_AT_LEAST} (make one with `openssl rand -hex 32`)"
        )


def check_exposure(settings: WebSettings) -> None:
    """Raise `SettingsError` when strangers could start waves, or the token cannot work."""
    if settings.token is not None:
        check_token(settings, settings.token)
    elif not settings.trust_network_without_token and not is_loopback(settings.host):
        raise SettingsError(
            f"refusing to serve {_where(settings)} without a token: everyone who can reach that address could start "
            "waves. Give a token (--token-file FILE, or DP_COORDINATOR_TOKEN), bind 127.0.0.1, or, if everyone who can "
            "reach it may do so, say so with --trust-network-without-token "
            "(DP_COORDINATOR_TRUST_NETWORK_WITHOUT_TOKEN=1)"
        )


def _where(settings: WebSettings) -> str:
    return f"{settings.host or '0.0.0.0'}:{settings.port}"
