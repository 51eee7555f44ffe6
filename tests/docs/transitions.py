"""The transition table of docs/protocol.md, made from core/waves.py. Run as a module to write it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from dp_coordinator.core.dialect import Dialect
from dp_coordinator.core.events import WaveMessage as Message
from dp_coordinator.core.waves import Outcome, Relation, rules

PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
BEGIN, END = "<!-- transitions: begin", "<!-- transitions: end -->"
Rules = dict[tuple[Message, Relation, bool], Outcome]
GENERATIONS = {"through 0.28": "0.28", "0.29 to 0.32": "0.32", "from 0.33 on": "0.33"}
COMPARED = {Relation.BEHIND: "w < current", Relation.EQUAL: "w = current", Relation.AHEAD: "w > current"}


def table() -> str:
    """Engines' messages mean the same in every generation; front-ends' notices do not."""
    tables = {title: rules(Dialect.for_version(version)) for title, version in GENERATIONS.items()}
    engine_messages = _rows([Message.WAVE_COMPLETE, Message.START_WAVE], {"what happens": tables["from 0.33 on"]})
    return engine_messages + "\n\n" + _rows([Message.NEW_REQUEST], tables)


def _rows(messages: list[Message], columns: dict[str, Rules]) -> str:
    lines = ["| message | its wave | engines | " + " | ".join(columns) + " |", "|---" * (3 + len(columns)) + "|"]
    for message, relation, running in product(messages, Relation, (False, True)):
        outcomes = " | ".join(rules_[message, relation, running].value for rules_ in columns.values())
        state = "running" if running else "paused"
        lines.append(f"| {message.value} | {COMPARED[relation]} | {state} | {outcomes} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """The document with the table as it should be."""
    head, rest = text.split(BEGIN)
    marker, rest = rest.split("\n", 1)
    return f"{head}{BEGIN}{marker}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PROTOCOL.write_text(with_table(PROTOCOL.read_text()))
