"""The body of the screen: engines, waves, log."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from msgspec.structs import replace
from rich.console import Group, JustifyMethod
from rich.table import Table
from rich.text import Text

from dp_coordinator.cli import render
from dp_coordinator.cli.top.live import LogLine
from dp_coordinator.cli.top.scene import Scene
from dp_coordinator.messages import Engine, EnginePeer, EventMessage, WaveInfo
from dp_coordinator.words import EngineStatus

_BAR = 10
_GAP = 2
_LOAD = "load, against the mean"
_PLACE_LEAST = 16
"""Columns of the terminal, below which a place says too little."""
_RANKS = re.compile(r"(\d{1,9})(?:[-–](\d{1,9}))?")  # noqa: RUF001
_STYLES = {"suspect": "bold red", "gone": "bold", "working": "green"} | dict.fromkeys(
    ("never", "joining", "idle", "quiet", "unknown", render.UNKNOWN), "dim"
)
_FEW_OF_WAVES = frozenset({"wave", "state", "started by", "lasted"})
_WAVES = [column for column in render.WAVES if column.head in _FEW_OF_WAVES | {"asked"}] + [
    render.Column("peak load", lambda row: f"{render.known(row.peak_waiting)} + {render.known(row.peak_running)}")
]
T = TypeVar("T")


def load(row: Engine) -> int | None:
    """Requests waiting and running; None when the rank never reported, or is gone."""
    if row.status is EngineStatus.GONE or (row.waiting is None and row.running is None):
        return None
    return (row.waiting or 0) + (row.running or 0)


_KEYS: dict[str, Callable[[Engine], float | None]] = {
    "rank": lambda row: -row.index,
    "load": load,
    "last report": lambda row: row.age_s,
    "kv cache": lambda row: row.kv_cache_usage,
}
SORTS = tuple(_KEYS)
"""Orders of the engine table's rows."""


def by(sort: str, unsorted: list[Engine]) -> list[Engine]:
    """The rows, the greatest value first; those that never reported come last, ranks in their order."""
    key = _KEYS[sort]
    return sorted(unsorted, key=lambda row: (key(row) is None, -(key(row) or 0)))


def _table(columns: Sequence[render.Column[T]], rows: Iterable[T]) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
    for column in columns:
        justify: JustifyMethod = "left" if column.left else "right"
        table.add_column(Text(column.head), justify=justify, width=column.width or None, no_wrap=True)
    for row in rows:
        cells = [render.clean(column.cell(row)) for column in columns]
        table.add_row(*(Text(cell, _STYLES.get(cell.strip(), "")) for cell in cells))
    return table


def _title(text: str) -> Text:
    return Text(text, "bold", no_wrap=True)


def fitting(width: int) -> list[render.Column[Engine]]:
    """The columns of the engine table that there is room for."""
    chosen = list(render.ENGINES)
    while _room(chosen, width) < -_GAP and any(column.rank for column in chosen):
        chosen.remove(max(chosen, key=lambda column: column.rank))
    return chosen


def _room(columns: Sequence[render.Column[Engine]], width: int) -> int:
    """Columns of the terminal that these leave for another one."""
    return width - sum(column.width + _GAP for column in columns)


def kept(rows: list[Engine], text: str) -> list[Engine]:
    """Rows that a filter keeps: ranks ("3", "8-15"; any of those named) and the beginning of a status ("quiet")."""
    words = [word for word in re.split(r"[\s,]+", text.lower()) if word]
    ranges = [(int(found[1]), int(found[2] or found[1])) for word in words if (found := _RANKS.fullmatch(word))]
    statuses = [word for word in words if not _RANKS.fullmatch(word)]
    return [
        row
        for row in rows
        if (not ranges or any(first <= row.index <= last for first, last in ranges))
        and (not statuses or any(row.status.startswith(status) for status in statuses))
    ]


def in_order(scene: Scene) -> list[Engine]:
    """The ranks that the filter keeps, as they are sorted."""
    snapshot = scene.shown.snapshot
    return [] if snapshot is None else by(scene.choices.sort, kept(snapshot.engines.rows(), scene.choices.filter))


def engines(scene: Scene, now: float, width: int, lines: int) -> Group:
    """A title, and as many ranks as fit below it from the one scrolled to."""
    choices, snapshot = scene.choices, scene.shown.snapshot
    assert snapshot is not None
    order = in_order(scene)
    page = order[choices.offset : choices.offset + max(0, lines - 2)]
    first, last = choices.offset + 1, choices.offset + len(page)
    shown = "" if len(page) == len(order) else f" {first} to {last} of {len(order)}"
    kept_by = f', {len(order)} of {snapshot.engine_count} match "{choices.filter}"' if choices.filter else ""
    columns = fitting(width)
    if _room(columns, width) >= len(_LOAD):
        columns.append(render.Column(_LOAD, partial(_bar, loads=_loads(scene), plain=scene.plain), left=True))
        if scene.places is not None and (room := _room(columns, width) - len(_LOAD) - _GAP) >= _PLACE_LEAST:
            columns.append(render.Column("place", render.PLACE.cell, left=True, width=room))
    rows = [_as_seen(row, scene, now) for row in page]
    return Group(_title(f"ENGINES{shown}, by {choices.sort}{kept_by}"), _table(columns, rows))


