"""Sizes of containers, expected and real, and the layout that follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from shim.devicecode.model import Container, DeviceCode, GpuImage, ImageKind
from shim.planning.layout import Layout, LayoutChoice, choose_layout
from shim.planning.model import ContainerPlan, Make, Reduction
from shim.planning.packing import zstd_level
from shim.planning.steps import SECTION
from shim.planning.wanted import Wanted
from shim.scan.containers import image_name

HEADER: Final = 16
"""Bytes of a container before its first entry (docs/formats.md 2)."""

# Machine code made from PTX, per byte of PTX, stored and as zstd 5 (138 units of 84 MB from wheels: 45.6 and 6.5 MB);
# an old cubin as zstd 5 (libtransformer_engine 2.20).
_CODE_SHARE: Final = 0.54
_PACKED_CODE_SHARE: Final = 0.08
_REPACKED_SHARE: Final = 0.25
_MOST_ALIGNMENT: Final = 256


def expected_layout(code: DeviceCode, steps: Sequence[ContainerPlan], wanted: Wanted) -> LayoutChoice:
    """The layout as far as it can be told before anything is made."""
    if code.format == "fatbin":
        return LayoutChoice(layout=Layout.REPACK, why="a .fatbin file is written anew from front to back")
    sizes = {step.container: expected_size(code.containers[step.container], step, wanted) for step in steps}
    return layout_for(code, sizes, wanted)


def layout_for(code: DeviceCode, sizes: Mapping[int, int], wanted: Wanted) -> LayoutChoice:
    """The layout for containers of these new sizes (header included); the others keep theirs."""
    section = [container for container in code.containers if container.section == SECTION]
    step = _alignment(section)
    return choose_layout(
        asked=wanted.layout,
        file_size=code.size,
        section_size=max(c.offset + c.size for c in section) - min(c.offset for c in section) if section else 0,
        arena_size=sum(_align(sizes.get(c.index, c.size), step) for c in section),
        dead_size=sum(c.size for c in section if c.index in sizes),
        program=code.elf_type == "exec",
    )


def expected_size(container: Container, step: ContainerPlan, wanted: Wanted) -> int:
    """Bytes of a container after a step, estimated for what is compiled or compressed."""
    new = sum(_made_size(make, wanted) for make in step.makes)
    kept = {
        image.offset: int(image.stored_size * (_REPACKED_SHARE if at in step.packs else 1))
        for at, image in enumerate(container.images)
        if at not in step.drops
    }
    return HEADER + new + sum(kept.values())


def dropped_size(container: Container, drops: Sequence[int]) -> int:
    """Bytes of the file that images left out take; entries compressed together count once."""
    return sum({container.images[at].offset: container.images[at].stored_size for at in drops}.values())


def reduction_of(code: DeviceCode, steps: Sequence[ContainerPlan]) -> Reduction:
    """What steps leave out and compress."""
    dropped: Counter[str] = Counter()
    dropped_bytes = packed = packable_bytes = 0
    for step in steps:
        if not (step.drops or step.packs):
            continue
        container = code.containers[step.container]
        dropped.update(image_name(container.images[at]) for at in step.drops)
        dropped_bytes += dropped_size(container, step.drops)
        packed += len(step.packs)
        packable_bytes += sum(container.images[at].stored_size for at in step.packs)
    return Reduction(
        dropped=tuple(sorted(dropped.items())),
        dropped_bytes=dropped_bytes,
        packed=packed,
        packable_bytes=packable_bytes,
    )


def _made_size(make: Make, wanted: Wanted) -> int:
    share = _CODE_SHARE if zstd_level(wanted) is None else _PACKED_CODE_SHARE
    return sum(_source_size(source.image, share) for source in make.sources)


def _source_size(image: GpuImage, share: float) -> int:
    return int(image.size * share) if image.kind is ImageKind.PTX else image.stored_size


def _alignment(containers: Sequence[Container]) -> int:
    """What all containers of a section are multiples of: its alignment, or more where there are few."""
    found = _MOST_ALIGNMENT
    for container in containers:
        if container.offset:
            found = min(found, container.offset & -container.offset)
    return found


def _align(size: int, step: int) -> int:
    return -(-size // step) * step
