"""The body of the screen: engines, waves, log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from dp_coordinator.cli import render
from dp_coordinator.cli.top.head import stale_after
from dp_coordinator.cli.top.ranks import Row, by, rows
from dp_coordinator.cli.top.scene import Scene
from dp_coordinator.cli.top.sentences import sentence
from dp_coordinator.messages import WaveInfo

_BAR = 10
_GAP = 2
_STATUS = {"STALE": "bold red", "never": "dim", "unknown": "dim", "fresh": "green"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the narrower the terminal, the more of those with a high `rank` are left out."""

    head: str
    width: int
    rank: int
    cell: Callable[[Row], str]


ENGINE_COLUMNS = (
    Column("rank", 5, 0, lambda row: str(row.index)),
    Column("status", 7, 0, lambda row: row.status),
    Column("waiting", 7, 0, lambda row: render.number(row.waiting)),
    Column("running", 7, 0, lambda row: render.number(row.running)),
    Column("kv cache", 8, 2, lambda row: render.share(row.kv_cache_usage)),
    Column("wave", 6, 3, lambda row: render.number(row.wave)),
    Column("step", 8, 4, lambda row: render.number(row.step)),
    Column("last report", 15, 1, lambda row: "never" if row.age is None else f"{render.duration(row.age)} ago"),
    Column("restarts", 8, 5, lambda row: str(row.restarts)),
)
_LOAD = "load, against the mean"


def fitting(width: int) -> list[Column]:
    """The columns that there is room for."""
    chosen = list(ENGINE_COLUMNS)
    while sum(column.width + _GAP for column in chosen) - _GAP > width and any(column.rank for column in chosen):
        chosen.remove(max(chosen, key=lambda column: column.rank))
    return chosen


def engines(scene: Scene, now: float, width: int, lines: int) -> tuple[Text, Table]:
    """A title, and as many ranks as fit below it from the one scrolled to."""
    live, choices = scene.shown, scene.choices
    assert live.snapshot is not None
    unsorted = rows(live.snapshot, scene.elapsed(now), stale_after(live), connected=scene.connected)
    page = by(choices.sort, unsorted)[choices.offset : choices.offset + max(0, lines - 2)]
    first, last = choices.offset + 1, choices.offset + len(page)
    shown = "" if len(page) == len(unsorted) else f" {first} to {last} of {len(unsorted)}"
    title = Text(f"ENGINES{shown}, by {choices.sort}", "bold", no_wrap=True)
    return title, _engine_table(page, unsorted, width, plain=scene.plain)


def _engine_table(page: Sequence[Row], everyone: Sequence[Row], width: int, *, plain: bool) -> Table:
    columns = fitting(width)
    used = sum(column.width + _GAP for column in columns)
    loads = [row.load for row in everyone if row.load is not None]
    with_bar = width - used >= len(_LOAD)
    table = _table()
    for column in columns:
        table.add_column(Text(column.head), justify="left" if column.head == "status" else "right", width=column.width)
    if with_bar:
        table.add_column(Text(_LOAD))
    for row in page:
        cells = [Text(column.cell(row), _STATUS[row.status] if column.head == "status" else "") for column in columns]
        table.add_row(*cells, *([_bar(row.load, loads, plain=plain)] if with_bar else []))
    return table


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
    heads = ["wave", "state", "started by", "asked", "lasted", "peak load"]
    wide = width >= 66
    for head in heads if wide else [*heads[:3], heads[4]]:
        table.add_column(Text(head), justify="left" if head in {"state", "started by"} else "right", no_wrap=True)
    for wave in known[: max(0, lines - 2)]:
        asked = render.clock(wave.asked_at if wave.asked_at is not None else wave.started_at)
        peak = f"{wave.peak_waiting} + {wave.peak_running}"
        cells = [str(wave.number), _wave_state(wave), _cause(wave)]
        lasted = _lasted(scene, wave, now)
        table.add_row(*map(Text, [*cells, asked, lasted, peak] if wide else [*cells, lasted]))
    return title, table


def _wave_state(wave: WaveInfo) -> str:
    return "open" if wave.open else "completed" if wave.completed else "ended"


def _cause(wave: WaveInfo) -> str:
    return wave.cause if wave.cause_engine is None else f"{wave.cause} (rank {wave.cause_engine})"


def _lasted(scene: Scene, wave: WaveInfo, now: float) -> str:
    """An open wave goes on before the viewer's eyes, as long as somebody can say that it does."""
    if wave.duration_s is None or not wave.open:
        return render.duration(wave.duration_s)
    return render.duration(wave.duration_s + (scene.elapsed(now) if scene.connected else 0.0))


def log(scene: Scene, lines: int) -> tuple[Text, Text]:
    """The newest entries, the newest at the bottom as it is usual in a terminal."""
    title = Text("LOG, newest last", "bold", no_wrap=True)
    entries = scene.shown.log[-(lines - 1) :] if lines > 1 else ()
    if not entries:
        return title, Text("nothing has happened yet", "dim")
    said = Text("\n", no_wrap=True, overflow="ellipsis").join(
        Text.assemble((render.clock(entry.at)[:8], "dim"), f"  {sentence(entry)}") for entry in entries
    )
    said.no_wrap, said.overflow = True, "ellipsis"
    return title, said
