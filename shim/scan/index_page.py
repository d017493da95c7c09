"""Reads a project page of a package index: HTML (PEP 503) or JSON (PEP 691)."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser

from shim.errors import ToolError


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file as a page of an index lists it."""

    name: str
    url: str
    sha256: str
    requires_python: str
    yanked: bool


def parse_page(url: str, content: bytes, content_type: str) -> tuple[IndexFile, ...]:
    """The files that one project page of an index lists.

    Raises:
        ToolError: the page is not what its type says.
    """
    if "json" in content_type:
        try:
            return tuple(_from_json(url, entry) for entry in json.loads(content)["files"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ToolError(f"{url}: expected a page of a package index, found other JSON") from error
    page = _Anchors()
    page.feed(content.decode("utf-8", "replace"))
    return tuple(_from_anchor(url, anchor) for anchor in page.found)


def _from_json(base: str, entry: Mapping[str, object]) -> IndexFile:
    hashes = entry.get("hashes")
    return IndexFile(
        name=str(entry["filename"]),
        url=urllib.parse.urljoin(base, str(entry["url"])),
        sha256=str(hashes.get("sha256", "")) if isinstance(hashes, dict) else "",
        requires_python=str(entry.get("requires-python") or ""),
        yanked=bool(entry.get("yanked")),
    )


def _from_anchor(base: str, anchor: Mapping[str, str]) -> IndexFile:
    url, fragment = urllib.parse.urldefrag(urllib.parse.urljoin(base, anchor["href"]))
    return IndexFile(
        name=urllib.parse.unquote(urllib.parse.urlsplit(url).path.rpartition("/")[2]),
        url=url,
        sha256=fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else "",
        requires_python=anchor.get("data-requires-python", ""),
        yanked="data-yanked" in anchor,
    )


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "a" and "href" in attributes:
            self.found.append(attributes)
