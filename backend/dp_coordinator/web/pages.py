"""The built page, from memory: no file is opened for a request, so no path can lead elsewhere."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import Response

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_COMPRESSED = frozenset({".html", ".js", ".css", ".json", ".map", ".svg", ".txt", ".webmanifest"})
_FILE_AT_MOST = 8 * 1024 * 1024
_HASHED = "public, max-age=31536000, immutable"
FIRST = (
    b"if(!/\\/(index\\.html)?$/.test(location.pathname))"
    b'history.replaceState(null,"",location.pathname+"/"+location.search+location.hash)'
)
"""What the page does before it asks for anything: it takes `/b` for `/b/`. Many a proxy answers so without sending the
browser on, and there all relative addresses lead to the deployment at `/`; so this is no file of its own, either."""
FIRST_HASH = f"'sha256-{base64.b64encode(hashlib.sha256(FIRST).digest()).decode()}'"
"""By which the browser may run it (Content-Security-Policy)."""
_NOT_BUILT = """The coordinator runs, but its page was not built.

From a checkout of dp-coordinator:

    make setup                                 sets up everything, the page included
    cd frontend && npm ci && npm run build     builds the page alone

Then load this page again. REST works without it: /api/v1/state, /docs, /metrics.
"""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    compressed: bytes | None
    kind: str
    etag: str
    cache: str


class Pages:
    """The files of the static folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = self._read()

    def find(self, path: str, headers: Headers) -> Response | None:
        """The response for a path such as `/` or `/assets/index-1a2b.js`; None when there is no such file."""
        name = path.lstrip("/") or "index.html"
        if not self._files and name == "index.html":
            self._files = self._read()  # built meanwhile
        file = self._files.get(name)
        if file is not None:
            return _respond(file, headers)
        return Response(_NOT_BUILT, 503, media_type="text/plain") if path == "/" else None

    def _read(self) -> dict[str, _File]:
        if not (self._folder / "index.html").is_file():
            return {}
        files = (path for path in self._folder.rglob("*") if path.is_file() and path.stat().st_size <= _FILE_AT_MOST)
        return {path.relative_to(self._folder).as_posix(): _load(path) for path in files if path.name[0] != "."}


def _load(path: Path) -> _File:
    body = path.read_bytes()
    if path.name == "index.html":
        body = body.replace(b"<head>", b"<head><script>" + FIRST + b"</script>", 1)
    compressed = gzip.compress(body, mtime=0) if path.suffix in _COMPRESSED and len(body) > 1024 else None
    return _File(
        body=body,
        compressed=compressed,
        kind=_TYPES.get(path.suffix, "application/octet-stream"),
        etag=f'"{hashlib.sha256(body).hexdigest()[:20]}"',
        cache=_HASHED if path.parent.name == "assets" else "no-cache",
    )


def _respond(file: _File, headers: Headers) -> Response:
    told = {"ETag": file.etag, "Cache-Control": file.cache, "Vary": "Accept-Encoding"}
    if file.etag in headers.get("if-none-match", ""):
        return Response(status_code=304, headers=told)
    accepted = {part.partition(";")[0].strip() for part in headers.get("accept-encoding", "").split(",")}
    if file.compressed is not None and "gzip" in accepted:
        return Response(file.compressed, headers=told | {"Content-Encoding": "gzip"}, media_type=file.kind)
    return Response(file.body, headers=told, media_type=file.kind)
