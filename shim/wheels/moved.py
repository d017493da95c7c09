"""Reverse data of a member whose contents were moved about: old contents out of pieces of the new ones."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shim.wheels.archive import WheelArchive
from shim.wheels.compare import MAX_CHANGED, Comparison
from shim.wheels.layout import Layout
from shim.wheels.level import find_level
from shim.wheels.member import DEFLATED, Member
from shim.wheels.randomfile import PIECE, RandomFile

__all__ = ["Moved", "OldPiece", "old_contents", "plan_moved"]

SEARCH_LIMIT = 384 << 20
"""Members of more inflated bytes are not searched for a zlib level: 5 s a hundred megabytes on one core."""

OldPiece = tuple[int, int]
"""(offset in the new contents, or -1 when the bytes are not there; size), in the order of the old contents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """The compressed data of a member, made by zlib from its old contents, which are pieces of the new ones.

    Attributes:
        path: the member of the patched archive that has the new contents.
        size, crc32: of the compressed data. contents_size: bytes of the old contents.
        pieces: they make up the old contents; bytes of those that are gone are kept in the reverse data.
    """

    path: str
    level: int
    size: int
    crc32: int
    contents_size: int
    pieces: tuple[OldPiece, ...]


def plan_moved(layout: Layout, moved: Mapping[str, Sequence[OldPiece]]) -> dict[str, tuple[Moved, tuple[bytes, ...]]]:
    """For members of which pieces are known: what it takes, and the bytes that have to be kept; by path.

    Members that zlib does not reproduce, that are too large to find out, or of which too much is gone, are left out.

    Raises:
        ArchiveError: broken contents of the source.
    """
    fitting = [c for c in layout.comparisons if c.member.path in moved and _fits(layout, c, moved[c.member.path])]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        levels = list(pool.map(lambda c: find_level(layout.source, c.member), fitting))
    made = {}
    for comparison, level in zip(fitting, levels, strict=True):
        if level is not None:
            member = comparison.member
            pieces = tuple(moved[member.path])
            made[member.path] = (_plan(layout, member, level, pieces), _gone(layout.source, member, pieces))
    return made


def _fits(layout: Layout, comparison: Comparison, pieces: Sequence[OldPiece]) -> bool:
    member = comparison.member
    start, end = member.data_offset, member.data_offset + member.compressed_size
    kept = any(start <= copy.source_offset < end and copy.size for copy in layout.copies)  # spliced, or copied whole
    gone = sum(size for at, size in pieces if at < 0)
    return (
        member.method == DEFLATED
        and member.size <= SEARCH_LIMIT
        and not kept
        and sum(size for _, size in pieces) == member.size
        and gone <= min(MAX_CHANGED, member.compressed_size // 2)
    )


def _plan(layout: Layout, member: Member, level: int, pieces: tuple[OldPiece, ...]) -> Moved:
    return Moved(
        path=member.path,
        level=level,
        size=member.compressed_size,
        crc32=layout.source.file.crc32(member.data_offset, member.compressed_size),
        contents_size=member.size,
        pieces=pieces,
    )


def _gone(source: WheelArchive, member: Member, pieces: Sequence[OldPiece]) -> tuple[bytes, ...]:
    """Bytes of the pieces that are not in the new contents."""
    ranges = []
    at = 0
    for place, size in pieces:
        if place < 0:
            ranges.append((at, size))
        at += size
    return tuple(bytes(data) for data in source.read_ranges(member, ranges)) if ranges else ()


def old_contents(
    patched: WheelArchive, operation: Moved, literal: Callable[[int], bytes], folder: Path
) -> Iterator[bytes]:
    """The old contents, front to back.

    Args:
        literal: gives the next bytes that were kept. folder: for a temporary copy of the new contents.

    Raises:
        InputError: a piece lies outside the new contents.
    """
    with tempfile.TemporaryFile(dir=folder) as copy:  # without a name: nothing is left of it, whatever happens
        copy.writelines(patched.stream(patched.member(operation.path)))
        copy.flush()
        with RandomFile(Path(f"/proc/self/fd/{copy.fileno()}")) as new:
            for at, size in operation.pieces:
                if at >= 0:
                    yield from new.pieces(at, size)
                    continue
                left = size
                while left:
                    piece = literal(min(left, PIECE))
                    left -= len(piece)
                    yield piece
