"""Scans several TARGETs and an environment; what goes wrong with one does not keep the others from being told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shim.errors import ShimError
from shim.model import EnvironmentReport, WheelReport
from shim.scan.options import ScanOptions
from shim.scan.targets import TargetOptions, scan_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Everything found, in the order of the TARGETs.

    Attributes:
        errors: (TARGET, error) for what could not be scanned.
        notes: what the user should know about where files came from.
    """

    reports: tuple[WheelReport, ...]
    environments: tuple[EnvironmentReport, ...]
    errors: tuple[tuple[str, ShimError], ...]
    notes: tuple[str, ...]


def scan_batch(texts: Sequence[str], prefixes: Sequence[Path], options: ScanOptions, where: TargetOptions) -> Batch:
    """Scan TARGETs, then the environments under the prefixes. Errors are collected, not raised."""
    reports: list[WheelReport] = []
    environments: list[EnvironmentReport] = []
    errors: list[tuple[str, ShimError]] = []
    notes: list[str] = []
    for text in texts:
        try:
            scan = scan_target(text, options, where)
        except ShimError as error:
            errors.append((text, error))
            continue
        reports.extend(scan.reports)
        errors.extend((text, error) for error in scan.errors)
        notes.extend(scan.notes)
    for prefix in prefixes:
        from shim.scan.environment import scan_environment

        try:
            environments.append(scan_environment(prefix, options))
        except ShimError as error:
            errors.append((f"--env {prefix}", error))
    return Batch(reports=tuple(reports), environments=tuple(environments), errors=tuple(errors), notes=tuple(notes))
