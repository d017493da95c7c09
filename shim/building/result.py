"""Is a built wheel what was promised: the architectures in every library that has device code?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shim.arch import Target
from shim.building.strategy import ArchPlan
from shim.errors import VerifyError
from shim.model import LibraryReport, WheelReport
from shim.scan.options import ScanOptions
from shim.scan.wheel import scan_wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A built wheel as scanned, and what was found to be as promised, in words."""

    report: WheelReport
    checks: tuple[str, ...]


def check_wheel(path: Path, plan: ArchPlan, target: Target, *, log: Path) -> Checked:
    """Scan a wheel.

    Raises:
        VerifyError: it has no device code, or a library lacks a promised architecture or the promised grade.
    """
    report = scan_wheel(path, ScanOptions(target=target)).report
    libraries = [one for one in report.libraries if one.grade.on_scale and not one.other_arch_only]
    if not libraries:
        raise VerifyError(
            f"{path.name}: was built, but holds no device code: its CUDA part was left out",
            hint=f"the output in {log} may tell why; a variable may be missing (--set NAME=VALUE)",
        )
    faults = [fault for library in libraries for fault in _faults(library, plan)]
    if faults:
        raise VerifyError(
            f"{path.name}: not as promised ({plan})\n" + "\n".join(faults[:8]),
            hint="the sources choose architectures in a place that no rule knows: a recipe is needed",
        )
    names = ", ".join(Path(library.member).name for library in libraries)
    return Checked(
        report=report,
        checks=(f"{plan} in {len(libraries)} of {len(libraries)} libraries with device code: {names}",),
    )


def _faults(library: LibraryReport, plan: ArchPlan) -> list[str]:
    found = []
    if str(plan.arch) not in library.sass:
        have = ", ".join(f"sm_{arch}" for arch in library.sass) or "no machine code"
        found.append(f"{library.member}: expected sm_{plan.arch}, found {have}")
    found += [
        f"{library.member}: expected PTX {ptx}, found {', '.join(library.ptx) or 'none'}"
        for ptx in plan.ptx
        if str(ptx) not in library.ptx
    ]
    if not found and library.grade < plan.promised:
        found.append(f"{library.member}: expected {plan.promised}, found {library.grade}")
    return found
