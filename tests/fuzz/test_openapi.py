"""REST as openapi.json describes it, asked in every way that the description allows and in many that it does not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dp_coordinator.web.app import create_app
from dp_coordinator.web.settings import WebSettings
from tests.fuzz.effort import EXAMPLES_VARIABLE, effort
from tests.web.rig import Site, fresh_mailbox, site

EXAMPLES = int(os.environ.get(EXAMPLES_VARIABLE, "6"))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_DESCRIBED = schemathesis.openapi.from_dict(create_app(fresh_mailbox()[0], WebSettings()).openapi())
OPERATIONS = {found.ok().label: found.ok() for found in _DESCRIBED.get_all_operations() if isinstance(found, Ok)}


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    with site(starts_per_s=1e6, start_burst=10**6) as made:
        made.loop.subscribe_all()
        yield made


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["described", "not"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation(running: Site, operation: str, mode: GenerationMode) -> None:
    cases: Any = OPERATIONS[operation].as_strategy(generation_mode=mode)

    @effort(EXAMPLES)
    @given(case=cases)
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=f"http://127.0.0.1:{running.port}", checks=CHECKS)

    with contextlib.suppress(Unsatisfiable):  # what takes no parameters cannot be asked wrongly
        ask()
