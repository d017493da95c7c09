"""What the kernels of a library mean for its report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from shim.arch import Grade
from shim.model import Finding, KernelNote, LibraryReport, Severity
from shim.scan.kernels import MISSING, OTHER_ARCH, SUSPICIOUS
from shim.scan.words import plural


def lowered(report: LibraryReport, notes: tuple[KernelNote, ...]) -> LibraryReport:
    """The report with its kernels; `partial` when the image that will be chosen lacks some."""
    missing = [note for note in notes if note.status == MISSING]
    if not missing:
        return replace(report, kernels=notes)
    reason = (
        f"{plural(len(missing), 'kernel')} missing from the code that will be chosen, though other code of "
        f"the same container has them ({_example(missing)})"
    )
    return replace(
        report,
        kernels=notes,
        grade=min(report.grade, Grade.PARTIAL),
        reasons=(reason, *report.reasons),
    )


def kernel_findings(report: LibraryReport) -> Iterator[Finding]:
    """Findings on the kernels of one library."""
    notes = report.kernels or ()
    missing = [note for note in notes if note.status == MISSING]
    if missing:
        yield Finding(
            code="kernel-missing",
            severity=Severity.ERROR,
            where=report.member,
            text=f"{plural(len(missing), 'kernel')} missing from the image that will be chosen",
            evidence=_example(missing),
            hint="rebuild these kernels for the device; launching them fails",
        )
    shells = [note for note in notes if note.status == SUSPICIOUS]
    if shells:
        yield Finding(
            code=SUSPICIOUS,
            severity=Severity.WARNING,
            where=report.member,
            text=f"{plural(len(shells), 'kernel')} empty or nearly so in the image that will be chosen",
            evidence=_example(shells),
            hint="they may be shells by design; do not open a gate that leads to them",
        )
    foreign = [note for note in notes if note.status == OTHER_ARCH]
    if foreign:
        yield Finding(
            code="other-arch-kernels",
            severity=Severity.INFO,
            where=report.member,
            text=f"{plural(len(foreign), 'kernel')} for other GPU families only",
            evidence=_example(foreign),
        )


def _example(notes: Sequence[KernelNote]) -> str:
    first = notes[0]
    size = "" if first.size is None else f", {first.size:,} bytes against {first.largest:,}"
    return f"{first.name} in container {first.container} ({', '.join(first.images)}{size})"
