from __future__ import annotations

import gzip
from pathlib import Path

import httpx
import pytest

from tests.web.rig import site

SCRIPT = "console.log('x');\n" * 200


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    (folder / "assets" / "index-1a2b3c.js").write_text(SCRIPT)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / ".hidden").write_text("secret")
    (tmp_path / "outside.txt").write_text("secret")
    return folder


def test_the_page_and_its_files(built: Path) -> None:
    with site(static_dir=built) as running:
        index = running.get("/")
        assert index.headers["content-type"] == "text/html; charset=utf-8"
        assert index.headers["cache-control"] == "no-cache"
        assert "<title>page</title>" in index.text
        script = running.get("/assets/index-1a2b3c.js")
        assert script.headers["content-type"].startswith("text/javascript")
        assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert running.get("/favicon.svg").headers["content-type"] == "image/svg+xml"
        again = running.get("/", headers={"if-none-match": index.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_text_is_compressed_for_those_who_take_it(built: Path) -> None:
    with site(static_dir=built) as running:
        with running.http.stream(
            "GET", "/assets/index-1a2b3c.js", headers={"accept-encoding": "br, gzip;q=0.5"}
        ) as told:
            raw = b"".join(told.iter_raw())
            assert told.headers["content-encoding"] == "gzip"
            assert gzip.decompress(raw).decode() == SCRIPT
        plain = running.get("/assets/index-1a2b3c.js", headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.text == SCRIPT


@pytest.mark.parametrize(
    "path", ["/../outside.txt", "/assets/../../outside.txt", "/%2e%2e/outside.txt", "/.hidden", "/assets", "/assets/"]
)
def test_nothing_else_is_served(built: Path, path: str) -> None:
    with site(static_dir=built) as running:
        raw = httpx.URL(f"http://127.0.0.1:{running.port}").copy_with(raw_path=path.encode())
        assert running.http.get(raw).status_code == 404


def test_a_page_that_was_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    with site(static_dir=tmp_path / "static") as running:
        missing = running.get("/")
        assert missing.status_code == 503
        assert missing.headers["content-type"].startswith("text/plain")
        for way in ("make setup", "npm run build"):
            assert way in missing.text
        assert running.get("/favicon.svg").status_code == 404
        (tmp_path / "static").mkdir()
        (tmp_path / "static" / "index.html").write_text("built")
        assert running.get("/").text == "built"
