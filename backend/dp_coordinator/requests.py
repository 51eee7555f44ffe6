"""What REST is asked for in a body, and what it answers beside messages.py: sessions, health, problems."""

from __future__ import annotations

import msgspec

from dp_coordinator.words import Corrected


class Play(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/view`: what is to change; null leaves it as it is."""

    speed: float | None = None
    paused: bool | None = None
    at: float | None = None
    """Seconds from the recording's first moment."""


class StartWave(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/waves`."""

    reason: str
    expected_wave: int | None = None
    wave: int | None = None


class SetWave(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PUT /api/v1/wave`."""

    reason: str
    wave: int
    expected_wave: int
    """Refuse unless this is the current wave."""


class SetEngineCount(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PUT /api/v1/engine-count`."""

    reason: str
    engine_count: int
    expected_engine_count: int
    """Refuse unless this is the engine count now."""


class CorrectionMade(msgspec.Struct, frozen=True):
    """What was set, and what it was before."""

    corrected: Corrected
    before: int
    after: int


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/login`."""

    token: str
    path: str = "/"
    """The folder from which the page was loaded: behind a proxy it is more than `/`, and the cookie is for it alone."""


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """`GET /api/v1/session`: whether a token is needed here, and whether this request carried a valid one."""

    token_required: bool
    authenticated: bool
    stream_refused: str | None = None
    """Why a stream of this client was just refused, which a browser does not tell its page."""


class Check(msgspec.Struct, frozen=True):
    """One thing that health depends on."""

    name: str
    ok: bool
    detail: str


class Health(msgspec.Struct, frozen=True):
    """`GET /livez` and `GET /readyz`; `checks` is filled by `?verbose` and whenever something is not ok."""

    ok: bool
    checks: list[Check]


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457 problem details; `type` is `problems/<slug>`, relative like `instance` to what was asked for."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
