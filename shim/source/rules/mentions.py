"""Where build files name architectures in nvcc's own words, found in the bytes; one set of patterns for all rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shim.arch import Arch
from shim.errors import UsageError

_CODE: Final = rb"(?:sm|compute|lto)_\d{2,3}[af]?"
_PAIR: Final = re.compile(
    rb"arch\s*=\s*compute_(?P<pair>\d{2,3}[af]?)\s*,\s*code\s*=\s*(?:\\?\[[^\]\n]{1,200}\\?\]|" + _CODE + rb"(?![\w{]))"
)
_FLAG: Final = re.compile(
    rb"(?P<lead>(?:-arch|--gpu-architecture)(?:\s*=\s*|\s+|[\"']\s*,\s*[\"']))"
    rb"(?:(?:sm|compute)_(?P<flag>\d{2,3}[af]?)|native|all-major|all)(?![\w{-])"
)
_PATTERNS: Final = (_PAIR, _FLAG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A span of bytes that names one architecture.

    Attributes:
        arch: None for `native`, `all` and `all-major`.
        form: "pair" (`arch=compute_80,code=sm_80`) or "flag" (`-arch=sm_80`); lead: bytes to keep before it.
    """

    start: int
    end: int
    arch: Arch | None
    form: str
    lead: bytes

    def replacement(self, arch: Arch) -> bytes:
        """The same words for another architecture, machine code only."""
        text = f"arch=compute_{arch},code=sm_{arch}" if self.form == "pair" else f"sm_{arch}"
        return self.lead + text.encode("ascii")


def find_mentions(text: bytes) -> Iterator[Mention]:
    """Mentions in the order of the file, those in comments of Python and CMake left out."""
    found = [match for pattern in _PATTERNS for match in pattern.finditer(text)]
    for match in sorted(found, key=re.Match.start):
        line = text[text.rfind(b"\n", 0, match.start()) + 1 : match.start()]
        if line.lstrip().startswith(b"#"):
            continue
        groups = match.groupdict()
        number = groups.get("pair") or groups.get("flag")
        try:
            arch = Arch.parse(number.decode("ascii")) if number else None
        except UsageError:
            continue
        form = "pair" if "pair" in groups else "flag"
        yield Mention(start=match.start(), end=match.end(), arch=arch, form=form, lead=groups.get("lead") or b"")


def replace_mentions(text: bytes, changes: list[tuple[Mention, bytes]]) -> bytes:
    """The text with some mentions rewritten."""
    parts, at = [], 0
    for mention, new in changes:
        parts += [text[at : mention.start], new]
        at = mention.end
    return b"".join([*parts, text[at:]])
