"""The web layer's types as JSON schema and as TypeScript.

`python -m dp_coordinator.web.api.schema` prints the JSON schema of every REST and stream type, which OpenAPI uses, too;
`--typescript` prints the page's types and how it checks that a message is of one (frontend/src/types.gen.ts).
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Mapping
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
    """The same for the page: a function for each type that checks whether something is of it, and the type."""
    described = components()
    parts = ["// Made by `python -m dp_coordinator.web.api.schema --typescript`; do not edit by hand."]
    parts.append(f'import {{ {", ".join(_IMPORTED)} }} from "./checks";\n')
    parts.append(f"export const PROTOCOL = {messages.PROTOCOL};\n")
    parts += [_declared(name, described[name]) for name in _in_order(described, described)]
    parts.append(f"export type StreamMessage = {' | '.join(stream_members())};\n")
    return "\n".join(parts)


_IMPORTED = (
    "anything",
    "dictionary",
    "list",
    "nullable",
    "num",
    "type Of",
    "object",
    "oneOf",
    "optional",
    "text",
    "truth",
)


def _in_order(described: Mapping[str, Schema], names: Iterable[str]) -> list[str]:
    """The names, each after those that it refers to."""
    found: dict[str, None] = {}
    for name in names:
        referred = re.findall(rf"{REF}(\w+)", json.dumps(described[name]))
        found |= dict.fromkeys([*_in_order(described, referred), name])
    return list(found)


def _declared(name: str, schema: Schema) -> str:
    made = [f"/** {' '.join(schema['description'].split())} */"] if "description" in schema else []
    of = f"Of<typeof is{name}>"
    declared = f"type {name} = {of};\n" if "enum" in schema else f"interface {name} extends {of} {{}}\n"
    made += [f"export const is{name} = {_check(schema)};", f"export {declared}"]
    return "\n".join(made)


_SCALARS = {"string": "text", "integer": "num", "number": "num", "boolean": "truth"}


def _check(schema: Schema) -> str:
    """The check for the part of JSON schema that msgspec makes of our types. Raises `ValueError` for another."""
    kind = schema.get("type")
    if "$ref" in schema:
        return "is" + str(schema["$ref"]).removeprefix(REF)
    if "enum" in schema:
        return f"oneOf({', '.join(json.dumps(value) for value in schema['enum'])})"
    if "anyOf" in schema:
        [option] = [option for option in schema["anyOf"] if option != {"type": "null"}]
        return f"nullable({_check(option)})"
    if "properties" in schema:
        return _object(schema)
    if kind == "array":
        return f"list({_check(schema['items'])})"
    if kind == "object":
        return f"dictionary({_check(schema['additionalProperties'])})"
    if kind in _SCALARS:
        return _SCALARS[kind]
    if schema == _ANY:
        return "anything"
    raise ValueError(f"no TypeScript for {schema!r}")


def _object(schema: Schema) -> str:
    lines = ["object({"]
    for field, of in schema["properties"].items():
        if "description" in of:
            lines.append(f"  /** {of['description']} */")
        required = field in schema.get("required", ())
        lines.append(f"  {field}: {_check(of) if required else f'optional({_check(of)})'},")
    return "\n".join([*lines, "})"])


def main(arguments: list[str] | None = None) -> int:
    """Print the JSON schema, or TypeScript."""
    parser = argparse.ArgumentParser(prog="python -m dp_coordinator.web.api.schema", description=__doc__)
    parser.add_argument("--typescript", action="store_true", help="print TypeScript instead of JSON schema")
    wants = parser.parse_args(arguments)
    sys.stdout.write(typescript() if wants.typescript else json.dumps(document(), indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
