"""Judges one file: from what its containers hold to a grade with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shim.arch import Arch, Grade, Target, sorted_archs
from shim.devicecode.model import ContainerRole, DeviceCode, ImageKind
from shim.model import Confidence, Fit, LibraryReport, LooseCount, Taken
from shim.scan.containers import LOADS, Decision, decide, image_name
from shim.scan.jit_cost import jit_cost
from shim.scan.outlook import outlook
from shim.scan.reasons import reasons
from shim.scan.words import version_text

GRADE_OF_FIT: Final = {
    Fit.NATIVE: Grade.NATIVE,
    Fit.FAMILY: Grade.FAMILY,
    Fit.SAME_MAJOR: Grade.SAME_MAJOR,
    Fit.UNPROVEN: Grade.SAME_MAJOR_UNPROVEN,
    Fit.JIT: Grade.JIT,
    Fit.JIT_TOO_NEW: Grade.JIT_TOO_NEW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryScan:
    """A library as read, as judged container by container, and as reported."""

    code: DeviceCode
    decisions: tuple[Decision, ...]
    report: LibraryReport


def scan_library(code: DeviceCode, target: Target, *, files: int = 1) -> LibraryScan:
    """Judge everything one file holds for the GPU. Reads nothing.

    `files`: how many files `code` stands for (`shim.scan.loose.as_one`).
    """
    decisions = decide(code, target)
    fits = _count_fits(decisions)
    archs = _archs(decisions)
    total = sum(sum(decision.group.stored_bytes) for decision in decisions)
    report = LibraryReport(
        member=code.member,
        format=code.format,
        machine=code.machine,
        size=code.size,
        files=files,
        static=code.format == "ar" or code.elf_type == "rel",
        grade=grade_of(fits),
        other_arch_only=_only_other_archs(fits),
        reasons=reasons(decisions, target),
        confidence=_confidence(decisions),
        sass=archs[ImageKind.SASS],
        ptx=archs[ImageKind.PTX],
        lto=archs[ImageKind.LTO_IR],
        takes=_takes(decisions),
        fits=fits,
        device_code_bytes=total,
        dead_bytes=total - _live_bytes(decisions),
        jit=jit_cost(decisions),
        patch=outlook(decisions, target),
        alternative=None,
        needed=code.needed,
        glibc="" if code.glibc is None else version_text(code.glibc),
        kernels=None,
        loose=_loose(decisions),
    )
    return LibraryScan(code=code, decisions=decisions, report=report)


def grade_of(fits: Mapping[Fit, int]) -> Grade:
    """Grade of a library: its worst container; `partial` / `none` where some / all have nothing."""
    usable = [GRADE_OF_FIT[fit] for fit in fits if fit in LOADS]
    if Fit.NOTHING in fits:
        return Grade.PARTIAL if usable else Grade.NONE
    if usable:
        return min(usable)
    return Grade.NONE if Fit.OTHER_ARCH in fits else Grade.NO_DEVICE_CODE


def _loose(decisions: Sequence[Decision]) -> tuple[LooseCount, ...]:
    """Images outside of containers by architecture and fit, as architectures are listed."""
    counts: Counter[tuple[ImageKind, Arch | None, Fit]] = Counter()
    sizes: Counter[tuple[ImageKind, Arch | None, Fit]] = Counter()
    for decision in decisions:
        if decision.loose:
            key = (decision.images[0].kind, decision.images[0].arch, decision.fit)
            counts[key] += decision.count
            sizes[key] += sum(decision.group.stored_bytes)
    order = sorted_archs(arch for _, arch, _ in counts if arch is not None)
    names = {image.kind: image for decision in decisions if decision.loose for image in decision.images}
    return tuple(
        LooseCount(image=image_name(replace(names[kind], arch=arch)), fit=fit, count=count, size=sizes[kind, arch, fit])
        for (kind, arch, fit), count in sorted(
            counts.items(),
            key=lambda item: (
                item[0][0],
                -1 if item[0][1] is None else order.index(item[0][1]),
                list(Fit).index(item[0][2]),
            ),
        )
    )


def _only_other_archs(fits: Mapping[Fit, int]) -> bool:
    return Fit.OTHER_ARCH in fits and Fit.NOTHING not in fits and LOADS.isdisjoint(fits)


def _count_fits(decisions: Sequence[Decision]) -> dict[Fit, int]:
    counts: Counter[Fit] = Counter()
    for decision in decisions:
        if decision.counted:
            counts[decision.fit] += decision.count
    return {fit: counts[fit] for fit in Fit if counts[fit]}


def _live_bytes(decisions: Sequence[Decision]) -> int:
    """Bytes as stored that the target may load; all of what is not judged counts as such."""
    live = 0
    for decision in decisions:
        if decision.fit is Fit.NOT_JUDGED:
            live += sum(decision.group.stored_bytes)
        elif decision.live and decision.chosen is not None:
            live += decision.group.stored_bytes[decision.chosen]
    return live


def _archs(decisions: Sequence[Decision]) -> dict[ImageKind, tuple[str, ...]]:
    found = [(image.kind, image.arch) for decision in decisions for image in decision.images]
    return {
        wanted: tuple(str(a) for a in sorted_archs(arch for kind, arch in found if kind is wanted and arch))
        for wanted in ImageKind
    }


def _takes(decisions: Sequence[Decision]) -> tuple[Taken, ...]:
    counts: Counter[str] = Counter()
    for decision in decisions:
        if decision.live and decision.taken is not None:
            counts[image_name(decision.taken)] += decision.count
    return tuple(Taken(image=name, containers=count) for name, count in counts.most_common())


def _confidence(decisions: Sequence[Decision]) -> Confidence:
    counted = [decision for decision in decisions if decision.counted]
    if any(decision.fit is Fit.UNPROVEN for decision in counted):
        return Confidence.LOW
    inferred = any(d.linked_at_run_time or d.role is ContainerRole.EMBEDDED for d in counted)
    return Confidence.MEDIUM if inferred else Confidence.HIGH
