"""Machine code that may be marked anew for the target (`--experimental-restamp`)."""

from __future__ import annotations

from collections.abc import Iterable

from shim.arch import Arch, ComputeCapability, Target
from shim.devicecode.model import GpuImage, ImageKind

SOURCE = Arch(ComputeCapability(12, 0), "a")
RESULT = Arch(ComputeCapability(12, 1), "a")
"""The one pair for which equal machine code was shown (docs/formats.md 8.1): 12.0a and 12.1a."""


def restampable_sass(images: Iterable[GpuImage], target: Target) -> GpuImage | None:
    """The machine code of 12.0a in a container, when the target is a 12.1."""
    if target.device != RESULT.capability:
        return None
    return next((image for image in images if image.kind is ImageKind.SASS and image.arch == SOURCE), None)
