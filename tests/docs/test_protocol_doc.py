"""The document says what the code does."""

from __future__ import annotations

from tests.docs.transitions import PROTOCOL, with_table


def test_the_transition_table_is_current() -> None:
    text = PROTOCOL.read_text()
    assert with_table(text) == text, "run `python -m tests.docs.transitions`"
