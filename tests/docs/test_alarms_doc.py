from __future__ import annotations

import re
from pathlib import Path

from dp_coordinator.alarms.kinds import AlarmKind
from dp_coordinator.cli.commands import SERVE_SETTINGS

OPERATING = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
SECTION = OPERATING.partition("## Alarms")[2].partition("\n## ")[0]


def test_every_alarm_has_its_row():
    rows = re.findall(r"^\| `(\w+)` \|", SECTION, re.MULTILINE)
    assert rows == [kind.value for kind in AlarmKind]


def test_every_threshold_is_told_with_its_default():
    for setting in SERVE_SETTINGS:
        if setting.flag.startswith("--alarm-"):
            told = re.search(rf"for ([\d.]+) s \(`{setting.flag}`\)|after ([\d.]+) s .*\(`{setting.flag}`\)", SECTION)
            assert told is not None, setting.flag
            assert float(told[1] or told[2]) == setting.default
