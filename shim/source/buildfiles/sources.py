"""CUDA sources of a tree: those that a build lists and the tree lacks, and includes of headers that CUDA 13 lacks."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from shim.errors import InputError
from shim.source.buildfiles.model import ListedSource, MissingSource, RemovedHeader
from shim.source.buildfiles.spans import Text
from shim.source.headers import REMOVED
from shim.source.tree import SourceTree

_INCLUDE: Final = re.compile(rb"^[ \t]*#[ \t]*include[ \t]*(?P<open>[<\"])(?P<name>[^>\"\n]{1,200})[>\"]", re.MULTILINE)
_LARGEST: Final = 2 << 20
_TOOLKIT: Final = re.compile(r"^(cub|thrust|cuda|torch|ATen|c10|cutlass|cute|cooperative_groups|nv|THC)/")


def missing_sources(listed: Iterable[ListedSource], names: Collection[str]) -> Iterator[MissingSource]:
    """Listed files that are neither where the build file says nor anywhere else under that name."""
    for source in listed:
        if source.reached is False:
            continue
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source.path), source.text))
        known = file in names or any(name.endswith(f"/{source.text.lstrip('./')}") for name in names)
        if not known and not file.startswith(".."):
            yield MissingSource(**_fields(source), file=file)


def read_includes(
    tree: SourceTree, sources: Iterable[str], names: Collection[str]
) -> tuple[list[RemovedHeader], list[MissingSource]]:
    """Includes of the CUDA sources that cannot be met: by CUDA 13, or by the tree (quoted .cuh and .cu files only)."""
    ends = {name.rpartition("/")[2] for name in names}
    removed: list[RemovedHeader] = []
    missing: list[MissingSource] = []
    for path in sources:
        try:
            source = tree.read(path)
        except InputError:
            continue
        if len(source) > _LARGEST or b"include" not in source:
            continue
        text: Text | None = None
        for match in _INCLUDE.finditer(source):
            name = match["name"].decode("utf-8", "replace").strip()
            gone = name in REMOVED and name not in names and not any(other.endswith(f"/{name}") for other in names)
            quoted = match["open"] == b'"' and name.endswith((".cuh", ".cu")) and not _TOOLKIT.search(name)
            absent = quoted and name.rpartition("/")[2] not in ends
            if gone or absent:
                text = text or Text(source)
                place = _place(match, text, path)
                if gone:
                    removed.append(RemovedHeader(**place, instead=REMOVED[name]))
                else:
                    missing.append(MissingSource(**place, file=""))
    return removed, missing


def _fields(source: ListedSource) -> dict[str, Any]:
    names = ("path", "line", "start", "end", "text", "scope", "condition", "reached")
    return {name: getattr(source, name) for name in names}


def _place(match: re.Match[bytes], text: Text, path: str) -> dict[str, Any]:
    start, end = match.span("name")
    return {"path": path, "line": text.line(start), "start": start, "end": end, "text": text.decode(start, end)}
