"""The zlib level that made a deflate stream, if one did: then undo needs the contents, not the stream."""

from __future__ import annotations

import zlib

from shim.wheels.archive import WheelArchive
from shim.wheels.member import Member

__all__ = ["LEVELS", "find_level", "recompressor"]

LEVELS = (6, 9, 1, 5, 7, 8, 4, 3, 2)
"""In the order they are tried; 6 is what Python's zipfile, and so nearly every wheel builder, uses."""

_PROBE = 256 << 10
"""Contents compressed at every level first. zlib ends a block after 16,383 symbols, so that this shows the
level."""


def recompressor(level: int) -> zlib._Compress:
    """zlib as zipfile sets it up: raw stream, window of 32 KiB, memory level 8."""
    return zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL)


def find_level(archive: WheelArchive, member: Member) -> int | None:
    """The zlib level at which a member's contents give its compressed data, to the byte.

    Slow for large members (it deflates them: 10 to 50 MB/s), but it leaves Python's lock: run it beside other
    work.

    Args:
        archive: the archive.
        member: a deflated member.

    Returns:
        1 to 9, or None when no level does (another compressor made it).

    Raises:
        ArchiveError: broken contents.
    """
    for level in _plausible(archive, member):
        if _reproduces(archive, member, level):
            return level
    return None


def _plausible(archive: WheelArchive, member: Member) -> list[int]:
    """The levels that give the start of the stream."""
    head = b"".join(archive.read_ranges(member, [(0, min(_PROBE, member.size))]))
    levels = []
    for level in LEVELS:
        packed = recompressor(level).compress(head)
        size = min(len(packed), member.compressed_size)
        if packed == archive.file.read(member.data_offset, size, "deflated data", member.path):
            levels.append(level)
    return levels


def _reproduces(archive: WheelArchive, member: Member, level: int) -> bool:
    engine = recompressor(level)
    position = 0
    for piece in archive.stream(member):
        packed = engine.compress(piece)
        if not _continues(archive, member, position, packed):
            return False
        position += len(packed)
    packed = engine.flush()
    return _continues(archive, member, position, packed) and position + len(packed) == member.compressed_size


def _continues(archive: WheelArchive, member: Member, position: int, packed: bytes) -> bool:
    if position + len(packed) > member.compressed_size:
        return False
    return packed == archive.file.read(member.data_offset + position, len(packed), "deflated data", member.path)