def _loads(scene: Scene) -> list[int]:
    assert scene.shown.snapshot is not None
    return [requests for row in scene.shown.snapshot.engines.rows() if (requests := load(row)) is not None]


def one(scene: Scene, rank: int, now: float, width: int, lines: int) -> Group:
    """One rank looked at closely: its numbers, where it is, what names it, and its events."""
    snapshot = scene.shown.snapshot
    assert snapshot is not None
    title = _title(f"RANK {rank} (j k: the next, Esc: all)")
    found = [row for row in snapshot.engines.rows() if row.index == rank]
    if not found:
        return Group(title, Text("there is no such rank any more", "dim"))
    row = _as_seen(found[0], scene, now)
    facts = [(column.head, column.cell(row)) for column in render.ENGINES if column.head != "rank"]
    facts.append(("load", _bar(row, loads=_loads(scene), plain=scene.plain).strip()))
    facts.append(("place", render.PLACE.cell(row) if scene.places is not None else "not known"))
    named = [alarm for alarm in snapshot.alarms if rank in alarm.engines]
    said = [Text.assemble((f"{name:>12}  ", "dim"), render.clean(value)) for name, value in facts]
    said += [Text.assemble((f"{alarm.severity:>12}  ", "bold red"), render.clean(alarm.title)) for alarm in named]
    about = [entry for entry in scene.shown.log if isinstance(entry, EventMessage) and _is_about(entry, rank)]
    room = max(0, lines - 1 - len(said))
    said += [_line(entry, "  ") for entry in about[len(about) - min(room, len(about)) :]]
    for text in said:
        text.no_wrap, text.overflow = True, "ellipsis"
    return Group(title, *said[: max(0, lines - 1)])


def _is_about(entry: EventMessage, rank: int) -> bool:
    named = entry.fields.get("engines")
    return entry.fields.get("engine") == rank or (isinstance(named, list) and rank in named)


def _as_seen(row: Engine, scene: Scene, now: float) -> Engine:
    """Its age grows by itself; without a connection nobody can say whether it is silent."""
    age = None if row.age_s is None else row.age_s + scene.elapsed(now)
    told = scene.connected or row.status == EngineStatus.NEVER
    return replace(row, age_s=age, status=row.status if told else "unknown", peer=_peer(scene, row.index))


def _peer(scene: Scene, rank: int) -> EnginePeer | None:
    page = scene.places
    position = page.places[rank] if page is not None and rank < len(page.places) else None
    return page.peers[position] if page is not None and position is not None and position < len(page.peers) else None


def _bar(row: Engine, loads: Sequence[int], *, plain: bool) -> str:
    """`1.8x #####`: against the mean in figures, against the greatest in length."""
    requests = load(row)
    if requests is None:
        return f"{render.UNKNOWN:>6}"
    mean, most = sum(loads) / len(loads), max(loads)
    ratio = f"{requests / mean:.1f}x" if mean else render.UNKNOWN
    length = round(requests / most * _BAR) if most else 0
    return f"{ratio:>6} {('#' if plain else '█') * length}"


def known_waves(scene: Scene) -> list[WaveInfo]:
    """Newest first, those of earlier incarnations of the coordinator last."""
    live = scene.shown
    return [*(live.snapshot.waves if live.snapshot is not None else ()), *live.earlier]


def waves(scene: Scene, now: float, width: int, lines: int) -> Group:
    """The newest waves."""
    known = known_waves(scene)[: max(0, lines - 2)]
    columns = [column for column in _WAVES if width >= 66 or column.head in _FEW_OF_WAVES]
    rows = [_going_on(wave, scene, now) for wave in known]
    return Group(
        _title("WAVES, newest first"), _table(columns, rows) if rows else Text("no wave has been seen yet", "dim")
    )


def _going_on(wave: WaveInfo, scene: Scene, now: float) -> WaveInfo:
    """An open wave goes on before the viewer's eyes, as long as somebody can say that it does."""
    if wave.duration_s is None or not wave.open or not scene.connected:
        return wave
    return replace(wave, duration_s=wave.duration_s + scene.elapsed(now))


def log(scene: Scene, lines: int) -> Group:
    """The newest entries, the newest at the bottom as it is usual in a terminal."""
    known = scene.shown.log
    end = len(known) - min(scene.choices.log_offset, max(0, len(known) - 1))
    entries = known[max(0, end - lines + 1) : end] if lines > 1 else ()
    said = Text("\n", no_wrap=True, overflow="ellipsis").join(_line(entry) for entry in entries)
    below = "" if end == len(known) else f", {len(known) - end} newer below (J)"
    return Group(_title(f"LOG, newest last{below}"), said if entries else Text("nothing has happened yet", "dim"))


def _line(entry: LogLine, indent: str = "") -> Text:
    return Text.assemble((indent + render.clock(entry.at)[:8], "dim"), f"  {render.clean(entry.text)}")
