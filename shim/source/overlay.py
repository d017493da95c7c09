"""Source trees beside plain folders: edited ones, chosen files of a folder, members of an archive."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shim.errors import InputError
from shim.source.edits import FileEdit
from shim.source.tree import FolderTree, SourceTree

if TYPE_CHECKING:
    from shim.wheels.archive import WheelArchive


class EditedTree:
    """Another tree with some files replaced or added; that tree is not changed."""

    def __init__(self, tree: SourceTree, changed: Mapping[str, bytes]) -> None:
        self._tree = tree
        self._changed = dict(changed)

    def names(self) -> Collection[str]:
        return list(dict.fromkeys([*self._tree.names(), *self._changed]))

    def read(self, name: str) -> bytes:
        return self._changed[name] if name in self._changed else self._tree.read(name)

    def with_edits(self, edits: Iterable[FileEdit]) -> EditedTree:
        """The tree after further edits."""
        return EditedTree(self._tree, {**self._changed, **{edit.path: edit.after for edit in edits}})


class NamedTree(FolderTree):
    """Those files of a folder that a list names, such as a RECORD. Links may lead out of the folder."""

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        super().__init__(root)
        self._names = tuple(dict.fromkeys(names))

    def names(self) -> Collection[str]:
        return self._names

    def read(self, name: str) -> bytes:
        if name not in self._names:
            raise InputError(f"{self.root}: no file {name!r} is listed", hint="the recipe names another file")
        try:
            return (self.root / name).read_bytes()
        except OSError as error:
            raise InputError(f"{self.root / name}: {error.strerror}", hint="reinstall the package") from error


class ArchiveTree:
    """Members of a wheel or of another zip file, read when they are asked for."""

    def __init__(self, archive: WheelArchive) -> None:
        self._archive = archive

    def names(self) -> Collection[str]:
        return [member.path for member in self._archive.members if not member.is_dir]

    def read(self, name: str) -> bytes:
        if name not in self._archive:
            raise InputError(f"{self._archive.path}: no member {name!r}", hint="the recipe names another file")
        return self._archive.read(self._archive.member(name))
