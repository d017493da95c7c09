"""Results kept by the hash of what they were made from. Damage is a miss, never a wrong answer."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from shim.errors import InputError
from shim.store.folder import VARIABLE, private_folder

_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_UNFINISHED = "new"
_STALE = 3600.0  # seconds after which an unfinished file is taken for that of a killed process


def make_key(*parts: bytes | str) -> str:
    """Return the key of what is determined by these parts, in this order: 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))  # so that ("ab", "c") and ("a", "bc") differ
        digest.update(data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stored value. `used` is the time of its last use, in seconds since the epoch."""

    key: str
    path: Path
    size: int
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a pruning removed and left."""

    removed: int
    removed_bytes: int
    kept: int
    kept_bytes: int


class ContentStore:
    """Values on disk under `root`, safe for any number of processes and threads at once.

    A value is the file `<root>/<first two digits>/<key>/<sha256 of the value>`: its name says what its
    content must be. It appears by a rename, so it is there whole or not at all.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, key: str) -> bytes | None:
        """Return the value of `key`, or None. A damaged value is removed and counts as missing."""
        for path in self._values(key):
            with contextlib.suppress(OSError), _open(path) as file:
                data = file.read()
                if hashlib.sha256(data).hexdigest() == path.name:
                    _mark_used(path)
                    return data
                _remove(path)
        return None

    def get(self, key: str) -> Path | None:
        """Return the file that holds the value of `key`, checked just now, or None.

        Another process may prune it at any time; where that matters use `read`.
        """
        for path in self._values(key):
            with contextlib.suppress(OSError), _open(path) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == path.name:
                    _mark_used(path)
                    return path
                _remove(path)
        return None

    def put(self, key: str, value: bytes | Path) -> Path:
        """Store a value (or a copy of a file) and return its file. A value that is there already stays.

        Raises:
            InputError: the folder is not ours alone, or cannot be written. Nothing half-written is left.
        """
        folder = self._folder(key)
        if present := self.get(key):
            return present
        private_folder(self.root)
        try:
            return self._write(folder, value)
        except OSError as err:
            raise InputError(
                f"cannot write to the cache {self.root}: {err.strerror}",
                hint=f"make room there or set {VARIABLE} to another folder",
            ) from err

    def entries(self) -> Iterator[Entry]:
        """Yield every value, in no particular order."""
        for folder, _, _ in os.walk(self.root):  # not a glob: that fails when a folder vanishes under it
            key = Path(folder).name
            if not _HASH.fullmatch(key):
                continue
            for path in self._values(key):
                with contextlib.suppress(OSError):
                    found = path.lstat()
                    yield Entry(key=key, path=path, size=found.st_size, used=found.st_mtime)

    def prune(self, *, max_bytes: int | None = None, max_age: float | None = None) -> Pruned:
        """Remove values not used for `max_age` seconds, then the least recently used beyond `max_bytes`."""
        now = time.time()
        self._remove_unfinished(now)
        removed = removed_bytes = kept = kept_bytes = 0
        for entry in sorted(self.entries(), key=lambda entry: (-entry.used, entry.key)):
            old = max_age is not None and now - entry.used > max_age
            over = max_bytes is not None and kept_bytes + entry.size > max_bytes
            if old or over:
                _remove(entry.path)
                removed, removed_bytes = removed + 1, removed_bytes + entry.size
            else:
                kept, kept_bytes = kept + 1, kept_bytes + entry.size
        return Pruned(removed=removed, removed_bytes=removed_bytes, kept=kept, kept_bytes=kept_bytes)

    def _folder(self, key: str) -> Path:
        if not _HASH.fullmatch(key):
            raise InputError(f"not a key of the cache: {key!r}")
        return self.root / key[:2] / key

    def _values(self, key: str) -> list[Path]:
        """Files that claim to be the value; of several (tools that differ in secret) the first name wins."""
        folder = self._folder(key)
        try:
            return sorted(path for path in folder.iterdir() if _HASH.fullmatch(path.name))
        except OSError:
            return []

    def _write(self, folder: Path, value: bytes | Path) -> Path:
        unfinished = self.root / _UNFINISHED
        unfinished.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=unfinished)
        try:
            with os.fdopen(handle, "w+b") as file:
                _fill(file, value)
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return _move(Path(name), folder / digest)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _remove_unfinished(self, now: float) -> None:
        with contextlib.suppress(OSError):
            for path in (self.root / _UNFINISHED).iterdir():
                with contextlib.suppress(OSError):
                    if now - path.lstat().st_mtime > _STALE:
                        path.unlink()


def _open(path: Path) -> BufferedReader:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def _fill(file: BinaryIO, value: bytes | Path) -> None:
    if isinstance(value, bytes):
        file.write(value)
    else:
        with value.open("rb") as source:
            shutil.copyfileobj(source, file, 1 << 20)
    file.flush()


def _move(source: Path, target: Path) -> Path:
    """Rename, making the folder. A pruning may remove the still empty folder meanwhile, so try again."""
    for _ in range(100):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return source.replace(target)
    raise FileNotFoundError(2, "the folder vanishes as soon as it is made", str(target.parent))


def _mark_used(path: Path) -> None:
    with contextlib.suppress(OSError):  # a read-only cache still serves
        os.utime(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()
