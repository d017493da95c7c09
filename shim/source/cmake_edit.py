"""Gives CMake variables other values where `set()` sets them. Comments and other commands are not touched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from shim.errors import RecipeError
from shim.source.edits import Edited

# cmake-language(7): bracket comments, line comments, bracket arguments, quoted arguments, parentheses, plain text.
_TOKEN: Final = re.compile(
    rb"""\#\[(?P<c>=*)\[.*?\](?P=c)\] | \#[^\n]* | \[(?P<b>=*)\[.*?\](?P=b)\]
    | "(?:[^"\\]|\\.)*" | [()] | (?:[^\s()\#"\[\\]|\\.|\[(?!=*\[))+ | \s+ | .""",
    re.DOTALL | re.VERBOSE,
)
_TAIL: Final = frozenset({b"CACHE", b"PARENT_SCOPE"})


def set_variable(source: bytes, *, variable: str, value: str) -> Edited:
    """Replace the values in every `set(VARIABLE ...)`; what follows from CACHE or PARENT_SCOPE on is kept.

    A list with `;` is written as one quoted argument.

    Raises:
        RecipeError: the value holds a quote or a newline.
    """
    if set(value) & set('"\n\\'):
        raise RecipeError(f"not a plain CMake value: {value!r}")
    new = f'"{value}"'.encode()
    pieces, at, count = [], 0, 0
    for start, end, old in _settings(source, variable.encode()):
        if old == [new]:
            continue
        pieces += [source[at:start], new if start < end else b" " + new]
        at = end
        count += 1
    return Edited(content=b"".join((*pieces, source[at:])), count=count)


def is_set(source: bytes, *, variable: str, value: str) -> bool:
    """Whether the variable is set, and to this value everywhere."""
    wanted = [f'"{value}"'.encode()]
    found = [old for _, _, old in _settings(source, variable.encode())]
    return bool(found) and all(old == wanted for old in found)


def _settings(source: bytes, variable: bytes) -> Iterator[tuple[int, int, list[bytes]]]:
    """(start, end) of the values of each `set(variable ...)`, and the values."""
    command = b""
    depth = 0
    arguments: list[tuple[int, int]] = []
    for token in _TOKEN.finditer(source):
        text = token.group()
        if text.isspace() or text.startswith(b"#"):
            continue
        if text == b"(":
            depth += 1
            arguments = [] if depth == 1 else arguments
        elif text == b")":
            depth = max(0, depth - 1)
            if not depth:
                if command.lower() == b"set" and arguments and source[slice(*arguments[0])] == variable:
                    yield _values(source, arguments)
                command = b""
        elif depth:
            arguments.append(token.span())
        else:
            command = text


def _values(source: bytes, arguments: list[tuple[int, int]]) -> tuple[int, int, list[bytes]]:
    values = []
    for span in arguments[1:]:
        if source[slice(*span)] in _TAIL:
            break
        values.append(span)
    if not values:
        return arguments[0][1], arguments[0][1], []
    return values[0][0], values[-1][1], [source[slice(*span)] for span in values]
