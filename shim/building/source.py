"""The sources to build, brought into a work folder: a fetched or given sdist, or a copy of a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shim.errors import InputError, ToolError, UsageError
from shim.scan.sdist import unpack
from shim.store.folder import cache_root, private_folder
from shim.toolchain.toolstore import is_offline
from shim.wheels.limits import Limits

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_SDIST: Final = (".tar.gz", ".tgz", ".zip")
_LEFT_OUT: Final = frozenset({".git", ".hg", "__pycache__", "build", "dist", ".venv", "venv", ".tox", "node_modules"})
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What the user named: a file or a folder.

    Attributes:
        sha256: of the file, or of the names and contents of the folder's files.
        filename: of the sdist, "" for a folder.
    """

    path: Path
    filename: str
    sha256: str


def find_source(subject: str, *, python: str | None = None) -> Source:
    """Find a folder, an sdist, or fetch the sdist of a requirement (hash-checked, kept in the cache).

    Raises:
        UsageError: it is none of these, such as a wheel.
        InputError: no index has an sdist of it, or the file is not the one that the index describes.
        ToolError: nothing may be fetched (SHIM_OFFLINE), or no index answers.
    """
    path = Path(subject)
    if path.is_dir():
        return Source(path=path.resolve(), filename="", sha256=_folder_digest(path))
    if path.is_file() or path.name.endswith(_SDIST) or (os.sep in subject and not path.exists()):
        path.stat()
        if not path.name.endswith(_SDIST):
            raise UsageError(
                f"{subject}: not a source distribution", hint="name a .tar.gz or .zip sdist, a folder or a requirement"
            )
        return Source(path=path.resolve(), filename=path.name, sha256=_file_digest(path))
    from shim.scan.fetch import parse_requirement

    fetched = fetch_source(parse_requirement(subject), python=python)
    return Source(path=fetched, filename=fetched.name, sha256=_file_digest(fetched))


def fetch_source(requirement: Requirement, *, python: str | None = None) -> Path:
    """Fetch the sdist of a requirement into the cache; see `find_source` for errors."""
    from shim.scan.index import fetch_sdist

    key = hashlib.sha256(f"sdist\n{requirement}\n{python}".encode()).hexdigest()[:20]
    folder = private_folder(cache_root() / "sdists") / key
    kept = sorted(folder.glob("*")) if folder.is_dir() else []
    pinned = any(one.operator in ("==", "===") and "*" not in one.version for one in requirement.specifier)
    if kept and pinned:
        return kept[0]
    if is_offline():
        raise ToolError(f"{requirement}: not in the cache, and SHIM_OFFLINE forbids fetching it")
    temporary = private_folder(folder.parent / f".{key}-{os.getpid()}")
    try:
        found = fetch_sdist(requirement, python=python, folder=temporary)
        if found is None:
            raise InputError(
                f"{requirement}: no index has a source distribution of it",
                hint="its authors publish wheels only: name a folder with its sources instead",
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return found.replace(folder / found.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def bring(source: Source, folder: Path, limits: Limits) -> Path:
    """Put the sources into an empty folder and return their root (of an sdist: its one inner folder).

    Raises:
        InputError: the archive is damaged, a bomb, or holds names that lead out of it.
    """
    if not source.filename:
        _copy(source.path, folder, limits)
        return folder
    if source.filename.endswith(".zip"):
        _unzip(source.path, folder, limits)
    else:
        unpack(source.path, folder, limits)
    _restore_modes(folder)
    inside = list(folder.iterdir())
    if not inside:
        raise InputError(f"{source.path}: holds no files", hint="fetch it again; it may have been cut short")
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _copy(source: Path, folder: Path, limits: Limits) -> None:
    total = 0
    for count, path in enumerate(_files(source), 1):
        total += path.stat().st_size
        if count > limits.max_members or total > limits.max_total_size:
            raise InputError(f"{source}: too large to copy", hint="raise --max-members or --max-total-size")
        destination = folder / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, destination)


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT and not name.endswith(".egg-info"))
        yield from (path for name in sorted(names) if (path := Path(folder) / name).is_file() and not path.is_symlink())


def _unzip(path: Path, folder: Path, limits: Limits) -> None:
    from shim.wheels.archive import WheelArchive

    with WheelArchive.open(path, limits=limits) as archive:
        for member in archive.members:
            if member.is_dir:
                continue
            destination = folder / member.path  # checked by the reader: relative, and inside
            destination.parent.mkdir(parents=True, exist_ok=True)
            with destination.open("wb") as out:
                out.writelines(archive.stream(member))


def _restore_modes(folder: Path) -> None:
    """Unpacking keeps contents only; builds call scripts of theirs, which start with `#!`."""
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_size > 2:
            with path.open("rb") as stream:
                if stream.read(2) == b"#!":
                    path.chmod(0o755)


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _folder_digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in _files(root):
        digest.update(
            f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape")
        )
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
    return digest.hexdigest()
