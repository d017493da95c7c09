"""PTX that is for one architecture only, and which of it may be compiled for another member of the same family.

ptxas refuses PTX of 120a for 12.1 ("cannot be compiled to future architecture"), although everything that 120a takes
and a plain 12.x does not is there on 121a as well (docs/formats.md 8). With `.target sm_121a` in its text the same PTX
compiles, to the machine code of 120a (docs/patching.md, "retarget").
"""

from __future__ import annotations

from collections.abc import Iterable

from shim.arch import Arch, ComputeCapability, Target, same_family
from shim.devicecode.model import GpuImage, ImageKind

# First PTX ISA version that knows the target (asked of ptxas 12.8, 12.9 and 13.0; "does not support .target").
_FIRST_ISA = {
    ComputeCapability(10, 0): (8, 6),
    ComputeCapability(10, 3): (8, 8),
    ComputeCapability(12, 0): (8, 7),
    ComputeCapability(12, 1): (8, 8),
}


def first_isa(arch: str) -> tuple[int, int]:
    """First PTX ISA version with `.target ARCH` for an architecture like "sm_121a". Raises KeyError for others."""
    return _FIRST_ISA[Arch.parse(arch).capability.canonical]


def retargetable_ptx(images: Iterable[GpuImage], target: Target) -> GpuImage | None:
    """The PTX whose `.target` may be rewritten for the target.

    The rule: suffix `a`, another minor of the target's own family, and not relocatable. So never 90a or 100a for 12.1:
    what such kernels use (wgmma, tcgen05, clusters, 227 KB of shared memory) is not there. The nearest minor wins.
    """
    device = target.device.canonical
    if device not in _FIRST_ISA:
        return None
    texts = [
        (abs(image.arch.capability.canonical.minor - device.minor), number, image)
        for number, image in enumerate(images)
        if image.kind is ImageKind.PTX
        and image.arch is not None
        and image.arch.feature == "a"
        and image.arch.capability.canonical != device
        and image.arch.capability.major == device.major
        and same_family(image.arch.capability, device)
        and not image.relocatable
    ]
    return min(texts, key=lambda found: found[:2])[2] if texts else None
