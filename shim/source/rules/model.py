"""What a generic rule is told, and what it gives back: edits of files and settings of the build's environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shim.arch import Arch

# `nvcc --list-gpu-code` of 12.9.86 and 13.0.88, numbers without suffix. CUDA 13 removed everything below 7.5.
_FIRST_OF_CUDA_13: Final = frozenset({75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121})
_OF_CUDA_12: Final = frozenset({50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 101, 103, 120, 121})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleContext:
    """What the build is to become, and with which tools.

    Attributes:
        arch: machine code to compile; every list of the sources is replaced by it.
        ptx: PTX to embed beside it, plain architectures such as 80.
        toolkit: version of nvcc, such as (13, 0).
        known: numbers of the architectures that this nvcc compiles for.
        torch: version of torch in the environment of the build, None when there is none.
    """

    arch: Arch
    ptx: tuple[Arch, ...] = ()
    toolkit: tuple[int, int] = (13, 0)
    known: frozenset[int] = _FIRST_OF_CUDA_13
    torch: tuple[int, int] | None = None

    @property
    def dotted(self) -> str:
        """12.1, 12.1a: the form of TORCH_CUDA_ARCH_LIST."""
        return f"{self.arch.capability}{self.arch.feature}"

    @property
    def torch_list(self) -> str:
        """A value for TORCH_CUDA_ARCH_LIST. `f` is left out: no torch up to 2.14 takes it."""
        plain = f"{self.arch.capability}{self.arch.feature.replace('f', '')}"
        return f"{plain}+PTX" if Arch(self.arch.capability) in self.ptx and not self.arch.feature else plain

    @property
    def cmake_list(self) -> str:
        """A value for CMAKE_CUDA_ARCHITECTURES: `121-real;80-virtual`."""
        return ";".join([f"{self.arch}-real", *(f"{ptx}-virtual" for ptx in self.ptx)])

    @property
    def gencode(self) -> str:
        """The flags themselves, for nvcc."""
        flags = [f"-gencode=arch=compute_{self.arch},code=sm_{self.arch}"]
        return " ".join(flags + [f"-gencode=arch=compute_{ptx},code=compute_{ptx}" for ptx in self.ptx])


def known_to(toolkit: tuple[int, int]) -> frozenset[int]:
    """Numbers of the architectures that a toolkit compiles for, for when nvcc cannot be asked."""
    return _FIRST_OF_CUDA_13 if toolkit >= (13, 0) else _OF_CUDA_12


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSetting:
    """A variable for the build's environment.

    Attributes:
        origin: code of the rule, or id of the recipe, that sets it.
        why: one sentence.
    """

    name: str
    value: str
    origin: str
    why: str
