"""Replaces literal text. The place is exact: nothing is matched with a difference."""

from __future__ import annotations

from shim.errors import RecipeError
from shim.source.edits import Edited


def replace_text(source: bytes, *, find: str, replace: str) -> Edited:
    """Replace every occurrence of a literal text. Line ends of both follow the file's.

    An occurrence that is part of `replace` already is left alone, so that a second run finds nothing.

    Raises:
        RecipeError: `find` is empty or equals `replace`.
    """
    old, new = _encode(find, source), _encode(replace, source)
    if not old or old == new:
        raise RecipeError("find is empty or equals replace: no effect is an error")
    pieces, count, at = [], 0, 0
    for start in _occurrences(source, old, new):
        pieces += [source[at:start], new]
        at = start + len(old)
        count += 1
    return Edited(content=b"".join((*pieces, source[at:])), count=count)


def count_text(source: bytes, find: str) -> int:
    """How often a literal text occurs, without overlap."""
    old = _encode(find, source)
    return source.count(old) if old else 0


def _encode(text: str, source: bytes) -> bytes:
    data = text.encode("utf-8")
    if b"\r\n" in source and b"\r\n" not in data and source.count(b"\n") == source.count(b"\r\n"):
        return data.replace(b"\n", b"\r\n")
    return data


def _occurrences(source: bytes, old: bytes, new: bytes) -> list[int]:
    """Where `old` starts, outside of every place where `new` stands."""
    shifts = [at for at in range(len(new) - len(old) + 1) if new.startswith(old, at)]
    starts, at = [], 0
    while (start := source.find(old, at)) >= 0:
        if not any(start >= shift and source.startswith(new, start - shift) for shift in shifts):
            starts.append(start)
        at = start + len(old)
    return starts
