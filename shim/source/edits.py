"""An edit of one file: both texts, who asked for it, and the unified diff that people read."""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """New content of a file and in how many places it differs."""

    content: bytes
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEdit:
    """New content for one file.

    Attributes:
        path: relative to the root of the tree.
        origin: id of the recipe, or code of the generic rule, that made it.
    """

    path: str
    before: bytes
    after: bytes
    origin: str

    @property
    def diff(self) -> str:
        """Unified diff (`a/PATH`, `b/PATH`, three lines of context). Bytes that are not UTF-8 are escaped."""
        old, new = (text.decode("utf-8", "backslashreplace").splitlines(True) for text in (self.before, self.after))
        lines = difflib.unified_diff(old, new, f"a/{self.path}", f"b/{self.path}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
