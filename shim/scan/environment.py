"""Scans everything installed under a prefix. Reports are kept in the cache folder until a file changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import shim
from shim.errors import InputError
from shim.model import EnvironmentReport, Finding, Severity, WheelReport
from shim.scan.codec import decode, encode
from shim.scan.installed import Distribution, distributions, owned_files, scan_distribution, triton_of
from shim.scan.known import GpuUse, gpu_use
from shim.scan.options import ScanOptions
from shim.scan.sources import is_candidate
from shim.store.folder import cache_root, private_folder

RULES: Final = 3
"""Goes up when the same files would get another report."""


def scan_environment(prefix: Path, options: ScanOptions, *, root: Path | None = None) -> EnvironmentReport:
    """Judge every distribution of a prefix that holds device code, and those known to have GPU builds.

    A distribution that cannot be read becomes a finding; the others are reported.

    Args:
        prefix: of the environment, or its site-packages.
        root: cache folder; shim's own when None.

    Raises:
        InputError: nothing is installed there.
    """
    found = distributions(prefix)
    cache = _Cache(private_folder((cache_root() if root is None else root) / "reports"), options)
    packages: list[WheelReport] = []
    findings: list[Finding] = []
    hits = 0
    for distribution in found:
        findings.extend(triton_of(distribution, options.target))
        try:
            kept = cache.get(distribution)
            hits += kept is not None
            report = kept or _scan(distribution, options, findings, cache)
        except InputError as error:
            findings.append(_unreadable(distribution, error))
            continue
        gated = any(gate.changes for gate in report.gates or ())
        if report.libraries or gated or gpu_use(distribution.name) is GpuUse.BINARY:
            packages.append(report)
    return EnvironmentReport(
        prefix=str(prefix),
        target=options.target,
        packages=tuple(packages),
        distributions=len(found),
        from_cache=hits,
        findings=tuple(findings),
    )


def _scan(distribution: Distribution, options: ScanOptions, findings: list[Finding], cache: _Cache) -> WheelReport:
    # Without device code only those known to have GPU builds are reported: no use to search the others for signs.
    scan = scan_distribution(distribution, options, explain=gpu_use(distribution.name) is GpuUse.BINARY)
    if scan.errors:
        findings.extend(_unreadable(distribution, error) for error in scan.errors)
    else:
        cache.put(distribution, scan.report)
    return scan.report


def _unreadable(distribution: Distribution, error: InputError) -> Finding:
    return Finding(
        code="unreadable",
        severity=Severity.ERROR,
        where=f"{distribution.name} {distribution.version}",
        text=error.message,
        hint=error.hint or "",
    )


@dataclass(frozen=True, slots=True)
class _Cache:
    """Reports by what they depend on: RECORD, identity of each file that is read, target, and the rules."""

    folder: Path
    options: ScanOptions

    def get(self, distribution: Distribution) -> WheelReport | None:
        path = self._path(distribution)
        try:
            return None if path is None else decode(WheelReport, json.loads(path.read_bytes()))
        except (OSError, ValueError, InputError):
            return None  # not there yet, or from another version: it is made anew

    def put(self, distribution: Distribution, report: WheelReport) -> None:
        path = self._path(distribution)
        if path is None:
            return
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(encode(report)))
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)  # a full cache disk must not fail a scan

    def _path(self, distribution: Distribution) -> Path | None:
        try:
            record = distribution.record.read_bytes()
        except OSError:
            return None
        parts = [
            f"{shim.__version__} {RULES} {self.options.target} {self.options.machine}",
            f"{self.options.kernels} {self.options.gates}",
            str(distribution.dist_info),
            hashlib.sha256(record).hexdigest(),
            *_identities(distribution, owned_files(distribution), sources=bool(self.options.gates)),
        ]
        key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self.folder / f"{key}.json"


def _identities(distribution: Distribution, files: Sequence[str], *, sources: bool) -> list[str]:
    """Device, inode, size and time of each file whose content a report depends on; `sources`: text files, too."""
    identities = []
    for name in files:
        if sources or is_candidate(name):
            status = (distribution.site / name).stat()
            identities.append(f"{name} {status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}")
    return identities
