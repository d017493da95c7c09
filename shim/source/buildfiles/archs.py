"""Architectures as build files spell them, and what a list of them gives a device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shim.arch import Arch, ComputeCapability, ptx_loads, sass_loads

_NAME: Final = r"(?:\d{2,3}[af]?|\{[^{}\n]{1,60}\}|\$\{\w+\}|\$\(\w+\)|%[sd])"
_REAL: Final = rf"(?:sm|compute|lto)_{_NAME}"
GENCODE: Final = re.compile(
    rf"arch\s*=\s*(?:compute_(?P<virtual>{_NAME})|\{{[^{{}}\n]{{1,60}}\}})\s*,\s*"
    rf"code\s*=\s*(?P<code>\\*[\"'\[]?\\*\[?{_REAL}(?:\s*,\s*{_REAL})*\]?|\{{[^{{}}\n]{{1,60}}\}})".encode()
)
"""`arch=compute_80,code=sm_80` in the bytes of a file; `{x}`, `%s`, `${x}` and `$(x)` may stand for a number."""

NVCC_ARCH: Final = re.compile(
    rf"(?<![\w-])(?:-arch|--gpu-architecture)(?:\s*=\s*|[ \t]+|[\"']\s*,\s*[\"'])"
    rf"(?P<value>(?:sm|compute)_{_NAME}|native|all-major|all)(?![\w-])".encode()
)
"""`-arch=sm_60`; also as two strings of a list."""

_CODES: Final = re.compile(r"(sm|compute|lto)_(\d{2,3}[af]?)")
_TORCH_NAME: Final = re.compile(r"(\d{1,2})\.(\d)([af]?)(\+ptx)?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?:sm_?|compute_?)?(\d{2,3})([af]?)(-real|-virtual)?", re.IGNORECASE)
_OLDEST, _NEWEST = 20, 139  # 2.0 to 13.9: what can be a compute capability

_TOOLKIT_13_FIRST: Final = ComputeCapability(7, 5)
"""CUDA 13.0 removed everything older (CUDA 13.0 release notes; `nvcc --list-gpu-arch`)."""


class Coverage(StrEnum):
    """What a device gets of a list of architectures."""

    SASS = "machine code"
    PTX = "PTX only"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Architectures read from a text: for machine code and for PTX."""

    sass: tuple[str, ...]
    virtual: tuple[str, ...]

    @property
    def archs(self) -> tuple[str, ...]:
        """All of them, without doubles."""
        return tuple(dict.fromkeys((*self.sass, *self.virtual)))


def read_gencode(code: str) -> Named:
    """The `code=` part: "sm_80", "[sm_80,compute_80]"."""
    found = _CODES.findall(code)
    return Named(
        sass=tuple(name for kind, name in found if kind == "sm"),
        virtual=tuple(name for kind, name in found if kind != "sm"),
    )


def read_list(text: str, *, bare_is_both: bool = False) -> Named | None:
    """A list such as "8.0 8.6+PTX", "80;90;120-real" or "sm_80,sm_90"; None when some part is no architecture.

    Args:
        bare_is_both: a name without `-real` or `-virtual` stands for machine code and PTX, as in CMake.
    """
    sass: list[str] = []
    virtual: list[str] = []
    parts = [part for part in re.split(r"[;,\s]+", text.strip().strip("\"'")) if part]
    for part in parts:
        if match := _TORCH_NAME.fullmatch(part):
            name = f"{match[1]}{match[2]}{match[3].lower()}"
            kinds = (sass, virtual) if match[4] or bare_is_both else (sass,)
        elif match := _NUMBER.fullmatch(part):
            name = f"{match[1]}{match[2].lower()}"
            kinds = {"-real": (sass,), "-virtual": (virtual,)}.get(
                (match[3] or "").lower(), (sass, virtual) if bare_is_both else (sass,)
            )
        else:
            return None
        if not _OLDEST <= int(name.rstrip("af")) <= _NEWEST:
            return None
        for kind in kinds:
            kind.append(name)
    if not parts:
        return None
    return Named(sass=tuple(dict.fromkeys(sass)), virtual=tuple(dict.fromkeys(virtual)))


def cover(sass: Iterable[str], virtual: Iterable[str], device: ComputeCapability) -> Coverage:
    """What the device gets from machine code and PTX of these architectures."""
    if any(sass_loads(arch, device) for arch in _archs(sass)):
        return Coverage.SASS
    return Coverage.PTX if any(ptx_loads(arch, device) for arch in _archs(virtual)) else Coverage.NOTHING


def retired(names: Sequence[str]) -> tuple[str, ...]:
    """Those that nvcc of CUDA 13 refuses because they are too old."""
    return tuple(name for name, arch in zip(names, _archs(names), strict=True) if arch.capability < _TOOLKIT_13_FIRST)


def listed(names: Sequence[str], device: ComputeCapability) -> bool:
    """Whether the device's own capability is among them, with any suffix."""
    return any(arch.capability == device for arch in _archs(names))


def _archs(names: Iterable[str]) -> Iterator[Arch]:
    return (Arch.parse(name) for name in names)
