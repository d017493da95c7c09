"""Reverse data of a single patched file, in a file beside it.

Form: magic and version, then one zstd frame: size of the header (4 bytes, little-endian), the header (JSON), all
bytes of the original that are not in the patched file, in the order of the original.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from shim.applying.inject import PatchedFile
from shim.applying.rewrite import OldRange
from shim.errors import InputError
from shim.provenance.document import Digests

MAGIC = b"shimfile\x00\x01"
_ZSTD_LEVEL = 1  # 740 MB of images that a library lost: 1.3 s and 52 % of their size; level 3 took 6.5 s
_PIECE = 1 << 20
_MOST_HEADER = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUndo:
    """How to get the original back. `old` covers it from its first byte to its last."""

    size: int
    sha256: str
    patched_sha256: str
    old: tuple[OldRange, ...]


def write_edits(patched: PatchedFile, digests: Digests, original: Path, dest: Path) -> None:
    """Write the reverse data of one file; memory does not grow with the file."""
    header = json.dumps(
        {
            "size": patched.original_size,
            "sha256": digests.before,
            "patched_sha256": digests.after,
            "old": [[old.offset, old.size, old.at] for old in patched.written.old],
        },
        sort_keys=True,
    ).encode()
    with dest.open("wb") as out, original.open("rb") as source:
        out.write(MAGIC)
        with zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).stream_writer(
            out, closefd=False
        ) as frame:
            frame.write(struct.pack("<I", len(header)) + header)
            for old in patched.written.old:
                if old.at is None:
                    source.seek(old.offset)
                    for piece in _pieces(source.read, old.size, original.name):
                        frame.write(piece)


def read_edits(path: Path) -> FileUndo:
    """Read reverse data, its header only.

    Raises:
        InputError: it is not that, or contradicts itself.
    """
    with path.open("rb") as file:
        return _read_header(path, _frame(path, file))


def original_pieces(patched: Path, undo: Path) -> Iterator[bytes]:
    """The bytes of the original, front to back, from a patched file and its reverse data.

    Raises:
        InputError: one of them is too short, or the reverse data is damaged.
    """
    with undo.open("rb") as beside, patched.open("rb") as new:
        literal = _frame(undo, beside)
        header = _read_header(undo, literal)
        for old in header.old:
            if old.at is None:
                yield from _pieces(literal, old.size, undo.name)
            else:
                new.seek(old.at)
                yield from _pieces(new.read, old.size, patched.name)


def _frame(path: Path, file: BinaryIO) -> Callable[[int], bytes]:
    """A reader of the frame's contents."""
    if file.read(len(MAGIC)) != MAGIC:
        raise InputError(f"{path.name}: not the reverse data of a file patched by shim", hint="take the one beside it")
    frame = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(file, read_across_frames=False)

    def take(size: int) -> bytes:
        try:
            return bytes(frame.read(size))
        except zstandard.ZstdError as error:
            raise InputError(f"{path.name}: reverse data is damaged: {error}") from error

    return take


def _pieces(read: Callable[[int], bytes], size: int, name: str) -> Iterator[bytes]:
    while size > 0:
        piece = read(min(size, _PIECE))
        if not piece:
            raise InputError(f"{name}: ends {size} bytes too early", hint="take both files again from where they were")
        yield piece
        size -= len(piece)


def _read_header(path: Path, take: Callable[[int], bytes]) -> FileUndo:
    try:
        (length,) = struct.unpack("<I", b"".join(_pieces(take, 4, path.name)))
        if length > _MOST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        document: dict[str, Any] = json.loads(b"".join(_pieces(take, length, path.name)))
        undo = FileUndo(
            size=int(document["size"]),
            sha256=str(document["sha256"]),
            patched_sha256=str(document["patched_sha256"]),
            old=tuple(
                OldRange(offset=int(offset), size=int(size), at=None if at is None else int(at))
                for offset, size, at in document["old"]
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name}: not the reverse data of a file patched by shim ({error})") from error
    if not covers(undo.old, undo.size):
        raise InputError(f"{path.name}: its ranges do not make up the {undo.size} bytes of the original")
    return undo


def covers(old: tuple[OldRange, ...], size: int) -> bool:
    """Whether ranges make up a file of `size` bytes, without gap or overlap."""
    at = 0
    for part in old:
        if part.offset != at or part.size <= 0 or (part.at is not None and part.at < 0):
            return False
        at += part.size
    return at == size
