"""Where a running coordinator is, and the file that tells it."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dp_coordinator.files import may_replace, replace_file
from dp_coordinator.messages import Endpoints
from dp_coordinator.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Bound(Endpoints):
    """Where everything is, once bound. In JSON, an object of these fields."""

    http_url: str | None
    pid: int

    def write(self, file: str) -> None:
        """Write it down (--endpoints-file); a reader sees all or nothing. Raises `SettingsError` when it cannot be."""
        try:
            replace_file(Path(file), json.dumps(asdict(self), indent=2) + "\n")
        except OSError as error:
            raise SettingsError(f"--endpoints-file: {file!r} cannot be written ({error.strerror})") from None


def remove_if_present(file: str | None) -> None:
    """Remove the file, if there is one to remove."""
    if file is not None and may_replace(Path(file)):
        with suppress(OSError):
            Path(file).unlink(missing_ok=True)
