"""New contents of a member: bytes in memory or a file on disk, read at offsets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from isal import isal_zlib

from shim.wheels.randomfile import PIECE, RandomFile

__all__ = ["Content", "Digest"]


_IN_MEMORY = 1 << 20
"""Smaller files are read at once: a wheel may have more changed members than a process may have open files.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What RECORD and the zip directory say about contents."""

    sha256: str
    """Hexadecimal digits."""

    crc32: int
    size: int


class Content:
    """Contents of known size. Safe to read from several threads at once. Use as a context manager.

    Attributes:
        size: bytes.
    """

    def __init__(self, source: Path | bytes) -> None:
        """Take bytes as they are, or open the file at a path.

        Raises:
            InputError: the file cannot be opened.
        """
        self._file: RandomFile | None = None
        self._data = b""
        if isinstance(source, bytes):
            self._data = source
            self.size = len(source)
            return
        file = RandomFile(source)
        self.size = file.size
        if file.size > _IN_MEMORY:
            self._file = file
            return
        with file:
            self._data = file.read(0, file.size)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at `offset`.

        Raises:
            ArchiveError: the file has become shorter.
        """
        if self._file is not None:
            return self._file.read(offset, size, "the new contents")
        return self._data[offset : offset + size]

    def pieces(self, start: int = 0, stop: int | None = None, piece: int = PIECE) -> Iterator[bytes]:
        """The bytes from `start` to `stop` in pieces of at most `piece` bytes."""
        end = self.size if stop is None else stop
        for offset in range(start, end, piece):
            yield self.read(offset, min(piece, end - offset))

    def digest(self) -> Digest:
        """SHA-256 and CRC-32 of the whole."""
        sha256 = hashlib.sha256()
        crc = 0
        for data in self.pieces():
            sha256.update(data)
            crc = isal_zlib.crc32(data, crc)
        return Digest(sha256=sha256.hexdigest(), crc32=crc, size=self.size)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
