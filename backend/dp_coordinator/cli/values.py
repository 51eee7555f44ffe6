"""From the text of a flag or variable to its value; each refusal says what would be right."""

from __future__ import annotations

import math
import re
from pathlib import Path
from urllib.parse import urlsplit

from dp_coordinator.core.dialect import Dialect, UnknownDialectError
from dp_coordinator.supervised import LateToken, previous_end

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
_ZMQ_ADDRESS = re.compile(r"tcp://(\[[0-9a-fA-F:.%\w]+\]|[^\s:/\[\]]+):(\d{1,5}|\*)|ipc://\S+")
_TOKEN_MAX_BYTES = 4096
LOG_LEVELS = ("debug", "info", "warning", "error")


class BadValueError(ValueError):
    """The text is no such value; the message completes "X is ..." with what would be right."""


def boolean(text: str) -> bool:
    """1, true, yes or on; 0, false, no or off."""
    lowered = text.strip().lower()
    if lowered in TRUE:
        return True
    if lowered in FALSE:
        return False
    raise BadValueError(f"{text!r} is neither true nor false: use 1, 0, true or false")


def whole_number(text: str, *, least: int, example: int) -> int:
    """A whole number of at least `least`."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise BadValueError(f"{text!r} is not a whole number of at least {least}, such as {example}")
    return value


def count(text: str) -> int:
    """1, 2, 3, ..."""
    return whole_number(text, least=1, example=4)


def index(text: str) -> int:
    """0, 1, 2, ..."""
    return whole_number(text, least=0, example=0)


def milliseconds(text: str) -> int:
    """A whole number of milliseconds, not negative."""
    return whole_number(text, least=0, example=100)


def seconds(text: str) -> float:
    """A positive, finite number of seconds."""
    value = _finite(text)
    if value is None or value <= 0:
        raise BadValueError(f"{text!r} is not a number of seconds above 0, such as 30 or 2.5")
    return value


def amount(text: str) -> float:
    """A finite number that is not negative."""
    value = _finite(text)
    if value is None or value < 0:
        raise BadValueError(f"{text!r} is not a number of at least 0, such as 20 or 2.5")
    return value


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def text(value: str) -> str:
    """Any text that is not blank."""
    if not value.strip():
        raise BadValueError("nothing but blanks is not enough: write some text")
    return value.strip()


def zmq_address(text: str) -> str:
    """Where a ZeroMQ socket listens or connects: `tcp://HOST:PORT` or `ipc://PATH`."""
    match = _ZMQ_ADDRESS.fullmatch(text)
    if match is None or (match[2] not in {None, "*"} and not _is_port(match[2])):
        raise BadValueError(f"{text!r} is not a ZeroMQ address such as tcp://127.0.0.1:5555 or ipc:///tmp/dp.sock")
    return text


def host_port(text: str) -> str:
    """`HOST:PORT`, `[::1]:8080` for IPv6; port 0 lets the system choose. The text as it is."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    good_host = host.strip("[]") != "" and "/" not in host and (bracketed or ":" not in host)
    if not colon or not good_host or not _is_port(port):
        raise BadValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return text


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= 65535


def version(text: str) -> str:
    """A vLLM version whose dialect is known."""
    try:
        Dialect.for_version(text)
    except UnknownDialectError as error:
        raise BadValueError(str(error)) from None
    return text


def log_level(text: str) -> str:
    """debug, info, warning or error."""
    if text.lower() not in LOG_LEVELS:
        raise BadValueError(f"{text!r} is no log level: use {', '.join(LOG_LEVELS[:-1])} or {LOG_LEVELS[-1]}")
    return text.lower()


def base_url(text: str) -> str:
    """Where a coordinator's web server is, without a slash at the end."""
    parts = urlsplit(text)
    try:
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise BadValueError(f"{text!r} is not the address of a coordinator, such as http://127.0.0.1:8080")
    if parts.username or parts.password:
        raise BadValueError("a secret never goes into an address: give it with --token-file")
    return text.rstrip("/")


def names(text: str) -> tuple[str, ...]:
    """One or several names, separated by commas."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise BadValueError(f"{text!r} names nothing: give a name, or several separated by commas")
    return found


def token_in(text: str) -> str:
    """The secret that stands in the file named by `text`. A coordinator that came back does not die of its absence."""
    try:
        return _token_now(text)
    except BadValueError:
        if previous_end() is None:
            raise
        return LateToken.in_file(text, _token_now)


def _token_now(text: str) -> str:
    path = Path(text)
    try:
        with path.open("rb") as file:
            content = file.read(_TOKEN_MAX_BYTES + 1)
        token = content.decode("ascii").strip()
    except OSError as error:
        raise BadValueError(f"{text!r} cannot be read ({error.strerror}): name a file that holds the token") from None
    except UnicodeDecodeError:
        raise BadValueError(f"{text!r} holds no token: one line of printable ASCII is expected") from None
    return check_token(token, repr(text))


def token(text: str) -> str:
    """A secret given as it is (in a variable only: a command line is seen by everyone on the machine)."""
    return check_token(text.strip(), "the value")


def check_token(token: str, where: str) -> str:
    """The token, if it is one that a header can carry."""
    if not token or len(token) > _TOKEN_MAX_BYTES or not token.isascii() or not token.isprintable() or " " in token:
        raise BadValueError(f"{where} holds no token: one line of printable ASCII without blanks is expected")
    return token


def output_file(text: str) -> Path:
    """A file that can be written: its folder is there, or was when this coordinator first started."""
    path = Path(text)
    if (path.is_dir() or not path.parent.is_dir()) and previous_end() is None:
        raise BadValueError(f"{text!r} cannot be written: name a file in a folder that exists")
    return path


def recording(text: str) -> Path:
    """A file or folder that is there."""
    path = Path(text)
    if not path.exists():
        raise BadValueError(f"{text!r} is not there: name a recording, or a folder of them")
    return path


def speed(text: str) -> float:
    """How much faster than it was."""
    value = _finite(text)
    if value is None or not 0.1 <= value <= 64:
        raise BadValueError(f"{text!r} is no speed: use 0.1 to 64, such as 4")
    return value
