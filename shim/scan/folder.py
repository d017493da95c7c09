"""Scans a folder: the wheels in it one by one, everything else together."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from shim.errors import InputError
from shim.model import Subject
from shim.scan.options import ScanOptions
from shim.scan.package import Identity, PackageScan, scan_package
from shim.scan.sources import TreeSource, unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Regular files under a folder, relative to it, and what could not be listed.

    Attributes:
        wheels: of the names, those that end with .whl; `names` are the others.
    """

    names: tuple[str, ...]
    wheels: tuple[str, ...]
    errors: tuple[InputError, ...]


def scan_file(path: Path, options: ScanOptions) -> PackageScan:
    """Judge a single file: a shared object, executable, object, archive, .cubin, .fatbin, .ptx or .ltoir.

    Raises:
        InputError: it cannot be read, or contradicts itself.
    """
    source = TreeSource(path.parent, [path.name])
    identity = Identity(subject=Subject.FILE, name=path.name, version="", file=str(path), size=source.files[0].size)
    scan = scan_package(identity, source, options)
    if scan.errors:
        raise scan.errors[0]
    return scan


def scan_folder(path: Path, names: tuple[str, ...], options: ScanOptions) -> PackageScan:
    """Judge files of a folder as one package. Those that cannot be read are in the result's errors."""
    source = TreeSource(path, names)
    identity = Identity(
        subject=Subject.DIRECTORY,
        name=path.resolve().name,
        version="",
        file=str(path),
        size=sum(file.size for file in source.files),
    )
    return scan_package(identity, source, options)


def list_folder(root: Path) -> Listing:
    """Every regular file under a folder, each file once.

    Links to folders are not followed, so a loop of links ends; links to files are, unless the file itself is in
    the folder, too. What cannot be listed is told, not raised.
    """
    errors: list[InputError] = []
    entries = _walk(root, errors)
    own = {(status.st_dev, status.st_ino) for _, status, link in entries if not link}
    seen: set[tuple[int, int]] = set()
    names: list[str] = []
    for name, status, link in entries:
        identity = (status.st_dev, status.st_ino)
        if identity in seen or (link and identity in own):
            continue
        seen.add(identity)
        names.append(name)
    return Listing(
        names=tuple(name for name in names if not name.endswith(".whl")),
        wheels=tuple(name for name in names if name.endswith(".whl")),
        errors=tuple(errors),
    )


def _walk(root: Path, errors: list[InputError]) -> list[tuple[str, os.stat_result, bool]]:
    def refused(error: OSError) -> None:
        errors.append(unreadable(Path(error.filename or root), error))

    found = []
    for folder, folders, files in os.walk(root, onerror=refused):
        folders.sort()
        for path in (Path(folder, name) for name in sorted(files)):
            try:
                status = path.stat()
            except OSError as error:
                if not path.is_symlink():  # a dangling or circular link holds nothing to scan
                    errors.append(unreadable(path, error))
                continue
            if stat.S_ISREG(status.st_mode):
                found.append((path.relative_to(root).as_posix(), status, path.is_symlink()))
    return found
