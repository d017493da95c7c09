"""Paths by pattern: `*` and `?` stay within a folder, `**/` crosses any number of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """The names that match, sorted."""
    test = compile_glob(pattern).fullmatch
    return sorted(name for name in names if test(name))


@functools.cache
def compile_glob(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for `fullmatch`. Everything but `*`, `?` and `**` stands for itself."""
    parts = [_PIECES.get(piece, re.escape(piece)) for piece in re.split(r"(\*\*/|\*\*|\*|\?)", pattern)]
    return re.compile("".join(parts), re.DOTALL)


_PIECES = {"**/": r"(?:[^/]+/)*", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
