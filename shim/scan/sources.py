"""Where the files of a package come from: members of an archive that is never unpacked, or files on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shim.devicecode import DeviceCode, StreamReader, could_hold_device_code, read_path
from shim.errors import InputError

if TYPE_CHECKING:
    from shim.wheels.archive import WheelArchive

Progress = Callable[[int], None]
"""Told how many more bytes have been read, from any thread."""

Ranges = Sequence[tuple[int, int]]
"""Ascending (offset, size) in bytes."""

_CHUNK = 1 << 20

# Never loaded as device code, and plenty: reading the first bytes of each would mean inflating all of them.
_TEXT = (
    *(".py", ".pyi", ".pyc", ".pyx", ".pxd", ".sh", ".cmake", ".in", ".js", ".map", ".css", ".html"),
    *(".h", ".hh", ".hpp", ".hxx", ".cuh", ".cu", ".c", ".cc", ".cpp", ".cxx", ".inl", ".inc", ".f90"),
    *(".txt", ".rst", ".md", ".json", ".toml", ".yml", ".yaml", ".cfg", ".ini", ".csv", ".proto", ".typed"),
    *(".svg", ".png", ".jpg", ".pdf", ".lib"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of the package: path relative to its root, `/` between parts, and size in bytes."""

    path: str
    size: int


class Source(Protocol):
    """Files of one package. All methods may be called from several threads at once."""

    @property
    def files(self) -> Sequence[SourceFile]:
        """Every regular file, in the order of the archive or of the walk."""

    def device_code(self, file: SourceFile, progress: Progress) -> DeviceCode | None:
        """Read a file for device code; None when its name and first bytes say that it cannot hold any.

        Raises:
            InputError: the file cannot be read or contradicts itself.
        """

    def read(self, path: str, limit: int) -> bytes:
        """The first `limit` bytes of a file."""

    def read_ranges(self, path: str, ranges: Ranges) -> Iterator[bytes]:
        """The bytes of some ranges of a file."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """A whole file, front to back, in pieces of any size."""


def is_candidate(path: str) -> bool:
    """Whether a file's name leaves open that it holds device code."""
    return not path.lower().endswith(_TEXT)


class ZipSource:
    """Members of a wheel or of another zip file, inflated as a stream."""

    def __init__(self, archive: WheelArchive) -> None:
        self._archive = archive
        self._files = tuple(
            SourceFile(path=member.path, size=member.size) for member in archive.members if not member.is_dir
        )

    @property
    def files(self) -> Sequence[SourceFile]:
        return self._files

    def device_code(self, file: SourceFile, progress: Progress) -> DeviceCode | None:
        reader: StreamReader | None = None
        for chunk in self.chunks(file.path):
            if reader is None:
                if not could_hold_device_code(file.path, bytes(chunk[:8])):
                    return None
                reader = StreamReader(file.path, file.size)
            reader.feed(chunk)
            progress(len(chunk))
        if reader is None:
            return None
        return reader.finish(lambda ranges: self.read_ranges(file.path, ranges))

    def read(self, path: str, limit: int) -> bytes:
        kept = bytearray()
        for chunk in self.chunks(path):
            kept += chunk[: limit - len(kept)]
            if len(kept) >= limit:
                break
        return bytes(kept)

    def chunks(self, path: str) -> Iterator[bytes]:
        return self._archive.stream(self._archive.member(path))

    def read_ranges(self, path: str, ranges: Ranges) -> Iterator[bytes]:
        return self._archive.read_ranges(self._archive.member(path), ranges)


class TreeSource:
    """Files under a folder, read where they lie. `names` are relative to `root`."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self._root = root
        files = []
        for name in names:
            with _readable(root / name):
                files.append(SourceFile(path=name, size=(root / name).stat().st_size))
        self._files = tuple(files)

    @property
    def files(self) -> Sequence[SourceFile]:
        return self._files

    def device_code(self, file: SourceFile, progress: Progress) -> DeviceCode | None:
        path = self._root / file.path
        with _readable(path):
            with path.open("rb") as stream:
                head = stream.read(8)
            if not could_hold_device_code(file.path, head):
                return None
            code = read_path(path, member=file.path)
        progress(file.size)
        return code

    def read(self, path: str, limit: int) -> bytes:
        with _readable(self._root / path), (self._root / path).open("rb") as stream:
            return stream.read(limit)

    def read_ranges(self, path: str, ranges: Ranges) -> Iterator[bytes]:
        with _readable(self._root / path), (self._root / path).open("rb") as stream:
            for offset, size in ranges:
                stream.seek(offset)
                yield stream.read(size)

    def chunks(self, path: str) -> Iterator[bytes]:
        with _readable(self._root / path), (self._root / path).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> InputError:
    """The InputError for a file that the operating system does not let us read."""
    hints = {
        PermissionError: "run as a user who may read it, or change its permissions",
        FileNotFoundError: "check the path",
    }
    return InputError(
        f"{path}: cannot be read: {error.strerror or error}", hint=hints.get(type(error), "check the path")
    )
