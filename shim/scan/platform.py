"""Can it be installed and imported: machine, glibc and CUDA libraries, of the target and of the package."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from shim.arch import ComputeCapability, Target
from shim.model import Finding, LibraryReport, Severity
from shim.scan.cuda_libraries import cuda_majors, providers
from shim.scan.words import listing, version_text

_MANYLINUX: Final = re.compile(r"manylinux_(\d+)_(\d+)_")
_LEGACY: Final = {"manylinux1_": (2, 5), "manylinux2010_": (2, 12), "manylinux2014_": (2, 17)}

# The system software of a DGX Spark, DGX OS 7, is built on Ubuntu 24.04, whose glibc is 2.39.
_GLIBC: Final = {ComputeCapability(12, 1): (2, 39)}


def machine_of(platform: str | None, target: Target) -> str | None:
    """The host processor to judge for: "aarch64", "x86_64", or None when nothing says.

    `platform` is the option: a processor, "native", or None for what the target device implies.
    """
    if platform == "native":
        import platform as system

        return system.machine()
    return platform or target.device.machine


def machines_of_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Processors that platform tags are for: ("any",) is for all, a tag of another system stays as it is."""
    found: dict[str, None] = {}
    for tag in tags:
        linux = re.fullmatch(r"(?:many|musl)?linux\w*?_(x86_64|aarch64|i686|armv7l|ppc64le|s390x|riscv64)", tag)
        found[linux[1] if linux else tag] = None
    return tuple(found)


def glibc_floor(tags: Sequence[str], libraries: Sequence[LibraryReport]) -> tuple[int, int] | None:
    """The oldest glibc that will do, by tags and by the symbols that the libraries ask for."""
    floors = [_parse(library.glibc) for library in libraries if library.glibc]
    tagged = [floor for floor in map(_tag_glibc, tags) if floor is not None]
    if tagged:
        floors.append(min(tagged))
    return max(floors, default=None)


def linked_cuda(libraries: Sequence[LibraryReport]) -> tuple[int, ...]:
    """CUDA majors that the deciding libraries can only link to."""
    exact = {majors[0] for _, _, majors in _linked(libraries) if len(majors) == 1}
    return tuple(sorted(exact))


def platform_findings(
    *,
    machines: Sequence[str],
    glibc: tuple[int, int] | None,
    machine: str | None,
    target: Target,
    where: str,
) -> Iterator[Finding]:
    """`wrong-platform` and `glibc-too-new`."""
    if machine and machines and "any" not in machines and machine not in machines:
        yield Finding(
            code="wrong-platform",
            severity=Severity.ERROR,
            where=where,
            text=f"made for {listing(machines)}, but the target's processor is {machine}",
            hint=f"take a build for {machine}, or rebuild from source there",
        )
    has = _GLIBC.get(target.device)
    if has is not None and glibc is not None and glibc > has:
        yield Finding(
            code="glibc-too-new",
            severity=Severity.ERROR,
            where=where,
            text=f"needs glibc {version_text(glibc)}; the target has {version_text(has)}",
            hint="take an older build, or rebuild from source there",
        )


def cuda_findings(
    libraries: Sequence[LibraryReport],
    target: Target,
    *,
    bundled: Collection[str],
    required: Collection[str],
) -> Iterator[Finding]:
    """`cuda-major-missing`: a library links CUDA of a major that the target's environment does not have.

    Args:
        bundled: file names inside the package.
        required: normalised names of the distributions it depends on for the target.
    """
    major = target.driver_cuda[0]
    missing: dict[int, dict[str, list[str]]] = {}
    for library, soname, majors in _linked(libraries):
        if major not in majors and soname not in bundled and providers(soname).isdisjoint(required):
            missing.setdefault(majors[-1], {}).setdefault(soname, []).append(library.member)
    for needed, sonames in missing.items():
        members = list(dict.fromkeys(member for users in sonames.values() for member in users))
        yield Finding(
            code="cuda-major-missing",
            severity=Severity.ERROR,
            where=members[0],
            text=f"links libraries of CUDA {needed}, which a CUDA {major} environment does not have",
            evidence=f"{listing(sonames)} needed by {listing(members, limit=3)}",
            hint=f"install NVIDIA's CUDA {needed} runtime wheels beside it, or take a build for CUDA {major}",
        )


def _linked(libraries: Sequence[LibraryReport]) -> Iterator[tuple[LibraryReport, str, tuple[int, ...]]]:
    """(library, soname, CUDA majors) for what the libraries that the target would load link of CUDA."""
    for library in libraries:
        if library.alternative is not None and not library.alternative.decides:
            continue
        for soname in library.needed:
            if majors := cuda_majors(soname):
                yield library, soname, majors


def _parse(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _tag_glibc(tag: str) -> tuple[int, int] | None:
    match = _MANYLINUX.match(tag)
    if match:
        return int(match[1]), int(match[2])
    return next((floor for prefix, floor in _LEGACY.items() if tag.startswith(prefix)), None)
