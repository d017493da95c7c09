"""Splits CMake files into commands and arguments with byte spans (CMake manual, cmake-language(7), "Syntax").

Bracket arguments and comments, quoted arguments with escapes and continuations, and unquoted ones with `$(...)` and
quoted parts inside are known. What does not fit ends the reading; commands before it are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_COMMAND: Final = re.compile(rb"[ \t]*([A-Za-z_]\w*)[ \t]*\(")
_SPACE: Final = re.compile(rb"[\s;]+")
_BRACKET: Final = re.compile(rb"\[(=*)\[")
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_UNQUOTED: Final = re.compile(rb'(?:[^\s()#"\\;]|\\.|"(?:[^"\\]|\\.)*"|\$\([^()\n]*\))+', re.DOTALL)
_LINE_END: Final = re.compile(rb"[^\n]*\n?")
_MAX_DEPTH: Final = 1000
_LONGEST_BRACKET: Final = 1 << 14  # bytes; a bracket that is never closed must not be searched for again and again


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument. `start` and `end` are the bytes of the text itself, without quotation marks or brackets.

    `depth`: how many parentheses it stands in, inside the command's own.
    """

    text: str
    start: int
    end: int
    quoted: bool
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Command:
    """A call: name in lower case, its bytes, and its arguments; inner parentheses are arguments of their own."""

    name: str
    start: int
    end: int
    arguments: tuple[Argument, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments as text."""
        return tuple(argument.text for argument in self.arguments)


def commands(source: bytes) -> Iterator[Command]:
    """All commands of a file, in its order."""
    at = 3 if source.startswith(b"\xef\xbb\xbf") else 0
    while at < len(source):
        if source[at : at + 1].isspace():
            at += 1
        elif source[at : at + 1] == b"#":
            at = _comment_end(source, at)
        else:
            match = _COMMAND.match(source, at)
            if match is None:
                return
            arguments, end = _arguments(source, match.end())
            yield Command(match[1].decode("ascii", "replace").lower(), match.start(1), end, tuple(arguments))
            if end >= len(source) and source[-1:] != b")":
                return
            at = end


def _arguments(source: bytes, at: int) -> tuple[list[Argument], int]:
    """Arguments from behind the opening parenthesis on, and the offset behind the closing one."""
    found: list[Argument] = []
    depth = 0
    while at < len(source):
        char = source[at : at + 1]
        if match := _SPACE.match(source, at):
            at = match.end()
        elif char == b"#":
            at = _comment_end(source, at)
        elif char in (b"(", b")"):
            if char == b")" and depth == 0:
                return found, at + 1
            depth += 1 if char == b"(" else -1
            if depth > _MAX_DEPTH:
                break
            found.append(Argument(char.decode(), at, at + 1, quoted=False, depth=depth))
            at += 1
        elif (span := _bracket(source, at)) is not None:
            found.append(_argument(source, *span[:2], depth, quoted=True))
            at = span[2]
        elif match := _QUOTED.match(source, at):
            found.append(_argument(source, *match.span(1), depth, quoted=True))
            at = match.end()
        elif match := _UNQUOTED.match(source, at):
            found.append(_argument(source, *match.span(), depth, quoted=False))
            at = match.end()
        else:
            break
    return found, len(source)


def _argument(source: bytes, start: int, end: int, depth: int, *, quoted: bool) -> Argument:
    return Argument(source[start:end].decode("utf-8", "backslashreplace"), start, end, quoted=quoted, depth=depth)


def _bracket(source: bytes, at: int) -> tuple[int, int, int] | None:
    """`[==[text]==]`: (start, end) of the text, and the offset behind it."""
    match = _BRACKET.match(source, at)
    if match is None:
        return None
    close = b"]" + match[1] + b"]"
    end = source.find(close, match.end(), match.end() + _LONGEST_BRACKET)
    return None if end < 0 else (match.end(), end, end + len(close))


def _comment_end(source: bytes, at: int) -> int:
    span = _bracket(source, at + 1)
    if span is not None:
        return span[2]
    match = _LINE_END.match(source, at)
    return match.end() if match else len(source)
