"""`dp-coordinator replay` and `view`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dp_coordinator.cli import render
from dp_coordinator.cli.options import RecordingOptions, ReplayOptions, ViewOptions
from dp_coordinator.cli.settings import USAGE_ERROR
from dp_coordinator.recorder.chunks import SUFFIX
from dp_coordinator.recorder.reader import Source
from dp_coordinator.recorder.replay import Difference, Summary
from dp_coordinator.recorder.replay import replay as run_again
from dp_coordinator.recorder.timeline import Timeline
from dp_coordinator.settings import SettingsError

DIFFERENT = 1


def replay(options: ReplayOptions) -> int:
    """Run the core over the files again; tell what was replayed, and the first difference."""
    files = opened(options)
    summary = run_again(files)
    if options.json:
        told = {**asdict(summary), "effects": dict(summary.effects)}
        print(json.dumps({"files": [file.name for file in files], **told}))
    else:
        print("\n".join(map(render.clean, _lines(files, summary))))
    for ending in summary.endings:
        if ending.problem is not None:
            sys.stdout.flush()
            _tell(f"dp-coordinator replay: {ending.file}: {ending.problem}; replayed up to there.")
    if summary.difference is not None:
        return DIFFERENT
    return USAGE_ERROR if any(ending.damaged for ending in summary.endings) else 0


def opened(options: RecordingOptions) -> list[Source]:
    """The files, and those in folders by name, which is by time. Raises `SettingsError` when one cannot be used."""
    files: list[Path] = []
    for path in map(Path, options.file):
        found = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not found:
            raise SettingsError(f"there is no recording in {str(path)!r}: their names end in {SUFFIX}")
        files += found
    return [Source(str(file), any_version=options.any_version) for file in files]


def _lines(files: Sequence[Source], summary: Summary) -> list[str]:
    header = files[0].header
    made = f"recorded by {header.get('version')}, vLLM {header.get('dialect')}, {header.get('engine_count')} engines"
    effects = ", ".join(f"{count} {name}" for name, count in sorted(summary.effects.items())) or "none"
    lines = [
        f"files     {len(files)}, {made}",
        f"span      {render.clock(summary.first_at)} to {render.clock(summary.last_at)}"
        f" ({render.duration(summary.span_s)})",
        f"inputs    {summary.inputs}, with {summary.reports} reports of load",
        f"waves     {summary.waves} completed",
        f"effects   {effects}",
    ]
    if summary.gaps:
        lines.append(
            f"gaps      {summary.gaps}: inputs are missing there, and the core began anew with the state after"
        )
    return [*lines, "", *_outcome(summary.difference)]


def _outcome(difference: Difference | None) -> list[str]:
    if difference is None:
        return ["no difference: the core did again what it did then, byte for byte"]
    return [
        "DIFFERENT from here on:",
        f"  where     input {difference.index} at {render.clock(difference.at)}, "
        f"{difference.place.file}, chunk at byte {difference.place.offset}",
        f"  input     {difference.input}",
        f"  expected  {difference.expected}",
        f"  got       {difference.got}",
    ]


def _tell(sentence: str) -> None:
    print(render.clean(sentence), file=sys.stderr)


def view(options: ViewOptions) -> int:
    """Show the page on a recording until SIGINT or SIGTERM."""
    # Imported here: replay needs no web server.
    from dp_coordinator.listening import url_of  # noqa: PLC0415
    from dp_coordinator.process.listener import listen, web_settings  # noqa: PLC0415
    from dp_coordinator.viewing import RecordingPlayer, show  # noqa: PLC0415

    files = opened(options)
    timeline = Timeline(files)
    for ending in timeline.endings:
        if ending.problem is not None:
            _tell(f"dp-coordinator view: {ending.file}: {ending.problem}; shown up to there.")
    with listen(options.http) as listener:
        settings = web_settings(options, listener)
        name = ", ".join(Path(file.name).name for file in files[:2]) + (" ..." if len(files) > 2 else "")
        player = RecordingPlayer(timeline, name, files[0].header, speed=options.speed)
        print(render.clean(f"recording of {render.duration(player.position().duration_s)}: {name}"))
        print(f"dashboard: {url_of(listener)}", flush=True)
        show(player, settings, listener)
    return 0
