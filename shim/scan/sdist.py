"""Scans a source distribution. It is unpacked by shim itself; none of its code runs."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath

from shim.errors import InputError
from shim.model import Subject
from shim.scan.folder import list_folder
from shim.scan.options import ScanOptions
from shim.scan.package import Identity, PackageScan, scan_package
from shim.scan.sources import Source, TreeSource, ZipSource, unreadable
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits

_NAME = re.compile(r"(?P<name>.+)-(?P<version>[0-9][^-]*)\.(?:tar\.gz|tgz|zip)")


def scan_sdist(path: Path, options: ScanOptions, *, limits: Limits | None = None) -> PackageScan:
    """Judge a source distribution (.tar.gz, .tgz or .zip).

    Raises:
        InputError: it is damaged, too large, or holds names that lead out of it.
    """
    if path.name.endswith(".zip"):
        with WheelArchive.open(path, limits=limits) as archive:
            return _scan(path, ZipSource(archive), options)
    with tempfile.TemporaryDirectory(prefix="shim-sdist-") as folder:
        unpack(path, Path(folder), limits or Limits())
        return _scan(path, TreeSource(Path(folder), list_folder(Path(folder)).names), options)


def unpack(path: Path, folder: Path, limits: Limits) -> None:
    """Write the regular files of a .tar.gz into an empty folder; links and devices are left out.

    Raises:
        InputError: as `scan_sdist`; also when the disk is full.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            _unpack_members(archive, path, folder, limits)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: not a sound .tar.gz: {error}", hint="fetch it again; it may have been cut short"
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _unpack_members(archive: tarfile.TarFile, path: Path, folder: Path, limits: Limits) -> None:
    total = 0
    for count, member in enumerate(archive, 1):
        if count > limits.max_members:
            raise _too_much(path, f"more than {limits.max_members} members", "--max-members")
        if not member.isreg():
            continue
        total += member.size
        if member.size > limits.max_member_size:
            raise _too_much(path, f"{member.name!r} has {member.size} bytes", "--max-member-size")
        if total > limits.max_total_size:
            raise _too_much(path, f"more than {limits.max_total_size} bytes", "--max-total-size")
        if total > max(limits.ratio_floor, limits.max_ratio * path.stat().st_size):
            raise _too_much(path, f"more than {limits.max_ratio:g} bytes from each compressed byte", "--max-ratio")
        destination = folder / _safe(member.name, path)
        destination.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        if content is not None:
            with content, destination.open("wb") as out:
                shutil.copyfileobj(content, out, 1 << 20)


def _safe(name: str, path: Path) -> PurePosixPath:
    inner = PurePosixPath(name)
    if inner.is_absolute() or ".." in inner.parts or not inner.parts or "\0" in name:
        raise InputError(
            f"{path}: member {name!r}: expected a relative path inside the archive",
            hint="do not install it: it might write outside the folder it is unpacked to",
        )
    return inner


def _too_much(path: Path, what: str, option: str) -> InputError:
    return InputError(f"{path}: {what}", hint=f"raise {option} if the file is to be trusted")


def _scan(path: Path, source: Source, options: ScanOptions) -> PackageScan:
    match = _NAME.fullmatch(path.name)
    identity = Identity(
        subject=Subject.SDIST,
        name=path.name if match is None else match["name"],
        version="" if match is None else match["version"],
        file=str(path),
        size=path.stat().st_size,
    )
    scan = scan_package(identity, source, options)
    if scan.errors:
        raise scan.errors[0]
    return scan
