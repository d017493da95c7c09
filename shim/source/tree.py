"""A set of source files by path, wherever they are."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Protocol

from shim.errors import InputError


class SourceTree(Protocol):
    """Paths use `/` and are relative to the root: a site-packages, an unpacked sdist, a wheel's members."""

    def names(self) -> Collection[str]: ...

    def read(self, name: str) -> bytes:
        """Raises InputError when there is no such file."""
        ...


class FolderTree:
    """Regular files below a folder. Links are not followed out of it."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def names(self) -> Collection[str]:
        return [
            path.relative_to(self.root).as_posix()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not path.is_symlink()
        ]

    def read(self, name: str) -> bytes:
        path = self.root / PurePosixPath(name)
        if not path.resolve().is_relative_to(self.root):
            raise InputError(f"{name}: leads out of {self.root}", hint="the package is not sound; do not install it")
        try:
            return path.read_bytes()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}", hint="the file list and the folder disagree") from error
