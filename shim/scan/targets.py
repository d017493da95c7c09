"""What a TARGET of the command line is, and its scan: file, folder, installed distribution or requirement."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shim.devicecode import could_hold_device_code
from shim.errors import InputError, ShimError
from shim.model import WheelReport
from shim.scan.folder import list_folder, scan_file, scan_folder
from shim.scan.options import ScanOptions
from shim.scan.package import PackageScan, with_findings
from shim.scan.sources import unreadable
from shim.wheels.limits import Limits

_SDIST: Final = (".tar.gz", ".tgz", ".zip")
_FILE: Final = (".whl", *_SDIST, ".so", ".o", ".a", ".cubin", ".fatbin", ".ptx", ".ltoir")
_EXPECTED: Final = "a wheel, an sdist, an ELF file, an .a archive, a .cubin, .fatbin, .ptx or .ltoir file"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetOptions:
    """How TARGETs are found.

    Attributes:
        prefix: environment in which names of distributions are looked up.
        machine, python: what to fetch requirements for; None for this machine and this Python.
        limits: bounds on archives.
    """

    prefix: Path
    machine: str | None = None
    python: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetScan:
    """The scan of one TARGET: a folder gives several reports, and errors beside them.

    notes: what the user should know about where the files came from.
    """

    packages: tuple[PackageScan, ...]
    errors: tuple[ShimError, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def reports(self) -> tuple[WheelReport, ...]:
        """One report for each package."""
        return tuple(package.report for package in self.packages)


def scan_target(text: str, options: ScanOptions, where: TargetOptions) -> TargetScan:
    """Find out what TARGET is and scan it.

    Raises:
        UsageError: it is neither a path nor a requirement.
        InputError: it cannot be read or is damaged.
        ToolError: a requirement could not be fetched.
    """
    path = Path(text)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _scan_name(text, options, where)
    except OSError as error:
        raise unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        return _scan_folder(path, options, where)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: expected a file or a folder, found a device, pipe or socket")
    return TargetScan(packages=(_scan_file(path, status.st_size, options, where),))


def _scan_file(path: Path, size: int, options: ScanOptions, where: TargetOptions) -> PackageScan:
    if path.name.endswith(".whl"):
        from shim.scan.wheel import scan_wheel

        return scan_wheel(path, options, limits=where.limits)
    if path.name.endswith(_SDIST):
        from shim.scan.sdist import scan_sdist

        return scan_sdist(path, options, limits=where.limits)
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise unreadable(path, error) from error
    if not could_hold_device_code(path.name, head):
        found = "an empty file" if size == 0 else f"{size} bytes that start with {head!r}"
        raise InputError(f"{path}: expected {_EXPECTED}, found {found}", hint="check that this is the file you meant")
    return scan_file(path, options)


def _scan_folder(path: Path, options: ScanOptions, where: TargetOptions) -> TargetScan:
    listing = list_folder(path)
    packages: list[PackageScan] = []
    errors: list[ShimError] = list(listing.errors)
    if not listing.wheels and not listing.names and not errors:
        raise InputError(f"{path}: expected files to scan, found an empty folder")
    for name in listing.wheels:
        try:
            packages.append(_scan_file(path / name, (path / name).stat().st_size, options, where))
        except ShimError as error:
            errors.append(error)
    if listing.names:
        loose = scan_folder(path, listing.names, options)
        errors.extend(loose.errors)
        if loose.report.libraries or not packages:
            packages.append(loose)
    return TargetScan(packages=tuple(packages), errors=tuple(errors))


def _scan_name(text: str, options: ScanOptions, where: TargetOptions) -> TargetScan:
    if text.endswith(_FILE) or text.startswith((".", "~", "/")) or ("/" in text and "@" not in text):
        raise InputError(f"{text}: there is no such file or folder", hint="check the path")
    from shim.scan.fetch import fetch, parse_requirement
    from shim.scan.installed import find_distribution, scan_distribution, triton_of

    requirement = parse_requirement(text)
    if not requirement.specifier:
        installed = find_distribution(requirement.name, where.prefix)
        if installed is not None:
            scan = with_findings(scan_distribution(installed, options), triton_of(installed, options.target))
            return TargetScan(packages=(scan,), errors=scan.errors)
    fetched = fetch(requirement, machine=where.machine, python=where.python)
    notes = (
        () if requirement.specifier else (f"{text} is not installed in {where.prefix}: fetched {fetched.path.name}",)
    )
    scan = _scan_file(fetched.path, fetched.path.stat().st_size, options, where)
    return TargetScan(packages=(scan,), notes=(*notes, *([fetched.note] if fetched.note else [])))
