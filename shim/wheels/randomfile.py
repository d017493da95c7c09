"""A file read at offsets: no shared position, so that threads need no lock."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from isal import isal_zlib

from shim.errors import InputError
from shim.wheels.faults import ArchiveError, Fault

__all__ = ["RandomFile"]

PIECE = 1 << 20

_REASONS = {
    errno.ENOENT: ("there is no such file", "check the spelling of the path"),
    errno.EACCES: ("permission denied", "ask for read permission, or run as a user who has it"),
    errno.EPERM: ("permission denied", "ask for read permission, or run as a user who has it"),
    errno.ELOOP: ("too many symbolic links (a loop)", "remove the loop, or name the file itself"),
    errno.ENOTDIR: ("a part of the path is not a folder", "check the spelling of the path"),
    errno.ENAMETOOLONG: ("the path is too long", "move the file to a shorter path"),
}


class RandomFile:
    """A regular file, open for reading at given offsets (`pread`). Safe to use from several threads at once.

    Attributes:
        path: as given.
        size: bytes, when it was opened.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            InputError: it is missing, not readable, or not a regular file.
        """
        self.path = path
        try:
            # Not blocking: opening a named pipe would wait for a writer for ever.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as err:
            reason, hint = _REASONS.get(err.errno or 0, (os.strerror(err.errno or 0), None))
            raise InputError(f"{path}: cannot be opened: {reason}", hint=hint) from err
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise InputError(f"{path}: expected a file, found that it is {kind}", hint="name the wheel itself")
        self.size = status.st_size

    def read(self, offset: int, size: int, what: str = "data", member: str | None = None) -> bytes:
        """Exactly `size` bytes at `offset`.

        Raises:
            ArchiveError: the file ends before, or the disk failed. `what` and `member` name the thing read.
        """
        try:
            data = os.pread(self._fd, size, offset)
            while len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
                data += more
        except OSError as err:
            fault = Fault(what=f"reading {what} failed: {err.strerror}", member=member, offset=offset)
            raise ArchiveError(self.path, fault) from err
        if len(data) < size:
            fault = Fault(
                what=f"the file ends inside {what}",
                member=member,
                offset=offset,
                expected=f"{size} bytes",
                found=f"{len(data)}",
            )
            raise ArchiveError(self.path, fault)
        return data

    def pieces(self, offset: int, size: int, piece: int = PIECE) -> Iterator[bytes]:
        """The bytes from `offset` on, `size` of them, in pieces of at most `piece` bytes."""
        end = offset + size
        while offset < end:
            data = self.read(offset, min(piece, end - offset))
            offset += len(data)
            yield data

    def sha256(self, offset: int = 0, size: int | None = None) -> str:
        """SHA-256 of the file or of a range of it, in hexadecimal digits."""
        digest = hashlib.sha256()
        for piece in self.pieces(offset, self.size - offset if size is None else size):
            digest.update(piece)
        return digest.hexdigest()

    def crc32(self, offset: int, size: int) -> int:
        """CRC-32 of a range."""
        crc = 0
        for piece in self.pieces(offset, size):
            crc = isal_zlib.crc32(piece, crc)
        return crc

    def fileno(self) -> int:
        """The descriptor, for `copy_file_range`; its position means nothing."""
        return self._fd

    def close(self) -> None:
        """Close it; closing twice does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
