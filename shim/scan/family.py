"""Code for one architecture alone that `patch` brings to another of the family (docs/patching.md 1.1, 1.2)."""

from __future__ import annotations

from typing import Final

from shim.arch import Arch, ComputeCapability, Target, same_family
from shim.devicecode.model import GpuImage, ImageKind

# First PTX ISA version that knows the target (asked of ptxas 12.8, 12.9 and 13.0: "does not support .target").
FIRST_ISA: Final = {
    ComputeCapability(10, 0): (8, 6),
    ComputeCapability(10, 3): (8, 8),
    ComputeCapability(12, 0): (8, 7),
    ComputeCapability(12, 1): (8, 8),
}
RESTAMPED: Final = (Arch(ComputeCapability(12, 0), "a"), ComputeCapability(12, 1))
"""The one pair for which equal machine code was shown (docs/formats.md 8)."""


def is_retargetable(image: GpuImage, target: Target) -> bool:
    """Whether it is PTX whose `.target` may be rewritten for the target.

    The rule: suffix `a`, another minor of the target's own family, and not relocatable. So never 90a or 100a for 12.1:
    what such kernels use (wgmma, tcgen05, clusters, 227 KB of shared memory) is not there.
    """
    device = target.device.canonical
    if image.kind is not ImageKind.PTX or image.arch is None or image.relocatable or device not in FIRST_ISA:
        return False
    built = image.arch.capability.canonical
    return image.arch.feature == "a" and built != device and same_family(built, device)


def is_restampable(image: GpuImage, target: Target) -> bool:
    """Whether it is machine code of 12.0a, and the target a 12.1."""
    return image.kind is ImageKind.SASS and (image.arch, target.device) == RESTAMPED
