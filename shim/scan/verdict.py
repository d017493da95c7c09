"""From libraries to the verdict on the whole, and the sentence that leads a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shim.arch import Grade, Target
from shim.model import Confidence, Fit, LibraryReport, Verdict
from shim.scan.jit_cost import total
from shim.scan.words import listing, plural, span_text, version_text

_CERTAINTY: Final = {Confidence.LOW: 0, Confidence.MEDIUM: 1, Confidence.HIGH: 2}
_MAX_DEPTH: Final = 5  # folders of a path that a short name may have
_SHOWN: Final = 6  # reasons; the table has the rest


def judge(libraries: Sequence[LibraryReport], target: Target) -> Verdict:
    """The worst library that the target would load decides. `libraries` holds at least one with device code.

    Libraries made for other GPU families only decide when there is nothing else.
    """
    deciding = deciders(libraries)
    if not deciding:
        return _nothing_decides(libraries, target)
    grade = min(library.grade for library in deciding)
    worst = [library for library in deciding if library.grade is grade]
    names = short_names(libraries)
    reasons = [f"{names[library.member]}: {library.reasons[0]}" for library in worst if library.reasons]
    confidence = min((library.confidence for library in deciding), key=_CERTAINTY.__getitem__)
    if confidence is Confidence.HIGH and any(library.alternative for library in deciding):
        confidence = Confidence.MEDIUM
    return Verdict(target=target, grade=grade, reasons=_shorten(reasons), confidence=confidence)


def headline(libraries: Sequence[LibraryReport], verdict: Verdict) -> str:
    """What the verdict means to somebody with the target, and what to do."""
    device = f"compute capability {verdict.target.device}"
    deciding = deciders(libraries)
    match verdict.grade:
        case Grade.NATIVE:
            return f"Runs on {device} as it is, with machine code made for it. {_patch_others(libraries)}"
        case Grade.FAMILY | Grade.SAME_MAJOR:
            return f"Runs on {device} as it is: {_taken(deciding)} machine code fits. No patch is needed."
        case Grade.SAME_MAJOR_UNPROVEN:
            return (
                f"Should run on {device}: {_taken(deciding)} machine code of CUDA 12.8 or 12.9 is "
                f"reported to work, but NVIDIA's linker refuses it. {_patch_for_certainty(deciding)}"
            )
        case Grade.JIT:
            return f"Runs on {device} once the driver has compiled it: {_jit_words(deciding)}."
        case Grade.JIT_TOO_NEW:
            driver = version_text(verdict.target.driver_cuda)
            return (
                f"Fails with a driver of CUDA {driver}: its PTX is too new for that driver's compiler. "
                f"{_patch_words(deciding)}"
            )
        case Grade.PARTIAL | Grade.NONE:
            return f"{_failing(libraries, deciding, device)} {_patch_words(deciding)}".strip()
        case _:
            return f"No device code for {device}."


def _patch_others(libraries: Sequence[LibraryReport]) -> str:
    """Builds for other CUDA versions that this machine does not take may still want a patch."""
    others = [lib for lib in libraries if lib.alternative is not None and not lib.alternative.decides]
    wanting = sum(lib.patch.action in ("compile", "link", "optional") for lib in others)
    if wanting == 0:
        return "Nothing to patch."
    builds = "the build" if wanting == 1 else f"the {wanting} builds"
    return f"Nothing to patch for it; `shim patch` also makes {builds} for other CUDA versions native."


def deciders(libraries: Sequence[LibraryReport]) -> list[LibraryReport]:
    """The libraries that bear on the verdict. Static ones count where there are no others: somebody links them."""
    loaded = [library for library in libraries if library.decides]
    return loaded or [library for library in libraries if replace(library, static=False).decides]


def short_names(libraries: Sequence[LibraryReport]) -> dict[str, str]:
    """Member -> the shortest end of its path that no other library has; whole paths for sets of files."""
    names = {library.member: library.member for library in libraries}
    open_members = {library.member for library in libraries if library.files == 1}
    for depth in range(1, _MAX_DEPTH + 1):
        ends = {member: "/".join(member.split("/")[-depth:]) for member in names}
        counts = Counter(ends.values())
        settled = {member for member in open_members if counts[ends[member]] == 1}
        names.update((member, ends[member]) for member in settled)
        open_members -= settled
    return names


def _nothing_decides(libraries: Sequence[LibraryReport], target: Target) -> Verdict:
    foreign = [library for library in libraries if library.other_arch_only]
    if foreign:
        names = short_names(libraries)
        reasons = [f"{names[library.member]}: {library.reasons[0]}" for library in foreign if library.reasons]
        return Verdict(target=target, grade=Grade.NONE, reasons=_shorten(reasons), confidence=Confidence.HIGH)
    reasons = ["its containers hold no kernels, or only code that the package links by itself"]
    return Verdict(target=target, grade=Grade.NO_DEVICE_CODE, reasons=tuple(reasons), confidence=Confidence.MEDIUM)


def _shorten(reasons: Sequence[str]) -> tuple[str, ...]:
    if len(reasons) <= _SHOWN:
        return tuple(reasons)
    return (*reasons[: _SHOWN - 1], f"and {len(reasons) - _SHOWN + 1} more libraries")


def _taken(libraries: Sequence[LibraryReport]) -> str:
    return listing({taken.image: None for library in libraries for taken in library.takes}, limit=3)


def _jit_words(libraries: Sequence[LibraryReport]) -> str:
    cost = total(library.jit for library in libraries)
    if cost is None:
        return "first use takes longer"
    time = span_text(cost.seconds_low, cost.seconds_high)
    helped = any(library.patch.action in ("compile", "link") for library in libraries)
    advice = "; `shim patch` does that beforehand" if helped else ""
    return f"first use costs {time} of CPU time{advice}"


def _patch_words(libraries: Sequence[LibraryReport]) -> str:
    actions = {library.patch.action for library in libraries}
    if not actions.isdisjoint(("compile", "link")):
        rest = any(library.fits.get(Fit.NOTHING) for library in libraries)
        return "`shim patch` helps in part; the rest needs a rebuild." if rest else "`shim patch` mends that."
    return "Patching cannot help: rebuild it from source, or take a newer release." if libraries else ""


def _patch_for_certainty(libraries: Sequence[LibraryReport]) -> str:
    if any(library.patch.action == "optional" for library in libraries):
        return "`shim patch` makes it certain."
    return "There is no PTX to compile: try it on the device."


def _failing(libraries: Sequence[LibraryReport], deciding: Sequence[LibraryReport], device: str) -> str:
    short = short_names(libraries)
    if not deciding:
        names = listing((short[library.member] for library in libraries if library.other_arch_only), limit=3)
        return f"Does not run on {device}: all of its GPU code is for other GPU families ({names})."
    dead = [library for library in deciding if library.grade is Grade.NONE]
    if len(dead) == len(deciding):
        return f"Does not run on {device}: nothing in it loads there."
    if dead:
        names = listing((short[library.member] for library in dead), limit=3)
        share = f"{len(dead)} of {plural(len(deciding), 'library')}"
        return f"Part of it fails on {device}: nothing loads from {share} ({names})."
    partial = [library for library in deciding if library.grade is Grade.PARTIAL]
    names = listing((short[library.member] for library in partial), limit=3)
    lost = sum(library.fits.get(Fit.NOTHING, 0) for library in partial)
    what = f"nothing loads from {plural(lost, 'container')}" if lost else "kernels are missing"
    return f"Part of it fails on {device}: {what} of {names}."
