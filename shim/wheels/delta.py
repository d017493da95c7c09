"""Reverse data: what it takes to get the original archive back from the patched one, to the byte.

The original is described from its first byte to its last: ranges that stand in the patched archive (`Copy`),
members that zlib makes again from their contents (`Deflate`, `Moved`), and bytes that are kept here (`Literal`). Only
the patched archive up to where the reverse data is added is referred to, so that the reverse data may itself
be a member of it, or stand in a file beside it.

Form: magic and version, then one zstd frame: size of the header (4 bytes, little-endian), the header (JSON),
    all literal bytes in the order of use.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from shim.wheels.compare import Change, Comparison
from shim.wheels.layout import Layout
from shim.wheels.level import find_level
from shim.wheels.member import DEFLATED
from shim.wheels.moved import Moved, OldPiece, plan_moved
from shim.wheels.output import OutputFile
from shim.wheels.randomfile import RandomFile

__all__ = ["MAGIC", "Copy", "Deflate", "Literal", "Operation", "UndoData", "plan_undo", "prefix_crc32"]

MAGIC = b"shimundo\x00\x01"
"""Name and version of the form."""

SEARCH_LIMIT = 64 << 20
"""Members of more inflated bytes are not searched for a zlib level here (some seconds each)."""

_WORTH = 4096
"""Bytes saved below which undo is not made to depend on the zlib of the machine it runs on."""

_ZSTD_LEVEL = 9
"""On central directory and RECORD of 5,802 members: 1 % above level 19 in a twentieth of its time."""

_MUCH = 16 << 20
_FAST_ZSTD_LEVEL = 1
"""For more literal bytes than that: they are deflate streams of members, in which zstd finds nothing. Level 9 takes 4 s
to find nothing in 729 MB, and side-cars of slimmed wheels are no smaller for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """Bytes that stand in the patched archive."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal:
    """Bytes kept in the reverse data."""

    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deflate:
    """The compressed data of a member, made by zlib from its old contents."""

    path: str
    """The member of the patched archive that has the new contents."""

    level: int
    size: int
    """Bytes of compressed data."""

    crc32: int
    """Of the compressed data."""

    contents_size: int
    """Bytes of the old contents."""

    ranges: tuple[tuple[int, int], ...]
    """(offset, size) where the old contents differ from the new; the bytes are kept in the reverse data."""


Operation = Copy | Literal | Deflate | Moved


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoData:
    """Reverse data, the literal bytes still in the source archive. Valid while that is open."""

    name: str
    """File name of the original."""

    size: int
    sha256: str
    prefix_size: int
    """Bytes of the patched archive that are referred to."""

    prefix_crc32: int
    operations: tuple[Operation, ...]
    source: RandomFile
    literals: tuple[tuple[int, int] | bytes, ...]
    """Literal bytes in the order of use: (offset, size) in the source, or the bytes."""

    @property
    def literal_size(self) -> int:
        """Literal bytes before compression."""
        return sum(len(part) if isinstance(part, bytes) else part[1] for part in self.literals)

    def to_bytes(self, *, limit: int) -> bytes | None:
        """The reverse data for a member of the patched wheel.

        Args:
            limit: bytes it may take; for the "less than 5 %" rule a twentieth of `Layout.size`.

        Returns:
            None as soon as it becomes larger than `limit`; then it belongs into a side-car (`write`).
        """
        out = bytearray()
        for piece in self._serialised():
            out += piece
            if len(out) > limit:
                return None
        return bytes(out)

    def write(self, path: Path, *, force: bool = False) -> None:
        """Write a side-car file, whole or not at all.

        Raises:
            InputError: it cannot be written, or a different file stands there and `force` is off.
        """
        with OutputFile(path) as output:
            for piece in self._serialised():
                output.write(piece)
            output.commit(force=force)

    def _serialised(self) -> Iterator[bytes]:
        header = json.dumps(self._header(), separators=(",", ":"), sort_keys=True).encode("utf-8")
        level = _FAST_ZSTD_LEVEL if self.literal_size > _MUCH else _ZSTD_LEVEL
        engine = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
        yield MAGIC
        yield engine.compress(struct.pack("<I", len(header)) + header)
        for part in self.literals:
            pieces = iter([part]) if isinstance(part, bytes) else self.source.pieces(*part)
            for piece in pieces:
                yield engine.compress(piece)
        yield engine.flush()

    def _header(self) -> dict[str, object]:
        return {
            "name": self.name,
            "size": self.size,
            "sha256": self.sha256,
            "prefix": [self.prefix_size, self.prefix_crc32],
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
            "operations": [_encoded(operation) for operation in self.operations],
        }


def _encoded(operation: Operation) -> list[object]:
    match operation:
        case Copy():
            return ["copy", operation.offset, operation.size]
        case Literal():
            return ["literal", operation.size]
        case Moved() as m:
            return _encoded_moved(m)
        case Deflate() as d:
            return ["deflate", d.path, d.level, d.size, d.crc32, d.contents_size, [list(r) for r in d.ranges]]


def _encoded_moved(m: Moved) -> list[object]:
    return ["moved", m.path, m.level, m.size, m.crc32, m.contents_size, [list(piece) for piece in m.pieces]]


def prefix_crc32(file: RandomFile, size: int) -> int:
    """CRC-32 of the first `size` bytes: tells a changed or a wrong file, quickly."""
    return file.crc32(0, size)


def plan_undo(
    layout: Layout,
    *,
    levels: Mapping[str, int | None] | None = None,
    moved: Mapping[str, Sequence[OldPiece]] | None = None,
) -> UndoData:
    """Plan the reverse data of a patched wheel; made for the `late` argument of `write_wheel`::

        def late(layout: Layout) -> dict[str, bytes]:
            undo = plan_undo(layout)
            data = undo.to_bytes(limit=layout.size // 20)
            if data is None:
                undo.write(side_car)
                return {}
            return {undo_member(layout.source.dist_info): data}

    Args:
        layout: the patched wheel so far.
        levels: results of `find_level` that are known already (run beside other work), by path. Without one,
            changed members that could not be spliced are searched here, if they are not too large.
        moved: for members whose contents were moved about, the pieces of the new contents that make up the old ones.

    Raises:
        ArchiveError: broken contents of the source.
    """
    file = layout.source.file
    operations: list[Operation] = []
    literals: list[tuple[int, int] | bytes] = []
    relocated = plan_moved(layout, moved or {})
    deflated: dict[int, Deflate | Moved] = {}
    for comparison in layout.comparisons:
        found = relocated.get(comparison.member.path)
        made = found[0] if found else _deflate(layout, comparison, levels or {})
        if made is not None:
            deflated[comparison.member.data_offset] = made

    def literal(start: int, stop: int) -> None:
        if stop > start:
            operations.append(Literal(size=stop - start))
            literals.append((start, stop - start))

    position = 0
    changes = {c.member.path: c.changes or () for c in layout.comparisons}
    copies = [(c.source_offset, Copy(offset=c.offset, size=c.size)) for c in layout.copies if c.size]
    parts: list[tuple[int, Copy | Deflate | Moved]] = sorted([*copies, *deflated.items()], key=lambda part: part[0])
    for start, part in parts:
        literal(position, start)
        operations.append(part)
        if isinstance(part, Deflate):
            literals += [change.before for change in changes[part.path]]
        elif isinstance(part, Moved):
            literals += relocated[part.path][1]
        position = start + part.size
    literal(position, file.size)
    with RandomFile(layout.temporary) as patched:
        crc = prefix_crc32(patched, layout.size)
    return UndoData(
        name=layout.source.path.name,
        size=file.size,
        sha256=layout.source_sha256,
        prefix_size=layout.size,
        prefix_crc32=crc,
        operations=tuple(operations),
        source=file,
        literals=tuple(literals),
    )


def _deflate(layout: Layout, comparison: Comparison, levels: Mapping[str, int | None]) -> Deflate | None:
    """How to make the old compressed data of a member from its contents, when that is possible and saves
    bytes."""
    member = comparison.member
    changes = comparison.changes
    if member.method != DEFLATED or changes is None or _is_spliced(layout, comparison):
        return None
    if _cost(changes) + _WORTH >= member.compressed_size:
        return None
    if member.path in levels:
        level = levels[member.path]
    else:
        level = find_level(layout.source, member) if member.size <= SEARCH_LIMIT else None
    if level is None:
        return None
    return Deflate(
        path=member.path,
        level=level,
        size=member.compressed_size,
        crc32=layout.source.file.crc32(member.data_offset, member.compressed_size),
        contents_size=member.size,
        ranges=tuple((change.offset, len(change.before)) for change in changes),
    )


def _cost(changes: tuple[Change, ...]) -> int:
    """Bytes that a list of changes takes, about: the old bytes, and two numbers each in the header."""
    return 64 + sum(len(change.before) + 16 for change in changes)


def _is_spliced(layout: Layout, comparison: Comparison) -> bool:
    start = comparison.member.data_offset
    return any(start <= c.source_offset < start + comparison.member.compressed_size for c in layout.copies)
