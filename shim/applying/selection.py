"""`--only REGEX`: the containers that hold a kernel whose name matches."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from shim.applying.images import ImageFile
from shim.devicecode import Compression, Container, DeviceCode, GpuImage, ImageKind, kernels_in
from shim.errors import UsageError
from shim.planning import Selection


def compile_pattern(text: str) -> re.Pattern[str]:
    """The expression of `--only`. Raises UsageError."""
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"--only: not a regular expression: {error}") from error


def select(code: DeviceCode, path: Path, pattern: re.Pattern[str], candidates: Iterable[int]) -> Selection:
    """Containers among `candidates` with a matching kernel (mangled names, as `scan --kernels` prints them)."""
    with ImageFile(path, code.member) as file:
        found = {index for index in candidates if _matches(file, code, index, pattern)}
    return Selection(containers=frozenset(found))


def _matches(file: ImageFile, code: DeviceCode, index: int, pattern: re.Pattern[str]) -> bool:
    return any(pattern.search(name) for name in kernel_names(file, code, index))


def kernel_names(file: ImageFile, code: DeviceCode, index: int) -> list[str]:
    """Mangled names of a container's kernels, from the image in which they are found with least work."""
    container = code.containers[index]
    members = [container, *(code.containers[i] for i in _relocatable(code))] if not container.images else [container]
    image = _cheapest(member for member in members)
    if image is None:
        return []
    return [kernel.name for kernel in kernels_in(image.kind, file.plain(image))]


def _relocatable(code: DeviceCode) -> tuple[int, ...]:
    return tuple(i for group in code.groups if group.exemplar.role.value == "prelinked" for i in group.indices)


def _cheapest(containers: Iterable[Container]) -> GpuImage | None:
    """The image whose kernel names cost least to read: plain machine code, then the smallest of all."""
    images = [i for c in containers for i in c.images if i.kind in (ImageKind.SASS, ImageKind.PTX)]
    cost = {Compression.NONE: 0}
    return min(
        images,
        key=lambda i: (i.kind is ImageKind.PTX, cost.get(i.compression, 1), i.payload_size),
        default=None,
    )
