"""Machine code that may be marked anew for the target (`--experimental-restamp`)."""

from __future__ import annotations

from collections.abc import Iterable

from shim.arch import Target
from shim.devicecode.model import GpuImage
from shim.scan.family import is_restampable


def restampable_sass(images: Iterable[GpuImage], target: Target) -> GpuImage | None:
    """The machine code of 12.0a in a container, when the target is a 12.1."""
    return next((image for image in images if is_restampable(image, target)), None)
