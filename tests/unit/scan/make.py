"""Makes the values that readers would give, without any file: libraries as a few words a container."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from shim.arch import Arch
from shim.devicecode.model import (
    Compression,
    Container,
    ContainerGroup,
    ContainerRole,
    DeviceCode,
    GpuImage,
    ImageKind,
    LooseImage,
)

FASTPATH_121 = bytes([4, 0x0B, 8, 0]) + (0x50).to_bytes(8, "little")
"""`.nv.compat` with record 0x0B as CUDA 13 writes it for sm_120: bit 6 stands for 12.1."""

_KINDS = {"sm": ImageKind.SASS, "compute": ImageKind.PTX, "lto": ImageKind.LTO_IR, "tile": ImageKind.TILE_IR}


def image(text: str, *, at: int = 0, size: int = 1000) -> GpuImage:
    """One image from words: "sm_120", "compute_80 9.4", "sm_120 cu12" (no record 0x0B), "sm_75 empty"."""
    name, *words = text.split()
    kind = _KINDS[name.partition("_")[0]]
    isa = next((word for word in words if word[0].isdigit()), "8.0")
    major, minor = isa.split(".")
    arch = Arch.parse(name.replace("tile_", "sm_"))
    return GpuImage(
        kind=kind,
        raw_kind=2,
        arch=arch,
        offset=at,
        header_size=64,
        payload_offset=at + 64,
        payload_size=size,
        compressed_size=0,
        size=size,
        compression=Compression.NONE,
        version=(int(major), int(minor)) if kind is ImageKind.PTX else (1, 8),
        flags=0x11,
        name="",
        options="",
        compat=FASTPATH_121 if arch.capability.major >= 10 and "cu12" not in words else b"",
        has_code=False if "empty" in words else None,
    )


def library(*groups: str | tuple[int, str], member: str = "lib/libdemo.so", **fields: object) -> DeviceCode:
    """A library from its groups of containers: "sm_80, compute_80", (76, "linked: sm_90").

    A number before a group is how many containers it has; a word with a colon is their role (default: whole).
    Each image has 1,000 bytes of payload and 64 of header.
    """
    made = []
    containers = []
    offsets = itertools.count(0x1000, 0x100000)
    for group in groups:
        count, text = group if isinstance(group, tuple) else (1, group)
        role, _, names = text.rpartition(":")
        members = []
        for _ in range(count):
            at = next(offsets)
            parts = [part.strip() for part in names.split(",") if part.strip()]
            images = tuple(image(part, at=at + 16 + place * 1064) for place, part in enumerate(parts))
            members.append(
                Container(
                    index=len(containers),
                    offset=at,
                    size=16 + sum(one.stored_size for one in images),
                    section=".nv_fatbin",
                    role=ContainerRole(role or "whole"),
                    images=images,
                )
            )
            containers.append(members[-1])
        made.append(
            ContainerGroup(
                exemplar=members[0],
                indices=tuple(one.index for one in members),
                stored_bytes=tuple(count * one.stored_size for one in members[0].images),
                decoded_bytes=tuple(count * one.size for one in members[0].images),
            )
        )
    return code(member=member, containers=containers, groups=tuple(made), **fields)


def loose(*texts: str, member: str = "lib/libdemo.so", **fields: object) -> DeviceCode:
    """A file of loose images: "sm_90a", "compute_80"."""
    images = [image(text) for text in texts]
    found = tuple(
        LooseImage(kind=one.kind, arch=one.arch, offset=place * 4096, size=one.size, section="", version=one.version)
        for place, one in enumerate(images)
    )
    return code(member=member, loose=found, **fields)


def code(
    *,
    member: str,
    containers: Sequence[Container] = (),
    groups: tuple[ContainerGroup, ...] = (),
    loose: tuple[LooseImage, ...] = (),
    format: str = "elf",  # noqa: A002  (the field's name)
    machine: str = "aarch64",
    elf_type: str = "dyn",
    needed: tuple[str, ...] = (),
    glibc: tuple[int, int] | None = (2, 17),
) -> DeviceCode:
    """A file as read."""
    return DeviceCode(
        member=member,
        size=1 << 20,
        format=format,
        machine=machine,
        elf_type=elf_type,
        containers=containers,
        groups=groups,
        wrappers=(),
        loose=loose,
        unknown=(),
        needed=needed,
        soname="",
        glibc=glibc,
    )
