"""Finding source distributions on an index, with pip's settings."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from shim.errors import InputError, ToolError
from shim.process import Completed
from shim.scan import index
from shim.scan.index import choose, fetch_sdist, pip_settings
from shim.scan.index_page import IndexFile, parse_page

PAGE = "http://index.test/simple/demo/"
CONTENT = b"an sdist"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def file(name: str, *, requires: str = "", yanked: bool = False) -> IndexFile:
    return IndexFile(name=name, url=f"{PAGE}{name}", sha256="", requires_python=requires, yanked=yanked)


class TestPages:
    def test_html(self):
        page = b"""<a href="../../files/demo-1.0.tar.gz#sha256=ab12" data-requires-python="&gt;=3.9">x</a>
        <a href="https://other.test/demo%2B1.zip" data-yanked="broken">y</a><a name="z">z</a>"""
        assert parse_page(PAGE, page, "text/html; charset=utf-8") == (
            IndexFile(
                name="demo-1.0.tar.gz",
                url="http://index.test/files/demo-1.0.tar.gz",
                sha256="ab12",
                requires_python=">=3.9",
                yanked=False,
            ),
            IndexFile(
                name="demo+1.zip", url="https://other.test/demo%2B1.zip", sha256="", requires_python="", yanked=True
            ),
        )

    def test_json(self):
        entry = {"filename": "demo-1.0.tar.gz", "url": "f/demo-1.0.tar.gz", "hashes": {"sha256": "ab"}, "yanked": False}
        (found,) = parse_page(PAGE, json.dumps({"files": [entry]}).encode(), "application/vnd.pypi.simple.v1+json")
        assert (found.url, found.sha256, found.requires_python) == (f"{PAGE}f/demo-1.0.tar.gz", "ab", "")

    @pytest.mark.parametrize("content", [b"{}", b"[]", b'{"files": [1]}', b"nonsense"])
    def test_other_json(self, content):
        with pytest.raises(ToolError, match="expected a page of a package index"):
            parse_page(PAGE, content, "application/json")


class TestChoice:
    FILES = (
        file("demo-1.0.tar.gz"),
        file("demo-1.2.tar.gz"),
        file("demo-1.10.zip"),
        file("demo-2.0rc1.tar.gz"),
        file("demo-3.0.tar.gz", requires=">=3.99"),
        file("demo-4.0.tar.gz", yanked=True),
        file("demo-1.11-py3-none-any.whl"),
        file("demo_extra-9.0.tar.gz"),
        file("junk.tar.gz"),
    )

    @pytest.mark.parametrize(
        ("text", "name"),
        [
            ("demo", "demo-1.10.zip"),
            ("Demo<1.10", "demo-1.2.tar.gz"),
            ("demo==1.0", "demo-1.0.tar.gz"),
            ("demo>=2.0rc1", "demo-2.0rc1.tar.gz"),
            ("demo==7", None),
        ],
    )
    def test_newest_that_fits(self, text, name):
        chosen = choose(self.FILES, Requirement(text), python="3.12")
        assert (chosen.name if chosen else None) == name


class TestSettings:
    def answer(self, monkeypatch, config: str, usage: str = "") -> dict[str, str]:
        def run(argv):
            text = config if argv[-1] == "list" else usage
            return Completed(
                argv=tuple(argv), returncode=0, stdout=text, stderr="", seconds=0, cpu_seconds=0, max_rss=0
            )

        monkeypatch.setattr(index, "run", run)
        return dict(pip_settings(["pip"]))

    def test_precedence(self, monkeypatch):
        config = (
            ":env:.index-url='http://env/'\nglobal.index-url='http://global/'\ndownload.cert='/d.pem'\n"
            "global.cert='/g.pem'\ninstall.index-url='http://install/'\nglobal.find-links='/a\\n/b'\n"
        )
        assert self.answer(monkeypatch, config) == {
            "index-url": "http://env/",
            "cert": "/d.pem",
            "find-links": "/a\n/b",
        }

    def test_the_default_is_pips_own(self, monkeypatch):
        usage = "  -i, --index-url <url>       Base URL of the index (default\n       http://default.test/simple). More"
        assert self.answer(monkeypatch, "", usage) == {"index-url": "http://default.test/simple"}

    def test_no_index(self, monkeypatch):
        assert self.answer(monkeypatch, "global.no-index='true'\n") == {"no-index": "true"}

    def test_pip_that_does_not_say(self, monkeypatch):
        with pytest.raises(ToolError, match="does not say which index"):
            self.answer(monkeypatch, "", "other help")


class _Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        if self.path == "/simple/demo/":
            self._send(b'<a href="/files/demo-1.0.tar.gz#sha256=%s">x</a>' % self.server.digest.encode())
        elif self.path == "/files/demo-1.0.tar.gz":
            self._send(CONTENT)
        elif self.path == "/simple/broken/":
            self.send_error(503)
        else:
            self.send_error(404)

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Index)
    server.asked, server.digest = [], DIGEST
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestFetching:
    def fetch(self, monkeypatch, folder: Path, text: str, **settings: str) -> Path | None:
        monkeypatch.setattr(
            index, "pip_settings", lambda pip: {key.replace("_", "-"): v for key, v in settings.items()}
        )
        return fetch_sdist(Requirement(text), python="3.12", folder=folder)

    def test_over_http(self, monkeypatch, tmp_path, server):
        url = f"http://user:p%40ss@127.0.0.1:{server.server_port}/simple/"
        path = self.fetch(monkeypatch, tmp_path, "Demo", index_url=url)
        assert (path.name, path.read_bytes()) == ("demo-1.0.tar.gz", CONTENT)
        assert server.asked[0] == ("/simple/demo/", "Basic dXNlcjpwQHNz")

    def test_not_there(self, monkeypatch, tmp_path, server):
        url = f"http://127.0.0.1:{server.server_port}/simple"
        assert self.fetch(monkeypatch, tmp_path, "absent", index_url=url) is None

    def test_a_changed_file(self, monkeypatch, tmp_path, server):
        server.digest = "0" * 64
        url = f"http://user:secret@127.0.0.1:{server.server_port}/simple"
        with pytest.raises(InputError, match="SHA-256: expected 0000"):
            self.fetch(monkeypatch, tmp_path, "demo", index_url=url)

    def test_an_index_in_trouble(self, monkeypatch, tmp_path, server):
        url = f"http://user:secret@127.0.0.1:{server.server_port}/simple"
        with pytest.raises(ToolError, match=r"the index answered 503") as caught:
            self.fetch(monkeypatch, tmp_path, "broken", index_url=url)
        assert "secret" not in caught.value.message

    def test_no_answer(self, monkeypatch, tmp_path, server):
        server.shutdown()
        server.server_close()
        with pytest.raises(ToolError, match="no answer"):
            self.fetch(monkeypatch, tmp_path, "demo", index_url=f"http://127.0.0.1:{server.server_port}/simple")

    def test_folders(self, monkeypatch, tmp_path):
        links, local, out = (tmp_path / name for name in ("links", "local", "out"))
        for folder in (links, local / "demo", out):
            folder.mkdir(parents=True)
        (links / "demo-1.0.tar.gz").write_bytes(b"old")
        (local / "demo" / "demo-1.5.tar.gz").write_bytes(b"new")
        settings = {"find_links": str(links), "extra_index_url": f"{local.as_uri()} {tmp_path.as_uri()}/nowhere"}
        path = self.fetch(monkeypatch, out, "demo", **settings)
        assert (path.name, path.read_bytes()) == ("demo-1.5.tar.gz", b"new")

    def test_an_index_page_on_disk(self, monkeypatch, tmp_path):
        (tmp_path / "demo").mkdir()
        (tmp_path / "demo" / "demo-1.0.zip").write_bytes(CONTENT)
        (tmp_path / "demo" / "index.html").write_text(f'<a href="demo-1.0.zip#sha256={DIGEST}">x</a>')
        path = self.fetch(monkeypatch, tmp_path, "demo", index_url=tmp_path.as_uri())
        assert path.read_bytes() == CONTENT

    def test_other_addresses(self, monkeypatch, tmp_path):
        with pytest.raises(ToolError, match="expected an http or https address"):
            self.fetch(monkeypatch, tmp_path, "demo", index_url="ftp://x/simple")
