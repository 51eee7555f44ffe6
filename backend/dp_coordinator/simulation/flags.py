"""The help of each option: the docstring under its field."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any


def descriptions(options: type[Any]) -> dict[str, str]:
    """Read the docstring under each field of a class, as one line."""
    body = ast.parse(textwrap.dedent(inspect.getsource(options))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(doc))):
                found[name] = " ".join(doc.split())
    return found
