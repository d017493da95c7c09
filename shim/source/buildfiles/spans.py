"""Byte spans of syntax-tree nodes, and lines of byte offsets."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from bisect import bisect_right
from typing import Final

_NEWLINE: Final = re.compile(rb"\r\n|\r|\n")
_LITERAL: Final = re.compile(rb"[rRuU]?(\"\"\"|'''|\"|')(.*)\1", re.DOTALL)
_BOM: Final = b"\xef\xbb\xbf"


class Text:
    """The bytes of a file with the positions of its lines."""

    def __init__(self, source: bytes) -> None:
        self.source = source
        self._starts = [0, *(match.end() for match in _NEWLINE.finditer(source))]
        self._bom = len(_BOM) if source.startswith(_BOM) else 0

    def line(self, offset: int) -> int:
        """Number of the line, from 1, that holds a byte."""
        return bisect_right(self._starts, offset)

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """(start, end) of a node in a file that is UTF-8."""
        return self._offset(node.lineno, node.col_offset), self._offset(
            node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        )

    def literal(self, node: ast.Constant) -> tuple[int, int] | None:
        """What stands between the quotation marks; None when that is not the value itself (escapes, pieces)."""
        start, end = self.span(node)
        match = _LITERAL.fullmatch(self.source, start, end)
        if match is None or not isinstance(node.value, str) or match[2] != node.value.encode("utf-8", "replace"):
            return None
        return match.span(2)

    def decode(self, start: int, end: int) -> str:
        """A span as text; bytes that are not UTF-8 are escaped."""
        return self.source[start:end].decode("utf-8", "backslashreplace")

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column + (self._bom if line == 1 else 0)


def is_utf8(source: bytes) -> bool:
    """Whether Python reads the file as UTF-8, so that positions of its syntax tree are bytes of the file."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        source.decode("utf-8")
    except (SyntaxError, UnicodeDecodeError):
        return False
    return encoding in ("utf-8", "utf-8-sig")
