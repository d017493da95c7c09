"""What quirks of build files do to the target."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from shim.arch import ComputeCapability
from shim.model import Confidence
from shim.source.buildfiles import cmake_quirks, python_quirks
from shim.source.buildfiles.archs import Coverage, cover, listed, read_list
from shim.source.buildfiles.model import Mention, Quirk
from shim.source.gates.model import Effect, Gate, Sign


class Make(Protocol):
    """Makes the gate of a mention."""

    def __call__(
        self, mention: Mention, form: str, effect: Effect, confidence: Confidence, words: str, *, sign: Sign = ...
    ) -> Gate: ...


def quirk_gates(quirks: Iterable[Quirk], target: ComputeCapability, make: Make) -> Iterator[Gate]:
    """One gate for each quirk that has a meaning for the target."""
    for quirk in quirks:
        if quirk.reached is False:
            continue
        match quirk.form:
            case python_quirks.DROPS_MINOR:
                yield make(quirk, quirk.form, *_drops_minor(target))
            case python_quirks.CLEARED:
                words = "takes the architecture list that the user set away"
                yield make(quirk, quirk.form, Effect.NONE, Confidence.MEDIUM, words, sign=Sign.NEUTRAL)
            case python_quirks.CUDA_MAJORS:
                words = "has no entry for CUDA 13: a toolkit whose minor version is not torch's own is refused"
                yield make(quirk, quirk.form, Effect.REFUSES, Confidence.MEDIUM, words)
            case python_quirks.BY_NAME:
                yield make(quirk, quirk.form, *_by_name(quirk, target))
            case _:
                gate = _cmake(quirk, target, make)
                if gate is not None:
                    yield gate


def _drops_minor(target: ComputeCapability) -> tuple[Effect, Confidence, str]:
    asked, made = str(target), f"{target.major}0"
    if target.minor == 0:
        return Effect.NONE, Confidence.HIGH, f"makes {made} of {asked}"
    words = f"drops what follows the point: {asked} becomes {made}, without a word"
    return Effect.DROPS, Confidence.HIGH, words


def _by_name(quirk: Quirk, target: ComputeCapability) -> tuple[Effect, Confidence, str]:
    known = quirk.detail.split(";")
    if listed(known, target):
        return Effect.NONE, Confidence.HIGH, f"has a branch for {target}"
    words = f"has branches for {', '.join(known)} only: a build that names {target.sm} gets no flags for it"
    return Effect.DROPS, Confidence.MEDIUM, words


def _cmake(quirk: Quirk, target: ComputeCapability, make: Make) -> Gate | None:
    match quirk.form:
        case cmake_quirks.SELECT_FLAGS if target.major >= 10:
            words = (
                f"CMake's FindCUDA does not know architectures of two digits: {target} stops the build "
                f"(Unknown CUDA Architecture Name), Auto gives {target}(2.0)"
            )
            return make(quirk, quirk.form, Effect.BREAKS_BUILD, Confidence.MEDIUM, words)
        case cmake_quirks.ONE_DIGIT if target.major >= 10:
            words = f"its pattern takes one digit before the point: {target} does not match"
            return make(quirk, quirk.form, Effect.BREAKS_BUILD, Confidence.MEDIUM, words)
        case cmake_quirks.FERMI if target.minor == 1 and target.major % 10 == 2:
            words = f'makes "{target}(2.0)" of a detected {target}: nvcc refuses compute_20'
            return make(quirk, quirk.form, Effect.BREAKS_BUILD, Confidence.HIGH, words)
        case cmake_quirks.NO_SUFFIX:
            words = f"its pattern drops the suffix a or f: code that needs {target.sm}a or f is compiled without"
            return make(quirk, quirk.form, Effect.MISLEADS, Confidence.MEDIUM, words, sign=Sign.POSITIVE)
        case cmake_quirks.INTERSECTION:
            return _intersection(quirk, target, make)
    return None


def _intersection(quirk: Quirk, target: ComputeCapability, make: Make) -> Gate | None:
    """Kernels compiled only where the list and the build's own meet. Lists for other families alone are right."""
    named = read_list(quirk.detail)
    if named is None:
        return None
    same_major = any(name.rstrip("af")[:-1] == str(target.major) for name in named.archs)
    fits = cover(named.sass, named.virtual, target) is Coverage.SASS
    if fits:
        return make(quirk, quirk.form, Effect.NONE, Confidence.MEDIUM, f"compiled for {quirk.detail}: {target} runs it")
    if not same_major:
        words = f"compiled for {quirk.detail} alone, other families"
        return make(quirk, quirk.form, Effect.NONE, Confidence.MEDIUM, words, sign=Sign.EXACT)
    words = f"compiled for {quirk.detail}: a build for {target} leaves these kernels out"
    return make(quirk, quirk.form, Effect.DROPS, Confidence.MEDIUM, words)
