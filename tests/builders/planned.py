"""Libraries as values, for tests of planning: no bytes behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shim.arch import Arch
from shim.devicecode import (
    Compression,
    Container,
    ContainerGroup,
    ContainerRole,
    DeviceCode,
    GpuImage,
    ImageKind,
    Wrapper,
)
from shim.planning import LibraryPlan
from shim.planning.outcome import made_image

_KINDS = {
    "sm": (ImageKind.SASS, 2),
    "compute": (ImageKind.PTX, 1),
    "lto": (ImageKind.LTO_IR, 8),
    "tile": (ImageKind.TILE_IR, 0x80),
}
ENTRY = 8064


def image(name: str, *, isa: tuple[int, int] = (8, 0), group: int | None = None) -> GpuImage:
    """ "sm_80", "compute_80", "lto_90", "tile_120"; "sm_120?" is code of CUDA 12.8, without record 0x0B.

    `group`: number of the group entry it is a member of; those with one number share their entry.
    """
    kind, raw = _KINDS[name.partition("_")[0]]
    arch = Arch.parse(name.partition("_")[2].rstrip("?"))
    blackwell = kind is ImageKind.SASS and arch.capability.major >= 10 and not name.endswith("?")
    return GpuImage(
        kind=kind,
        raw_kind=raw,
        arch=arch,
        offset=0,
        header_size=64,
        payload_offset=64,
        payload_size=ENTRY - 64,
        compressed_size=0,
        size=ENTRY - 64,
        compression=Compression.NONE,
        version=isa if kind is ImageKind.PTX else (1, 8),
        flags=0x11,
        name="",
        options="",
        compat=b"\x04\x0b\x08\x00\x50" + bytes(7) if blackwell else b"",
        has_code=None,
        group=None if group is None else (group, 8),
    )


def images(*names: str) -> tuple[GpuImage, ...]:
    return tuple(image(name) for name in names)


def library(
    *containers: Sequence[GpuImage] | tuple[ContainerRole, Sequence[GpuImage]],
    elf_type: str = "dyn",
    section: str = ".nv_fatbin",
) -> DeviceCode:
    """A library with these containers, WHOLE unless told otherwise, each in a group of its own."""
    made: list[Container] = []
    at = 4096
    for index, given in enumerate(containers):
        role, held = given if isinstance(given[0], ContainerRole) else (ContainerRole.WHOLE, given)
        made.append(_container(index, at, section, role, held))
        at += made[-1].size
    return DeviceCode(
        member="lib.so",
        size=at + 4096,
        format="elf",
        machine="aarch64",
        elf_type=elf_type,
        containers=tuple(made),
        groups=tuple(
            ContainerGroup(
                exemplar=c,
                indices=(c.index,),
                stored_bytes=tuple(i.stored_size for i in c.images),
                decoded_bytes=tuple(i.size for i in c.images),
            )
            for c in made
        ),
        wrappers=tuple(
            Wrapper(offset=100 + 24 * c.index, version=1, pointer="rela", target=c.offset, container=c.index)
            for c in made
        ),
        loose=(),
        unknown=(),
        needed=(),
        soname="",
        glibc=None,
    )


def _container(index: int, at: int, section: str, role: ContainerRole, held: Sequence[GpuImage]) -> Container:
    placed = []
    offset = at + 16
    groups: dict[int, int] = {}
    for entry in held:
        if entry.group is not None and entry.group[0] in groups:
            placed.append(replace(entry, offset=groups[entry.group[0]]))
            continue
        if entry.group is not None:
            groups[entry.group[0]] = offset
        placed.append(replace(entry, offset=offset, payload_offset=offset + 64))
        offset += ENTRY
    return Container(index=index, offset=at, size=offset - at, section=section, role=role, images=tuple(placed))


def carried_out(code: DeviceCode, plan: LibraryPlan) -> DeviceCode:
    """The library as it is once every step was carried out."""
    steps = {step.container: step for step in plan.steps}
    after = []
    for container in code.containers:
        held: Iterable[GpuImage] = container.images
        if step := steps.get(container.index):
            kept = [i for at, i in enumerate(container.images) if at not in step.drops]
            held = [*map(made_image, step.makes), *kept]
        after.append((container.role, tuple(held)))
    return library(*after, elf_type=code.elf_type)


def names(code: DeviceCode) -> list[list[str]]:
    """What the containers hold: "sass 121", "ptx 80"."""
    return [[f"{i.kind} {i.arch}" for i in container.images] for container in code.containers]
