"""From the text of a flag or variable to its value; each refusal says what would be right.

The types at the end are what options classes annotate their fields with: a type, and how a text becomes its value.
"""

from __future__ import annotations

import math
import os
import re
import select
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias
from urllib.parse import SplitResult, urlsplit

from dp_coordinator.core.dialect import Dialect, UnknownDialectError
from dp_coordinator.files import may_replace
from dp_coordinator.scratch import SOCKET_PATH_AT_MOST
from dp_coordinator.supervised import previous_end

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
_ZMQ_ADDRESS = re.compile(r"tcp://(\[[0-9a-fA-F:.%\w]+\]|[^\s:/\[\]]+):(\d{1,5}|\*)|ipc://\S+")
_HOST_PORT = re.compile(r"(?:\[([^\[\]/\s]+)\]|([^\[\]/\s:]+)):(\d{1,5})", re.ASCII)
_TOKEN_MAX_BYTES = 4096
PIPE_S = 5.0
"""In which a pipe that holds a token must be written to."""
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


def _whole_number(text: str, *, least: int, example: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise BadValueError(f"{text!r} is not a whole number of at least {least}, such as {example}")
    return value


def between(least: float, most: float) -> Callable[[float], None]:
    """Make the check of a number that both bounds are allowed for."""

    def check(value: float) -> None:
        if not least <= value <= most:
            raise BadValueError(f"{value!r} is out of bounds: use {least} to {most}")

    return check


def count(text: str) -> int:
    """1, 2, 3, ..."""
    return _whole_number(text, least=1, example=4)


def index(text: str) -> int:
    """0, 1, 2, ..."""
    return _whole_number(text, least=0, example=0)


def milliseconds(text: str) -> int:
    """A whole number of milliseconds, not negative."""
    return _whole_number(text, least=0, example=100)


def _number(text: str, fits: Callable[[float], bool], refusal: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not fits(value):
        raise BadValueError(f"{text!r} is {refusal}")
    return value


def seconds(text: str) -> float:
    """A positive, finite number of seconds."""
    return _number(text, lambda value: value > 0, "not a number of seconds above 0, such as 30 or 2.5")


def amount(text: str) -> float:
    """A finite number that is not negative."""
    return _number(text, lambda value: value >= 0, "not a number of at least 0, such as 20 or 2.5")


def speed(text: str) -> float:
    """How much faster than it was."""
    return _number(text, lambda value: 0.1 <= value <= 64, "no speed: use 0.1 to 64, such as 4")


def a_day_at_most(seconds: float) -> None:
    """Check a time limit that did not come as a text."""
    if not 0 < seconds <= 86_400:
        raise BadValueError(f"{seconds!r} is out of bounds: use more than 0 and at most 86400 seconds")


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
    path = text.removeprefix("ipc://")
    if path != text and len(os.fsencode(path)) > SOCKET_PATH_AT_MOST:
        raise BadValueError(f"{text!r} is too long: a socket's path has at most {SOCKET_PATH_AT_MOST} bytes")
    return text


def curve_address(text: str) -> str:
    """`tcp://HOST:PORT` with two more ports after it."""
    match = _ZMQ_ADDRESS.fullmatch(zmq_address(text))
    if match is None or match[2] in {None, "*"} or not 1 <= int(match[2]) <= 65_533:
        raise BadValueError(f"{text!r} is not tcp://HOST:PORT with a port of 1 to 65533, such as tcp://0.0.0.0:5600")
    return text


def key_file(text: str) -> str:
    """A file that holds a secret CURVE key. The text as it is."""
    if not Path(text).is_file():
        raise BadValueError(
            f"{text!r} is not there: name a file that zmq.auth.create_certificates wrote (*.key_secret)"
        )
    return text


def parse_host_port(text: str) -> tuple[str, int]:
    """`HOST:PORT`, `[::1]:8080` for IPv6, as (host, port)."""
    match = _HOST_PORT.fullmatch(text)
    if match is None or not _is_port(match[3]):
        raise BadValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    return match[1] or match[2], int(match[3])


def host_port(text: str) -> str:
    """`HOST:PORT`; port 0 lets the system choose. The text as it is."""
    parse_host_port(text)
    return text


def _is_port(digits: str) -> bool:
    return int(digits) <= 65_535


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


def web_parts(text: str) -> SplitResult | None:
    """The parts of an address on the web; None when it is none."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return None
    return parts if good else None


def base_url(text: str) -> str:
    """Where a coordinator's web server is, without a slash at the end."""
    parts = web_parts(text)
    if parts is None or parts.query or parts.fragment:
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
    """The secret that stands in the file named by `text`, without blanks around it."""
    path = Path(text)
    try:
        token = _beginning(path).decode("ascii").strip()
    except OSError as error:
        raise BadValueError(f"{text!r} cannot be read ({error.strerror}): name a file that holds the token") from None
    except UnicodeDecodeError:
        raise BadValueError(f"{text!r} holds no token: one line of printable ASCII is expected") from None
    return check_token(token, repr(text))


def _beginning(path: Path) -> bytes:
    """What stands in a file. A pipe gets a while to be written to, but not in a restart: waves do not wait for it."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        written = select.poll()
        written.register(file, select.POLLIN)
        written.poll(1000 * (PIPE_S if previous_end() is None else 0.1))
        return os.read(file, _TOKEN_MAX_BYTES + 1)
    finally:
        os.close(file)


def token_file(text: str) -> str:
    """A file that holds a token. The text as it is: the file is read again when it changes.

    It may be away for a while when this coordinator comes back: then the page waits for it.
    """
    path = Path(text)
    if previous_end() is None and (path.is_file() or path.is_dir() or not path.exists()):  # a pipe is read only once
        token_in(text)
    return text


def token(text: str) -> str:
    """A secret given as it is (in a variable only: a command line is seen by everyone on the machine)."""
    return check_token(text.strip(), "the value")


def check_token(token: str, where: str) -> str:
    """The token, if it is one that a header can carry."""
    if not token or len(token) > _TOKEN_MAX_BYTES or not token.isascii() or not token.isprintable() or " " in token:
        raise BadValueError(f"{where} holds no token: one line of printable ASCII without blanks is expected")
    return token


def input_file(text: str) -> str:
    """A file that can be read, or comes later: it is read again when it changes. The text as it is."""
    if previous_end() is None and (Path(text).is_dir() or not text.strip()):
        raise BadValueError(f"{text!r} is a folder, or blank: name a file")
    return text


def tap_address(text: str) -> str:
    """Where a coordinator publishes to its front-ends."""
    if zmq_address(text).endswith((":*", ":0", "://*")):
        raise BadValueError(f"{text!r} names no port: write the one that is published on")
    return text


def output_file(text: str) -> str:
    """A file that can be written: its folder is there, or was before a restart. The text as it is."""
    path = Path(text)
    if previous_end() is None and (path.is_dir() or not path.parent.is_dir() or not text.strip()):
        raise BadValueError(f"{text!r} cannot be written: name a file in a folder that exists")
    return text


def replaced_file(text: str) -> str:
    """A file that is written anew as a whole, or is not there yet. The text as it is.

    What lay there is removed: of a device, or a name that leads to one (/dev/stdout), nothing would be left.
    """
    if previous_end() is None and not may_replace(Path(output_file(text))):
        raise BadValueError(f"{text!r} is no regular file: name one that may be replaced, or that is not there yet")
    return text


def recording(text: str) -> str:
    """A file or folder that is there. The text as it is."""
    if not Path(text).exists():
        raise BadValueError(f"{text!r} is not there: name a recording, or a folder of them")
    return text


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is read and checked; raises `BadValueError`."""

    read: Callable[[str], Any]
    metavar: str = ""
    """What stands for the value in help texts."""
    check: Callable[[Any], object] = lambda value: None
    """Also applied to values that did not come as a text."""


Switch: TypeAlias = Annotated[bool, Kind(boolean)]
Count: TypeAlias = Annotated[int, Kind(count, "N")]
Index: TypeAlias = Annotated[int, Kind(index, "N")]
Seconds: TypeAlias = Annotated[float, Kind(seconds, "SECONDS", a_day_at_most)]
Amount: TypeAlias = Annotated[float, Kind(amount, "X")]
Text: TypeAlias = Annotated[str, Kind(text, "TEXT")]
ZmqAddress: TypeAlias = Annotated[str, Kind(zmq_address, "ADDRESS")]
CurveAddress: TypeAlias = Annotated[str, Kind(curve_address, "ADDRESS", curve_address)]
KeyFile: TypeAlias = Annotated[str, Kind(key_file, "FILE", key_file)]
HostPort: TypeAlias = Annotated[str, Kind(host_port, "HOST:PORT", host_port)]
InputFile: TypeAlias = Annotated[str, Kind(input_file, "FILE")]
TapAddress: TypeAlias = Annotated[str, Kind(tap_address, "ADDRESS", tap_address)]
TokenFile: TypeAlias = Annotated[str, Kind(token_file, "FILE")]
Version: TypeAlias = Annotated[str, Kind(version, "VERSION", version)]
OutputFile: TypeAlias = Annotated[str, Kind(output_file, "FILE")]
ReplacedFile: TypeAlias = Annotated[str, Kind(replaced_file, "FILE", replaced_file)]
Folder: TypeAlias = Annotated[str, Kind(text, "DIR")]
