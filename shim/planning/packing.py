"""How images are compressed, and which old ones (docs/patching.md, "Compression")."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from shim.devicecode.model import Compression, GpuImage, ImageKind
from shim.planning.wanted import Packing, Wanted

ZSTD_CUDA: Final = (12, 4)
"""The first driver that reads zstd.

NVIDIA's nvcc manual says of the zstd modes that they are "not compatible with drivers released before CUDA Toolkit's
12.4 Release" (quoted in ml-explore/mlx#2407); ollama/ollama#12258 shows an older driver fail with "device kernel image
is invalid". Stored images are read by every driver.
"""

_LEVELS: Final = {Packing.BALANCE: 5, Packing.SIZE: 19}
"""libzstd levels that give fatbinary's bytes for its modes (measured, docs/formats.md 4.1, 4.2)."""


def zstd_level(wanted: Wanted) -> int | None:
    """The level for new and repacked images; None = stored."""
    if any(target.driver_cuda < ZSTD_CUDA for target in wanted.targets):
        return None
    return _LEVELS.get(wanted.packing)


def packs_of(images: Sequence[GpuImage], drops: Collection[int], wanted: Wanted) -> frozenset[int]:
    """Positions of kept images that are stored and may be compressed: machine code and PTX."""
    if not wanted.repack_old or zstd_level(wanted) is None:
        return frozenset()
    return frozenset(
        at
        for at, image in enumerate(images)
        if at not in drops
        and image.kind in (ImageKind.SASS, ImageKind.PTX)
        and image.compression is Compression.NONE
        and image.compressed_size == 0
        and image.group is None
    )
