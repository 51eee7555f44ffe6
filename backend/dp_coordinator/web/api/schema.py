"""The web layer's types as JSON schema and as TypeScript.

`python -m dp_coordinator.web.api.schema` prints the JSON schema of every REST and stream type;
`--typescript` prints what the page compiles against (frontend/src/types.gen.ts). OpenAPI uses the same components.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
from collections.abc import Iterable
from typing import Any, TypeAlias, TypeGuard

import msgspec

from dp_coordinator import messages

Schema: TypeAlias = dict[str, Any]
"""A JSON schema; the shape is msgspec's, which only JSON bounds."""

REF = "#/components/schemas/"
REST_TYPES: tuple[type, ...] = (
    messages.State,
    messages.Engine,
    messages.EnginePage,
    messages.WavePage,
    messages.EventPage,
    messages.AlarmPage,
    messages.History,
    messages.StateHistory,
    messages.Action,
    messages.StartWave,
    messages.Login,
    messages.Play,
    messages.Session,
    messages.Health,
    messages.Problem,
)
_ALIASES: dict[str, Any] = {
    "PhaseName": messages.PhaseName,
    "EngineStatus": messages.EngineStatus,
    "CauseName": messages.CauseName,
    "ActionStateName": messages.ActionStateName,
    "AlarmKindName": messages.AlarmKindName,
    "SeverityName": messages.SeverityName,
}

_ANY: Schema = {"title": "Any JSON value"}  # msgspec takes an empty schema for a missing one


def _any_value(of: type) -> Schema:
    """Schema of `object`, which stands for any JSON value in event fields."""
    if of is object:
        return dict(_ANY)
    raise NotImplementedError


def components() -> dict[str, Schema]:
    """Name -> JSON schema of every type, in a stable order."""
    wanted = [*REST_TYPES, messages.StreamMessage]
    _, found = msgspec.json.schema_components(wanted, schema_hook=_any_value, ref_template=REF + "{name}")
    for owner, docs in _field_docs().items():
        for field, text in docs.items():
            if owner in found:
                found[owner]["properties"][field] |= {"description": text}
    return dict(sorted(found.items()))


def _field_docs() -> dict[str, dict[str, str]]:
    """Class -> field -> the string that follows the field in messages.py: what a reader of the API needs too."""
    docs: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(messages)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for base in node.bases:
            if isinstance(base, ast.Name):
                docs[node.name] = dict(docs.get(base.id, {}))
        for field, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(after):
                docs.setdefault(node.name, {})[field.target.id] = " ".join(ast.literal_eval(after.value).split())
    return docs


def _is_text(node: ast.stmt) -> TypeGuard[ast.Expr]:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def document() -> Schema:
    """One JSON schema document: a stream frame at the top, every type among the components."""
    members = [{"$ref": f"{REF}{name}"} for name in stream_members()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dp-coordinator: REST and stream messages",
        "anyOf": members,
        "components": {"schemas": components()},
    }


def stream_members() -> list[str]:
    """Names of the types that a WebSocket frame can be."""
    return [
        of.__name__ for of in (messages.Hello, messages.SnapshotMessage, messages.EventMessage, messages.GapMessage)
    ]


def typescript() -> str:
    """The same types as TypeScript declarations."""
    parts = ["// Made by `python -m dp_coordinator.web.api.schema --typescript`; do not edit by hand.\n"]
    for name, of in _ALIASES.items():
        parts.append(f"export type {name} = {_union(of.__args__)};\n")
    for name, schema in components().items():
        parts.append(_interface(name, schema))
    parts.append(f"export type StreamMessage = {' | '.join(stream_members())};\n")
    return "\n".join(parts)


def _interface(name: str, schema: Schema) -> str:
    required = set(schema.get("required", ()))
    lines = [f"/** {' '.join(schema['description'].split())} */"] if "description" in schema else []
    lines.append(f"export interface {name} {{")
    for field, of in schema["properties"].items():
        if "description" in of:
            lines.append(f"  /** {of['description']} */")
        optional = "" if field in required else "?"
        lines.append(f"  {field}{optional}: {_type(of)};")
    lines.append("}\n")
    return "\n".join(lines)


_SCALARS = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def _type(schema: Schema) -> str:
    """The TypeScript for the part of JSON schema that msgspec makes of our types. Raises `ValueError` for another."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REF)
    if "enum" in schema:
        return _literals(schema["enum"])
    if "const" in schema:
        return _literals([schema["const"]])
    if "anyOf" in schema:
        return " | ".join(_type(option) for option in schema["anyOf"])
    if schema in (_ANY, {}):
        return "unknown"
    kind = schema.get("type")
    if kind == "array":
        item = _type(schema["items"])
        return f"({item})[]" if " | " in item else f"{item}[]"
    if kind == "object":
        return f"Record<string, {_type(schema.get('additionalProperties', {}))}>"
    if kind in _SCALARS:
        return _SCALARS[kind]
    raise ValueError(f"no TypeScript for {schema!r}")


def _literals(values: Iterable[str]) -> str:
    names = [name for name, of in _ALIASES.items() if set(of.__args__) == set(values)]
    return names[0] if names else _union(values)


def _union(values: Iterable[str]) -> str:
    return " | ".join(json.dumps(value) for value in values)


def main(arguments: list[str] | None = None) -> int:
    """Print the JSON schema, or TypeScript."""
    parser = argparse.ArgumentParser(prog="python -m dp_coordinator.web.api.schema", description=__doc__)
    parser.add_argument("--typescript", action="store_true", help="print TypeScript instead of JSON schema")
    wants = parser.parse_args(arguments)
    sys.stdout.write(typescript() if wants.typescript else json.dumps(document(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
