"""Write a `.fatbin` file with other containers: the same containers in the same order, nothing points at them.

There is no ELF around a `.fatbin` file and no address in it: whoever loads it reads it from its first container
header (`cuModuleLoadFatBinary`, `cuModuleLoad`, fatbinary's own output). So it is written anew from front to back, and
what stands between containers (zeros, in all files seen) is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from shim.applying.rewrite import Edit, OldRange, Rewritten
from shim.devicecode import DeviceCode
from shim.errors import InputError
from shim.planning import Layout

_PIECE = 1 << 20
_ALIGNMENT = 8
"""Containers and entries are multiples of 8 long, so all that follows a changed one stays aligned (formats.md 2)."""


def write_fatbin(code: DeviceCode, source: Path, dest: Path, edits: Sequence[Edit]) -> Rewritten:
    """Write `dest`, which must not exist: the `.fatbin` file `source` with the edits. Memory does not grow with it.

    Args:
        code: what was read of `source`. edits: as for `shim.applying.rewrite`, without wrappers.

    Raises:
        InputError: the file is shorter than it was when it was read.
    """
    sizes = {container.offset: container.size for container in code.containers}
    ordered = sorted(range(len(edits)), key=lambda i: edits[i].offset)
    places = [0] * len(edits)
    old: list[OldRange] = []
    with source.open("rb") as original, dest.open("xb") as out:
        at = 0
        for i in ordered:
            edit = edits[i]
            _keep(original, out, at, edit.offset - at, old, code.member)
            places[i] = out.tell()
            at = edit.offset + sizes[edit.offset]
            old += sorted(_replaced(original, out, edit, at, code.member), key=lambda part: part.offset)
            if out.tell() % _ALIGNMENT != at % _ALIGNMENT:
                raise ValueError(f"{code.member}: a container whose size is no multiple of {_ALIGNMENT}")
        _keep(original, out, at, code.size - at, old, code.member)
        size = out.tell()
    dest.chmod(source.stat().st_mode & 0o777)
    return Rewritten(
        layout=Layout.REPACK,
        original_size=code.size,
        size=size,
        containers=tuple(places),
        old=tuple(old),
        strip_unsafe=False,
    )


def _replaced(original: BinaryIO, out: BinaryIO, edit: Edit, end: int, member: str) -> Iterator[OldRange]:
    """Write a new container; yields where the bytes of the old one, up to `end`, are now."""
    kept: list[OldRange] = []
    for piece in edit.pieces:
        if isinstance(piece, tuple):
            _keep(original, out, *piece, kept, member)
        else:
            out.write(piece)
    yield from kept
    at = edit.offset
    for part in sorted(kept, key=lambda part: part.offset):
        if part.offset > at:
            yield OldRange(offset=at, size=part.offset - at, at=None)
        at = part.offset + part.size
    if at < end:
        yield OldRange(offset=at, size=end - at, at=None)


def _keep(original: BinaryIO, out: BinaryIO, offset: int, size: int, old: list[OldRange], member: str) -> None:
    """Copy a range of the original, and say so."""
    if size == 0:
        return
    old.append(OldRange(offset=offset, size=size, at=out.tell()))
    original.seek(offset)
    while size > 0:
        piece = original.read(min(size, _PIECE))
        if not piece:
            raise InputError(f"{member}: ends {size} bytes before the end it had when it was read")
        out.write(piece)
        size -= len(piece)
