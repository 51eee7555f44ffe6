"""Where a running coordinator is, and the file that tells it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from dp_coordinator.mailbox import Endpoints
from dp_coordinator.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Bound:
    """Where everything is, once bound."""

    endpoints: Endpoints
    http_url: str | None
    pid: int

    def as_json(self) -> dict[str, object]:
        """The same as a JSON object: the three endpoints, http_url and pid."""
        return {**asdict(self.endpoints), "http_url": self.http_url, "pid": self.pid}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Bound:
        """What `as_json` made."""
        endpoints = Endpoints(**{end.name: told[end.name] for end in fields(Endpoints)})
        return cls(endpoints, told["http_url"], told["pid"])

    def write(self, file: str) -> None:
        """Write it down (--endpoints-file); a reader sees all or nothing. Raises `SettingsError` when it cannot be."""
        path = Path(file)
        try:
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            with os.fdopen(descriptor, "w") as out:
                json.dump(self.as_json(), out, indent=2)
                out.write("\n")
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except OSError as error:
            raise SettingsError(f"--endpoints-file: {file!r} cannot be written ({error.strerror})") from None


def remove_if_present(file: str | None) -> None:
    """Remove the file, if there is one to remove."""
    if file is not None:
        with suppress(OSError):
            Path(file).unlink(missing_ok=True)
