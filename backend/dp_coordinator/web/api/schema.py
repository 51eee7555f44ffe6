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
from typing import Any, TypeAlias, get_args

import msgspec

from dp_coordinator import (
    messages,
    messages_changes,
    messages_events,
    messages_loads,
    messages_peers,
    messages_process,
    messages_sources,
    messages_told,
    requests,
)

Schema: TypeAlias = dict[str, Any]
"""A JSON schema; the shape is msgspec's, which only JSON bounds."""

PARTS = (
    messages_changes,
    messages_events,
    messages_loads,
    messages_peers,
    messages_process,
    messages_sources,
    messages_told,
    messages,
    requests,
)
"""Where types are declared, each after those that its own are derived from."""
REF = "#/components/schemas/"
_ANY: Schema = {"title": "Any JSON value"}  # msgspec takes an empty schema for a missing one


def _any_value(of: type) -> Schema:
    """Schema of `object`, which stands for any JSON value in event fields."""
    if of is object:
        return dict(_ANY)
    raise NotImplementedError


def components() -> dict[str, Schema]:
    """Name -> JSON schema of every type, in a stable order."""
    declared = {name: of for part in PARTS for name, of in vars(part).items()}.values()
    of_ours = (of for of in declared if isinstance(of, type) and issubclass(of, msgspec.Struct))
    wanted = [of for of in of_ours if not of.__subclasses__()]  # others are found where they are referred to
    _, found = msgspec.json.schema_components(wanted, schema_hook=_any_value, ref_template=REF + "{name}")
    for owner, docs in _field_docs().items():
        for field, text in docs.items():
            if owner in found:
                found[owner]["properties"][field] |= {"description": text}
    return dict(sorted(found.items()))


def _field_docs() -> dict[str, dict[str, str]]:
    """Class -> field -> the string that follows the field where it is declared: what a reader of the API needs too."""
    docs: dict[str, dict[str, str]] = {}
    for node in ast.parse("".join(inspect.getsource(part) for part in PARTS)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        own = docs.setdefault(node.name, {})
        for base in node.bases:
            own |= docs.get(ast.unparse(base), {})
        for pair in zip(node.body, node.body[1:], strict=False):
            match pair:
                case ast.AnnAssign(target=ast.Name(id=field)), ast.Expr(value=ast.Constant(value=str(text))):
                    own[field] = " ".join(text.split())
    return docs


def document() -> Schema:
    """One JSON schema document: a stream frame at the top, every type among the components."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "dp-coordinator: REST and stream messages",
        "anyOf": [{"$ref": f"{REF}{name}"} for name in stream_members()],
        "components": {"schemas": components()},
    }


def stream_members() -> list[str]:
    """Names of the types that a WebSocket frame can be."""
    return [of.__name__ for of in get_args(messages.StreamMessage)]


def typescript() -> str:
    """The same for the page: a function for each type that checks whether something is of it, and the type."""
    described = components()
    declared = [_declared(name, described[name]) for name in _in_order(described, described)]
    last = f"export type StreamMessage = {' | '.join(stream_members())};\n"
    return "\n".join([_HEAD, f"export const PROTOCOL = {messages.PROTOCOL};\n", *declared, last])


_HEAD = """\
// Made by `python -m dp_coordinator.web.api.schema --typescript`; do not edit by hand.
import { anything, dictionary, list, nullable, num, type Of, object, oneOf, optional, text, truth } from "./checks";
"""


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
    match schema:
        case {"$ref": ref}:
            return "is" + str(ref).removeprefix(REF)
        case {"enum": values}:
            return f"oneOf({', '.join(map(json.dumps, values))})"
        case {"anyOf": [option, {"type": "null"}]} | {"anyOf": [{"type": "null"}, option]}:
            return f"nullable({_check(option)})"
        case {"properties": _}:
            return _object(schema)
        case {"type": "array", "items": items}:
            return f"list({_check(items)})"
        case {"type": "object", "additionalProperties": values}:
            return f"dictionary({_check(values)})"
        case {"type": "string" | "integer" | "number" | "boolean" as scalar}:
            return _SCALARS[scalar]
        case _ if schema == _ANY:
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
