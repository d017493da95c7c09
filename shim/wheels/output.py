"""A file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from shim.errors import InputError
from shim.store import temporary_file
from shim.wheels.faults import ArchiveError, Fault
from shim.wheels.randomfile import PIECE, RandomFile

__all__ = ["OutputFile"]

_STRIDE = 32 << 20
"""Bytes copied by one call: small enough that Ctrl-C and the progress bar are not kept waiting."""

_NO_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
"""What `copy_file_range` answers when the kernel or the file systems cannot."""

_REASONS = {
    errno.ENOSPC: ("no space left on the device", "free some space, or write to another folder (-o DIR)"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write to another folder (-o DIR)"),
    errno.EFBIG: ("the file is too large for its file system or for this process", "write to another folder"),
    errno.EACCES: ("permission denied", "write to a folder of your own (-o DIR)"),
    errno.EROFS: ("the file system is read-only", "write to another folder (-o DIR)"),
    errno.ENOENT: ("there is no such folder", "make the folder first"),
    errno.ENOTDIR: ("a part of the path is not a folder", "write to another folder (-o DIR)"),
}


class OutputFile:
    """A file written under a temporary name beside its place, then moved there. Use as a context manager.

    Whatever ends the `with` block before `commit` (an error, Ctrl-C) removes the temporary file; one that a killed
    process left is removed by the next that writes to the same place.

    Attributes:
        path: where it will stand.
        temporary: where it is being written.
        position: bytes written so far.
    """

    def __init__(self, path: Path, *, progress: Callable[[int], None] | None = None) -> None:
        """Create the temporary file.

        Args:
            path: the final place; its folder must exist.
            progress: called with the number of bytes of each step.

        Raises:
            InputError: the file cannot be created.
        """
        self.path = path
        self.position = 0
        self._progress = progress
        self._kernel_copy = True
        self._committed = False
        with self._explained():
            self.temporary, self._fd = temporary_file(path)

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            InputError: the disk is full, or failed.
        """
        self._write_at(self.position, data)
        self._advance(len(data))

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes written before.

        Raises:
            InputError: the disk is full, or failed.
        """
        self._write_at(offset, data)

    def copy(self, file: RandomFile, offset: int, size: int) -> None:
        """Append bytes of another file, without taking them through this process where the kernel can.

        Raises:
            ArchiveError: the other file ends too early.
            InputError: the disk is full, or failed.
        """
        end = offset + size
        while offset < end:
            wanted = min(_STRIDE, end - offset)
            copied = self._copy_in_kernel(file, offset, wanted) if self._kernel_copy else None
            if copied is None:
                copied = min(PIECE, wanted)
                self._write_at(self.position, file.read(offset, copied))
            elif copied == 0:
                fault = Fault(what="the file ended while it was copied", offset=offset, expected=f"{wanted} bytes")
                raise ArchiveError(file.path, fault)
            offset += copied
            self._advance(copied)

    def commit(self, *, force: bool) -> None:
        """Flush to disk and move to the final place.

        Args:
            force: replace a different file that stands there. An equal one is left alone in any case.

        Raises:
            InputError: a different file stands there and `force` is off, or the disk failed.
        """
        if not force and os.path.lexists(self.path):
            if self.path.is_symlink() or not self._same_as_existing():
                raise InputError(
                    f"{self.path}: a different file of this name is there already",
                    hint="pass --force to replace it, or write to another folder (-o DIR)",
                )
            return
        with self._explained():
            os.fsync(self._fd)
            self.temporary.replace(self.path)
            self._committed = True
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _same_as_existing(self) -> bool:
        with RandomFile(self.path) as existing:
            if existing.size != self.position:
                return False
            with RandomFile(self.temporary) as new:
                pairs = zip(existing.pieces(0, existing.size), new.pieces(0, new.size), strict=True)
                return all(old == data for old, data in pairs)

    def _write_at(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        with self._explained():
            while view:
                written = os.pwrite(self._fd, view, offset)
                offset += written
                view = view[written:]

    def _copy_in_kernel(self, file: RandomFile, offset: int, size: int) -> int | None:
        try:
            return os.copy_file_range(file.fileno(), self._fd, size, offset, self.position)
        except OSError as err:
            if err.errno in _NO_COPY:
                self._kernel_copy = False
                return None
            raise _explained(self.path, err) from err

    def _advance(self, size: int) -> None:
        self.position += size
        if self._progress is not None:
            self._progress(size)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as err:
            raise _explained(self.path, err) from err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
        if not self._committed:
            self.temporary.unlink(missing_ok=True)


def _explained(path: Path, err: OSError) -> InputError:
    reason, hint = _REASONS.get(err.errno or 0, (os.strerror(err.errno or 0), None))
    return InputError(f"{path}: cannot be written: {reason}", hint=hint)
