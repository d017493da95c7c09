"""A package without device code: CPU build, placeholder, compiled at run time, or not for GPUs at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shim.arch import Grade
from shim.devicecode import DeviceCode
from shim.model import Confidence, Subject
from shim.scan.evidence import compilers_used, cuda_is_none, cuda_sources, says_no_cuda
from shim.scan.known import GpuUse, gpu_use
from shim.scan.sources import Source
from shim.scan.words import listing, plural, size_text

_EMPTY: Final = 1000  # bytes of content below which no package does anything by itself
_EMPTY_KNOWN: Final = 20_000  # the same for a project that ships megabytes when it is real


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Why there is no device code, with the evidence."""

    grade: Grade
    headline: str
    reasons: tuple[str, ...]
    confidence: Confidence


def kind_of(name: str, subject: Subject, source: Source, binaries: Sequence[DeviceCode]) -> Kind:
    """Tell what a package without device code is.

    Args:
        name: of the distribution.
        subject: single files and folders are not looked into for more than their code.
        binaries: its ELF files, as read.
    """
    if subject is Subject.FILE:
        return _nothing(binaries)
    use = gpu_use(name)
    if subject is Subject.SDIST:
        return _source(name, source, use)
    return (
        _placeholder(source, binaries, use)
        or _cpu_only(name, source, binaries, use)
        or _at_runtime(name, source, binaries, use)
        or _nothing(binaries)
    )


def _nothing(binaries: Sequence[DeviceCode]) -> Kind:
    return Kind(
        grade=Grade.NO_DEVICE_CODE,
        headline="Holds no code for any GPU, and shows no sign that it should.",
        reasons=(f"{plural(len(binaries), 'compiled file')}, none with device code",),
        confidence=Confidence.MEDIUM,
    )


def _source(name: str, source: Source, use: GpuUse | None) -> Kind:
    sources = cuda_sources(source.files)
    if not sources and use is None:
        return _nothing(())
    evidence = [f"{plural(len(sources), 'CUDA source')}, such as {sources[0]}"] if sources else []
    if use is not None:
        evidence.append(f"{name} is known to use the GPU")
    return Kind(
        grade=Grade.JIT_AT_RUNTIME,
        headline="Source code: which GPUs it will run on is decided where it is built.",
        reasons=tuple(evidence),
        confidence=Confidence.HIGH,
    )


def _placeholder(source: Source, binaries: Sequence[DeviceCode], use: GpuUse | None) -> Kind | None:
    content = [file for file in source.files if ".dist-info/" not in file.path]
    size = sum(file.size for file in content)
    if binaries or size >= (_EMPTY_KNOWN if use else _EMPTY):
        return None
    what = f"{plural(len(content), 'file')}, {size_text(size)} in all" if content else "no files of its own"
    return Kind(
        grade=Grade.PLACEHOLDER,
        headline="A placeholder: it holds no code to speak of.",
        reasons=(what,),
        confidence=Confidence.HIGH if size < _EMPTY else Confidence.MEDIUM,
    )


def _cpu_only(name: str, source: Source, binaries: Sequence[DeviceCode], use: GpuUse | None) -> Kind | None:
    if not binaries or use is GpuUse.RUNTIME:
        return None
    evidence = []
    if path := cuda_is_none(source):
        evidence.append(f"{path} says cuda = None")
    else:
        path, sentence = says_no_cuda(source, [code.member for code in binaries])
        if path:
            evidence.append(f'{path} can say "{sentence}"')
    if use is GpuUse.BINARY:
        evidence.append(f"GPU builds of {name} carry device code, this one has none")
    if not evidence:
        return None
    return Kind(
        grade=Grade.CPU_ONLY,
        headline="A CPU build: it installs and imports, and leaves the GPU idle. Look for a CUDA build.",
        reasons=tuple(evidence),
        confidence=Confidence.HIGH if len(evidence) > 1 or use is None else Confidence.MEDIUM,
    )


def _at_runtime(name: str, source: Source, binaries: Sequence[DeviceCode], use: GpuUse | None) -> Kind | None:
    evidence = []
    if sources := cuda_sources(source.files):
        evidence.append(f"{plural(len(sources), 'CUDA source')}, such as {sources[0]}")
    compilers = compilers_used(source)
    evidence.extend(
        f"{plural(count, 'Python file')} {'uses' if count == 1 else 'use'} {compiler}"
        for compiler, count in compilers.most_common(4)
    )
    linked = sorted({lib for code in binaries for lib in code.needed if lib.startswith("libnvrtc.so")})
    if linked:
        evidence.append(f"links {listing(linked)}")
    if use is GpuUse.RUNTIME:
        evidence.append(f"{name} is known to compile on the user's machine")
    if not evidence:
        return None
    return Kind(
        grade=Grade.JIT_AT_RUNTIME,
        headline="Compiles its GPU code on the machine it runs on: what matters is the compiler there.",
        reasons=tuple(evidence),
        confidence=Confidence.HIGH if use is GpuUse.RUNTIME else Confidence.MEDIUM,
    )
