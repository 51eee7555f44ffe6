"""The body of the screen: engines, waves, log."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from dp_coordinator.cli import render
from dp_coordinator.cli.top.ranks import by, load
from dp_coordinator.cli.top.scene import Scene
from dp_coordinator.messages import Engine, WaveInfo
from dp_coordinator.words import EngineStatus

_BAR = 10
_GAP = 2
_STATUS = {"stale": "bold red", "never": "dim", "unknown": "dim", "fresh": "green"}
_FEW_OF_WAVES = frozenset({"wave", "state", "started by", "lasted"})
_WAVES = [column for column in render.WAVES if column.head in _FEW_OF_WAVES | {"asked"}] + [
    render.Column("peak load", lambda row: f"{row.peak_waiting} + {row.peak_running}")
]


_LOAD = "load, against the mean"


def fitting(width: int) -> list[render.Column[Engine]]:
    """The columns of the engine table that there is room for."""
    chosen = list(render.ENGINES)
    while sum(column.width + _GAP for column in chosen) - _GAP > width and any(column.rank for column in chosen):
        chosen.remove(max(chosen, key=lambda column: column.rank))
    return chosen


def engines(scene: Scene, now: float, width: int, lines: int) -> tuple[Text, Table]:
    """A title, and as many ranks as fit below it from the one scrolled to."""
    choices, snapshot = scene.choices, scene.shown.snapshot
    assert snapshot is not None
    unsorted = snapshot.engines.rows()
    page = by(choices.sort, unsorted)[choices.offset : choices.offset + max(0, lines - 2)]
    first, last = choices.offset + 1, choices.offset + len(page)
    shown = "" if len(page) == len(unsorted) else f" {first} to {last} of {len(unsorted)}"
    title = Text(f"ENGINES{shown}, by {choices.sort}", "bold", no_wrap=True)
    loads = [requests for row in unsorted if (requests := load(row)) is not None]
    return title, _engine_table([_as_of(row, scene.elapsed(now)) for row in page], loads, scene, width)


def _as_of(row: Engine, elapsed: float) -> Engine:
    """An age grows by itself until the next message."""
    return row if row.age_s is None else replace(row, age_s=row.age_s + elapsed)


def _engine_table(page: Sequence[Engine], loads: Sequence[int], scene: Scene, width: int) -> Table:
    columns = fitting(width)
    with_bar = width - sum(column.width + _GAP for column in columns) >= len(_LOAD)
    table = _table()
    for column in columns:
        justify: JustifyMethod = "left" if column.left else "right"
        table.add_column(Text(column.head), justify=justify, width=column.width)
    if with_bar:
        table.add_column(Text(_LOAD))
    for row in page:
        cells = [_status(row, scene) if column.head == "status" else Text(column.cell(row)) for column in columns]
        table.add_row(*cells, *([_bar(load(row), loads, plain=scene.plain)] if with_bar else []))
    return table


def _status(row: Engine, scene: Scene) -> Text:
    """The coordinator's word for the rank; without a connection nobody can say whether it is silent."""
    word = row.status if scene.connected or row.status == EngineStatus.NEVER else "unknown"
    return Text(word, _STATUS[word])


def _bar(load: int | None, loads: Sequence[int], *, plain: bool) -> Text:
    """`1.8x #####`: against the mean in figures, against the greatest in length."""
    if load is None:
        return Text(f"{render.UNKNOWN:>6}", "dim")
    mean, most = sum(loads) / len(loads), max(loads)
    ratio = f"{load / mean:.1f}x" if mean else render.UNKNOWN
    length = round(load / most * _BAR) if most else 0
    return Text(f"{ratio:>6} {('#' if plain else '█') * length}", no_wrap=True)


def _table() -> Table:
    return Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim", show_edge=False)


def known_waves(scene: Scene) -> list[WaveInfo]:
    """Newest first, those of earlier incarnations of the coordinator last."""
    live = scene.shown
    return [*(live.snapshot.waves if live.snapshot is not None else ()), *live.earlier]


def waves(scene: Scene, now: float, width: int, lines: int) -> tuple[Text, Table | Text]:
    """The newest waves."""
    known = known_waves(scene)
    title = Text("WAVES, newest first", "bold", no_wrap=True)
    if not known:
        return title, Text("no wave has been seen yet", "dim")
    table = _table()
    columns = [column for column in _WAVES if width >= 66 or column.head in _FEW_OF_WAVES]
    for column in columns:
        table.add_column(Text(column.head), justify="left" if column.left else "right", no_wrap=True)
    for wave in known[: max(0, lines - 2)]:
        table.add_row(*(Text(column.cell(_going_on(wave, scene, now))) for column in columns))
    return title, table


def _going_on(wave: WaveInfo, scene: Scene, now: float) -> WaveInfo:
    """An open wave goes on before the viewer's eyes, as long as somebody can say that it does."""
    if wave.duration_s is None or not wave.open or not scene.connected:
        return wave
    return replace(wave, duration_s=wave.duration_s + scene.elapsed(now))


def log(scene: Scene, lines: int) -> tuple[Text, Text]:
    """The newest entries, the newest at the bottom as it is usual in a terminal."""
    title = Text("LOG, newest last", "bold", no_wrap=True)
    entries = scene.shown.log[-(lines - 1) :] if lines > 1 else ()
    if not entries:
        return title, Text("nothing has happened yet", "dim")
    said = Text("\n", no_wrap=True, overflow="ellipsis").join(
        Text.assemble((render.clock(entry.at)[:8], "dim"), f"  {render.clean(entry.text)}") for entry in entries
    )
    said.no_wrap, said.overflow = True, "ellipsis"
    return title, said
