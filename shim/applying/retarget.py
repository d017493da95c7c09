"""PTX text with another `.target`.

Only the operand of `.target` and, where it is too low, the number of `.version` change. Comments and texts in quotes
are stepped over, everything else keeps its bytes. Grammar: PTX ISA manual, "PTX module directives" and "comments".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shim.errors import InputError

# Comments and quoted texts first, so that nothing inside them is found; then the two directives as whole words.
_TOKEN = re.compile(
    rb"""(?P<skip>//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"\\\n]|\\.)*")"""
    rb"""|(?<![\w$%.:@])\.(?P<name>version|target)(?![\w$%.:])""",
    re.DOTALL,
)
_BLANK = rb"(?>\s|//[^\n]*\n|/\*.*?\*/)*+"  # atomic: hostile text must not make it try every split
_NUMBER = re.compile(_BLANK + rb"(\d+)\.(\d+)", re.DOTALL)
_WORD = re.compile(_BLANK + rb"([A-Za-z_]\w*)" + _BLANK, re.DOTALL)


def retargeted(text: bytes, old: str, new: str, least: tuple[int, int]) -> bytes:
    """The text with `.target NEW` in place of `.target OLD`.

    Args:
        old, new: like "sm_120a" and "sm_121a". Further operands (`debug`, `texmode_independent`) stay.
        least: first ISA version that knows `new`; a lower `.version` is raised to it.

    Raises:
        InputError: no `.version`, no `.target`, or one that is not for `old`.
    """
    edits = [edit for edit in _edits(text, old.encode(), new.encode(), least) if edit is not None]
    out = []
    at = 0
    for start, end, data in edits:
        out += [text[at:start], data]
        at = end
    return b"".join((*out, text[at:]))


def _edits(text: bytes, old: bytes, new: bytes, least: tuple[int, int]) -> Iterator[tuple[int, int, bytes] | None]:
    seen = set()
    for found in _TOKEN.finditer(text):
        name = found["name"]
        if name is None:
            continue
        seen.add(name)
        yield _version(text, found.end(), least) if name == b"version" else _target(text, found.end(), old, new)
    if missing := {b"version", b"target"} - seen:
        raise InputError(f"PTX without .{min(missing).decode()}: it cannot be retargeted")


def _version(text: bytes, at: int, least: tuple[int, int]) -> tuple[int, int, bytes] | None:
    found = _NUMBER.match(text, at)
    if found is None:
        raise InputError(f"PTX with a .version that is no number (at offset {at:#x} of the text)")
    if (int(found[1]), int(found[2])) >= least:
        return None
    return found.start(1), found.end(2), b"%d.%d" % least


def _target(text: bytes, at: int, old: bytes, new: bytes) -> tuple[int, int, bytes]:
    words = []
    start = at
    while found := _WORD.match(text, start):
        words.append(found)
        if text[found.end() : found.end() + 1] != b",":
            break
        start = found.end() + 1
    archs = [word for word in words if word[1].startswith(b"sm_")]
    if len(archs) != 1 or archs[0][1] != old:
        names = b", ".join(word[1] for word in words).decode(errors="replace") or "nothing"
        raise InputError(f"PTX with .target {names}, expected {old.decode()} (at offset {at:#x} of the text)")
    return archs[0].start(1), archs[0].end(1), new
