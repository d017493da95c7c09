"""Judges one package: reads its files, grades its libraries, collects findings, and puts it in words."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from shim.errors import InputError
from shim.model import Finding, LibraryReport, Severity, Subject, Verdict, WheelReport
from shim.scan.alternatives import alternatives
from shim.scan.library import LibraryScan, scan_library
from shim.scan.options import ScanOptions
from shim.scan.platform import (
    cuda_findings,
    glibc_floor,
    linked_cuda,
    machines_of_tags,
    platform_findings,
)
from shim.scan.reading import CodeRead, grouped, read_device_code
from shim.scan.sources import Source
from shim.scan.verdict import headline, judge
from shim.scan.words import plural, size_text, version_text

_STARTS = ("setup.py", "pyproject.toml", "CMakeLists.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a package calls itself.

    Attributes:
        file: as the user named it.
        explain: find out what a package without device code is, which means to search its files for signs.
        tags: platform tags, () where there are none.
        required: gives the normalised names of the distributions it depends on, on a processor (None: on the one
            shim runs on); asked only when it matters.
    """

    subject: Subject
    name: str
    version: str
    file: str
    size: int
    explain: bool = True
    tags: tuple[str, ...] = ()
    required: Callable[[str | None], Collection[str]] = lambda machine: ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageScan:
    """A package as read and as reported.

    Attributes:
        libraries: of the files with device code, in the order of the report.
        errors: files of a folder that could not be read; the report is about the others.
    """

    report: WheelReport
    libraries: tuple[LibraryScan, ...]
    errors: tuple[InputError, ...]


def scan_package(identity: Identity, source: Source, options: ScanOptions) -> PackageScan:
    """Judge a package for the options' target.

    Errors of single files are returned, not raised: what they mean depends on where the files come from.
    """
    started = time.perf_counter()
    read = read_device_code(source, identity.name, options)
    timings = {"read": time.perf_counter() - started}
    libraries, errors = _libraries(read, source, options)
    timings["judge"] = time.perf_counter() - started - timings["read"]
    reports = [library.report for library in libraries]
    gates = None
    if wants_gates(identity.subject, source, options):
        from shim.scan.gates import find_package_gates

        gates = find_package_gates(source, libraries, options, name=identity.name, version=identity.version)
        timings["gates"] = time.perf_counter() - started - timings["read"] - timings["judge"]
    verdict, lead = _verdict(identity, reports, source, read, options)
    machines = machines_of_tags(identity.tags) or tuple(sorted({c.machine for c in read.codes.values()} - {""}))
    floor = glibc_floor(identity.tags, reports)
    findings = [
        *platform_findings(
            machines=machines, glibc=floor, machine=options.machine, target=options.target, where=identity.file
        ),
        *_findings(reports, libraries, source, identity, options, machines),
    ]
    if gates is not None:
        from shim.scan.gate_words import gate_findings, headline_with_gates

        findings.extend(gate_findings(gates))
        lead = headline_with_gates(lead, identity.subject, verdict, gates)
    report = WheelReport(
        subject=identity.subject,
        name=identity.name,
        version=identity.version,
        file=identity.file,
        size=identity.size,
        sha256="",
        verdict=verdict,
        headline=lead,
        platforms=machines,
        glibc="" if floor is None else version_text(floor),
        cuda=linked_cuda(reports),
        libraries=tuple(reports),
        findings=tuple(findings),
        gates=gates,
        timings={phase: round(seconds, 4) for phase, seconds in timings.items()},
    )
    return PackageScan(report=report, libraries=tuple(libraries), errors=(*read.errors, *errors))


def with_findings(scan: PackageScan, findings: Sequence[Finding]) -> PackageScan:
    """The scan with more findings."""
    return replace(scan, report=replace(scan.report, findings=(*scan.report.findings, *findings))) if findings else scan


def wants_gates(subject: Subject, source: Source, options: ScanOptions) -> bool:
    """Sources are searched for gates unless that is forbidden; what is installed or to be installed, when asked."""
    if options.gates is not None:
        return options.gates and subject is not Subject.FILE
    if subject is Subject.SDIST:
        return True
    return subject is Subject.DIRECTORY and any(file.path.rpartition("/")[2] in _STARTS for file in source.files)


def _libraries(read: CodeRead, source: Source, options: ScanOptions) -> tuple[list[LibraryScan], list[InputError]]:
    scans = [scan_library(code, options.target, files=files) for code, files in grouped(read.codes)]
    choices = alternatives([scan.report.member for scan in scans], options.target)
    errors: list[InputError] = []
    result = []
    for scan in scans:
        report = replace(scan.report, alternative=choices.get(scan.report.member))
        if options.kernels and report.files == 1:
            try:
                report = _with_kernels(scan, report, source, options)
            except InputError as error:
                errors.append(error)
        result.append(replace(scan, report=report))
    return result, errors


def _with_kernels(scan: LibraryScan, report: LibraryReport, source: Source, options: ScanOptions) -> LibraryReport:
    from shim.scan.kernel_findings import lowered
    from shim.scan.kernels import note_kernels

    return lowered(report, note_kernels(scan, source, options.target))


def _verdict(
    identity: Identity, reports: Sequence[LibraryReport], source: Source, read: CodeRead, options: ScanOptions
) -> tuple[Verdict, str]:
    if reports:
        verdict = judge(reports, options.target)
        return verdict, headline(reports, verdict)
    from shim.scan.kind import kind_of, no_device_code

    binaries = tuple(read.codes.values())
    if identity.explain and identity.subject is not Subject.FILE:
        kind = kind_of(identity.name, identity.subject, source, binaries)
    else:
        kind = no_device_code(binaries)
    verdict = Verdict(target=options.target, grade=kind.grade, reasons=kind.reasons, confidence=kind.confidence)
    return verdict, kind.headline


def _findings(
    reports: Sequence[LibraryReport],
    libraries: Sequence[LibraryScan],
    source: Source,
    identity: Identity,
    options: ScanOptions,
    machines: Sequence[str],
) -> Iterator[Finding]:
    if any(cuda_findings(reports, options.target, bundled=(), required=())):
        # Rare: only now is it worth to list the files and to read the metadata.
        bundled = {file.path.rpartition("/")[2] for file in source.files}
        # A package for another processor is judged with the dependencies it has there.
        own = machines[0] if len(machines) == 1 and machines[0] != "any" else options.machine
        yield from cuda_findings(reports, options.target, bundled=bundled, required=identity.required(own))
    for report in reports:
        if report.kernels is not None:
            from shim.scan.kernel_findings import kernel_findings

            yield from kernel_findings(report)
    for library in libraries:
        unknown = sum(span.size for span in library.code.unknown)
        if unknown:
            first = library.code.unknown[0]
            yield Finding(
                code="unknown-device-bytes",
                severity=Severity.WARNING,
                where=f"{library.code.member} at offset {first.offset:#x}",
                text=f"{plural(len(library.code.unknown), 'stretch')} of a device-code section that no format explains",
                evidence=f"{size_text(unknown)} in {first.section or 'the file'}",
                hint="report it: the file was made by a tool that shim does not know",
            )
