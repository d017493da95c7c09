"""Scans a wheel, or another zip file, without unpacking it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from shim.model import Subject
from shim.scan.options import ScanOptions
from shim.scan.package import Identity, PackageScan, scan_package, with_findings
from shim.scan.sources import ZipSource
from shim.scan.triton import triton_findings
from shim.wheels.archive import WheelArchive
from shim.wheels.limits import Limits


def scan_wheel(path: Path, options: ScanOptions, *, limits: Limits | None = None) -> PackageScan:
    """Judge a wheel. RECORD is parsed; its hashes are left to `verify` and `patch`.

    Raises:
        InputError: not a sound wheel, or a member that cannot be read or contradicts itself.
    """
    from shim.wheels.record import read_record

    with WheelArchive.open(path, limits=limits) as archive:
        read_record(archive)
        name = archive.name
        identity = Identity(
            subject=Subject.WHEEL,
            name=path.name if name is None else name.distribution,
            version="" if name is None else name.version,
            file=str(path),
            size=path.stat().st_size,
            tags=() if name is None else tuple(name.platform.split(".")),
            required=lambda machine: _required(archive, machine),
        )
        source = ZipSource(archive)
        scan = scan_package(identity, source, options)
        findings = triton_findings(identity.name, identity.version, source, options.target)
    if scan.errors:
        raise scan.errors[0]
    return with_findings(scan, findings)


def _required(archive: WheelArchive, machine: str | None) -> Collection[str]:
    from shim.scan.requirements import names_for
    from shim.wheels.metadata import read_metadata

    return names_for(read_metadata(archive).requires_dist, machine)
