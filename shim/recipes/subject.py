"""What recipes are carried out on: a wheel, a source distribution or a folder, with its name, version and files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shim.errors import InputError
from shim.recipes.model import AppliesTo
from shim.scan.folder import list_folder
from shim.scan.sdist import unpack
from shim.scan.sources import Source, TreeSource, ZipSource
from shim.source.overlay import ArchiveTree
from shim.source.tree import FolderTree, SourceTree
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSubject:
    """One package, readable while its context lasts.

    Attributes:
        kind: WHEEL or SDIST. package, version: "" for a folder that does not say.
        tree: its files; those of an sdist start below its top folder. source: the same for the scanner.
    """

    kind: AppliesTo
    package: str
    version: str
    tree: SourceTree
    source: Source


@contextmanager
def open_subject(path: Path, limits: Limits | None = None) -> Iterator[PackageSubject]:
    """Open a wheel (members are read when asked for), an sdist (unpacked to a temporary folder) or a folder.

    Raises:
        InputError: it is damaged, or none of these.
    """
    if path.is_dir():
        yield _folder(path, *_named(path))
    elif path.suffix == ".whl":
        with WheelArchive.open(path, limits=limits) as archive:
            name = archive.name
            yield PackageSubject(
                kind=AppliesTo.WHEEL,
                package="" if name is None else str(name.normalized),
                version="" if name is None else str(name.version),
                tree=ArchiveTree(archive),
                source=ZipSource(archive),
            )
    elif path.name.endswith((".tar.gz", ".tgz")):
        with tempfile.TemporaryDirectory(prefix="shim-sdist-") as folder:
            unpack(path, Path(folder), limits or Limits())
            yield _folder(_top(Path(folder)), *_sdist_name(path))
    else:
        raise InputError(
            f"{path}: expected a wheel, a source distribution (.tar.gz) or a folder",
            hint="name the file that the index has, or the folder of an unpacked source",
        )


def _folder(root: Path, package: str, version: str) -> PackageSubject:
    return PackageSubject(
        kind=AppliesTo.SDIST,
        package=package,
        version=version,
        tree=FolderTree(root),
        source=TreeSource(root, list_folder(root).names),
    )


def _top(folder: Path) -> Path:
    """The one folder in it, else itself."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _sdist_name(path: Path) -> tuple[str, str]:
    from packaging.utils import InvalidSdistFilename, parse_sdist_filename

    try:
        name, version = parse_sdist_filename(path.name)
    except InvalidSdistFilename:
        return "", ""
    return name, str(version)


def _named(root: Path) -> tuple[str, str]:
    """Name and version from PKG-INFO, which every unpacked sdist has."""
    from packaging.utils import canonicalize_name

    from shim.wheels.metadata import parse_metadata

    try:
        metadata = parse_metadata((root / "PKG-INFO").read_bytes())
    except (OSError, InputError):
        return "", ""
    return canonicalize_name(metadata.name), metadata.version
