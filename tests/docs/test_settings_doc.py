from __future__ import annotations

from tests.docs.settings_page import PAGE, page


def test_the_page_tells_every_setting_as_it_is() -> None:
    assert PAGE.read_text() == page(), "run `make settings`"
