"""What differs between vLLM generations, as one frozen value chosen by vLLM version."""

from __future__ import annotations

import re
from dataclasses import dataclass

OLDEST = (0, 10, 2)
NEWEST = (0, 33)
TESTED = " to ".join(".".join(map(str, version)) for version in (OLDEST, NEWEST))
_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


class UnknownDialectError(ValueError):
    """The text names no vLLM version that this package can speak."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The flags in which `vllm/v1/engine/coordinator.py` and its peers differ by version."""

    version: str
    """The vLLM version that was asked for, as given."""
    counts_carry_kv_cache_usage: bool
    """0.27: published counts are `[waiting, running, kv_cache_usage]`, before that `[waiting, running]`."""
    ready_to_late_subscribers: bool
    """0.18: READY goes out again for every later subscription; before that a second READY kills engines."""
    growth_clears_running: bool
    """Before 0.18: SCALE_ELASTIC_EP that adds engines drops engines_running to false."""
    notices_accepted: bool
    """Before 0.33: front-ends tell of a new request sent while they believed the engines paused."""
    notice_sets_running: bool
    """Before 0.29: such a notice sets engines_running and is announced; later it only broadcasts START."""
    outputs_carry_weight_version: bool
    """0.32: EngineCoreOutputs has a ninth field (engines accept and send it; decoding is tolerant)."""
    tested: bool
    """False for a version newer than any this package was checked against."""

    @classmethod
    def for_version(cls, version: str) -> Dialect:
        """The dialect of a vLLM version such as `0.32.0`, `0.28` or `0.33.1rc1+cpu`.

        Raises `UnknownDialectError` for text that is no version and for versions before 0.10.2.
        """
        match = _VERSION.match(version.strip())
        if match is None:
            raise UnknownDialectError(f"{version!r} is not a vLLM version: expected one like 0.33.0 (known: {TESTED})")
        number = tuple(int(part or 0) for part in match.groups())
        if number < OLDEST:
            raise UnknownDialectError(f"vLLM {version} is too old: the oldest version spoken is 0.10.2")
        return cls(
            version=version,
            counts_carry_kv_cache_usage=number >= (0, 27),
            ready_to_late_subscribers=number >= (0, 18),
            growth_clears_running=number < (0, 18),
            notices_accepted=number < (0, 33),
            notice_sets_running=number < (0, 29),
            outputs_carry_weight_version=number >= (0, 32),
            tested=number[:2] <= NEWEST,
        )


DEFAULT_VERSION = "0.33"
