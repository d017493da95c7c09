"""PTX that is for one architecture only, and which of it is compiled for another member of the same family.

ptxas refuses PTX of 120a for 12.1 ("cannot be compiled to future architecture"), although 121a has every instruction
that 120a has (docs/formats.md 8). With `.target sm_121a` in its text the same PTX compiles, to the machine code of 120a
(docs/patching.md 1.1).
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.arch import Arch, Target
from shim.devicecode.model import GpuImage
from shim.scan.family import FIRST_ISA, is_retargetable


def first_isa(arch: str) -> tuple[int, int]:
    """First PTX ISA version with `.target ARCH` for an architecture like "sm_121a". Raises KeyError for others."""
    return FIRST_ISA[Arch.parse(arch).capability.canonical]


def retargetable_ptx(images: Iterable[GpuImage], target: Target) -> GpuImage | None:
    """The PTX to rewrite for the target: of the nearest minor, and there the first; None when there is none."""
    texts = [image for image in images if is_retargetable(image, target)]
    return min(texts, key=lambda image: _distance(image, target), default=None)


def _distance(image: GpuImage, target: Target) -> int:
    minor = target.device.canonical.minor
    return 0 if image.arch is None else abs(image.arch.capability.canonical.minor - minor)
