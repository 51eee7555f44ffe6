from __future__ import annotations

import re
from pathlib import Path

from dp_coordinator.options import AlarmOptions
from dp_coordinator.settings import settings_of
from dp_coordinator.words import AlarmKind

OPERATING = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
SECTION = OPERATING.partition("## Alarms")[2].partition("\n## ")[0]


def test_every_alarm_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", SECTION, re.MULTILINE)
    assert rows == [kind.value for kind in AlarmKind]


def test_every_threshold_is_told_with_its_default() -> None:
    for setting in settings_of(AlarmOptions):
        (flag,) = (flag.flag for flag in setting.flags)
        told = re.search(rf"for ([\d.]+) s \(`{flag}`\)|after ([\d.]+) s .*\(`{flag}`\)", SECTION)
        assert told is not None, flag
        assert float(told[1] or told[2]) == setting.default
