"""What the coordinator is called, and addresses of others on the web: of webhooks, and of other coordinators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from dp_coordinator.supervised import previous_end
from dp_coordinator.values import BadValueError, Kind, base_url, web_parts

NAME_AT_MOST = 64
PEERS_AT_MOST = 64
_FILE_AT_MOST = 64 * 1024
FORMATS = ("json", "slack")


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Another coordinator or watch."""

    url: str
    token_file: str | None = None


def deployment_name(text: str) -> str:
    """One line that is no longer than a title can show. Empty means none."""
    if len(text) > NAME_AT_MOST or not text.isprintable() or text != text.strip():
        raise BadValueError(
            f"{text[:80]!r} is no name: write at most {NAME_AT_MOST} printable characters, such as prod-moe-eu"
        )
    return text


def web_address(text: str) -> str:
    """Where something is posted to. The text as it is."""
    parts = web_parts(text)
    if parts is None or parts.fragment or not text.isascii() or not text.isprintable() or " " in text:
        raise BadValueError("it is not an address such as https://hooks.example.com/path")  # which may be a secret
    if parts.username or parts.password:
        raise BadValueError("a name or password never goes into an address: --webhook-secret-file signs messages")
    return text


def webhook_format(text: str) -> str:
    """One of `FORMATS`."""
    if text not in FORMATS:
        raise BadValueError(f"{text!r} is no format: use {' or '.join(FORMATS)}")
    return text


def peers(text: str) -> str:
    """Addresses of coordinators with commas between them, or a file of them. The text as it is."""
    if "://" in text or previous_end() is None:
        peer_addresses(text)
    return text


def peer_addresses(text: str) -> tuple[PeerAddress, ...]:
    """What `--peers` names. Raises `BadValueError`; for a file also when it cannot be read now."""
    if "://" in text:
        found = tuple(PeerAddress(base_url(part.strip())) for part in text.split(",") if part.strip())
    else:
        found = tuple(_in_file(Path(text)))
    if not 1 <= len(found) <= PEERS_AT_MOST:
        raise BadValueError(f"{text!r} names {len(found)} coordinators: use 1 to {PEERS_AT_MOST}")
    return tuple({each.url: each for each in found}.values())


def _in_file(path: Path) -> list[PeerAddress]:
    try:
        with path.open("rb") as file:
            lines = file.read(_FILE_AT_MOST).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise BadValueError(
            f"{str(path)!r} cannot be read ({why}): name coordinators, such as http://10.0.0.7:8080,http://10.0.0.8:8080,"
            " or a file with one a line, each with the file of its token behind it where it has one"
        ) from None
    parts = [line.split() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for found in parts:
        if len(found) > 2:
            raise BadValueError(f"{str(path)!r}: {' '.join(found)[:80]!r} is not an address and the file of its token")
    return [PeerAddress(base_url(found[0]), found[1] if len(found) == 2 else None) for found in parts]


Name: TypeAlias = Annotated[str, Kind(deployment_name, "NAME", deployment_name)]
WebAddress: TypeAlias = Annotated[str, Kind(web_address, "URL", web_address)]
BaseUrl: TypeAlias = Annotated[str, Kind(base_url, "URL", base_url)]
WebhookFormat: TypeAlias = Annotated[str, Kind(webhook_format, "FORMAT", webhook_format)]
Peers: TypeAlias = Annotated[str, Kind(peers, "URL,...", peers)]
