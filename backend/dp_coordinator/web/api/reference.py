"""`/docs`: the OpenAPI description as a page that needs nothing from elsewhere, and `/problems/{kind}`."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from dp_coordinator.web.problems import KINDS, ProblemError

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
html{color-scheme:light dark}
code{font-family:ui-monospace,monospace}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #8884}
h3{margin-top:2rem}
"""


def router() -> APIRouter:
    """The routes of the reference; they are no part of the API that they describe."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/docs")
    async def docs(request: Request) -> Response:
        return HTMLResponse(page(request.app.openapi()))

    @routes.get("/docs.css")
    async def style() -> Response:
        return Response(_STYLE, media_type="text/css")

    @routes.get("/problems/{kind}")
    async def problem(kind: str) -> Response:
        if kind not in KINDS:
            raise ProblemError("not-found", f"no such kind of problem; there are {', '.join(sorted(KINDS))}")
        status, title = KINDS[kind]
        return PlainTextResponse(f"{kind}\n\n{title} (HTTP status {status}).\nThe `detail` of each one says more.\n")

    return routes


def page(described: dict[str, Any]) -> str:
    """HTML for an OpenAPI document: every route, then every type."""
    info = described["info"]
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="docs.css">',
            f"<title>{escape(info['title'])} API</title></head><body>",
            f"<h1>{escape(info['title'])} API</h1><p>{escape(info.get('description', ''))}</p>",
            f'<p>Version {escape(info["version"])}. For programs: <a href="openapi.json">openapi.json</a>.</p>',
            "<h2>Routes</h2>",
            *(_route(path, verb, told) for path, verbs in described["paths"].items() for verb, told in verbs.items()),
            "<h2>Types</h2>",
            *(_schema(name, schema) for name, schema in described["components"]["schemas"].items()),
            "</body></html>",
        )
    )


def _route(path: str, verb: str, told: dict[str, Any]) -> str:
    rows = [
        (f"{given['name']} ({given['in']})", _type(given.get("schema", {})), given.get("description", ""))
        for given in told.get("parameters", ())
    ]
    rows += [("body", _content(told["requestBody"]), "")] if "requestBody" in told else []
    rows += [(status, _content(answer), answer["description"]) for status, answer in told["responses"].items()]
    return f"<h3><code>{verb.upper()} {escape(path)}</code></h3>{_table(rows)}"


def _schema(name: str, schema: dict[str, Any]) -> str:
    fields = schema.get("properties", {}).items()
    rows = [(field, _type(of), of.get("description", "")) for field, of in fields]
    said = escape(schema.get("description", ""))
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{said}</p>{_table(rows)}'


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = (f"<code>{escape(name)}</code></td><td>{of}</td><td>{escape(said)}" for name, of, said in rows)
    return f"<table>{''.join(f'<tr><td>{row}</td></tr>' for row in cells)}</table>"


def _content(told: dict[str, Any]) -> str:
    return ", ".join(f"{_type(of.get('schema', {}))} as {escape(kind)}" for kind, of in told.get("content", {}).items())


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(escape(repr(value)) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    bounds = [f"{word} {schema[bound]}" for bound, word in _BOUNDS.items() if bound in schema]
    return escape(schema.get("type", "any") + (f" ({', '.join(bounds)})" if bounds else ""))


_BOUNDS = {"minimum": "at least", "maximum": "at most"}
