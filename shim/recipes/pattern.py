"""Looks for the literals and regular expressions of recipes in the bytes of files."""

from __future__ import annotations

import functools
import re

from shim.recipes.model import Pattern


def occurrences(pattern: Pattern, content: bytes) -> int:
    """How often it occurs, without overlap. Line ends CR LF count as LF; bytes that are not UTF-8 match nothing."""
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    if pattern.is_regex:
        return sum(1 for _ in regex(pattern.text).finditer(text))
    return text.count(pattern.text)


@functools.cache
def regex(text: str) -> re.Pattern[str]:
    """A regular expression in MULTILINE mode: `^` and `$` are those of lines."""
    return re.compile(text, re.MULTILINE)
