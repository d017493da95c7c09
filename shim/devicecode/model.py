"""What a file holds for the GPU, as frozen values. Readers fill these in; nothing here decides anything.

All offsets are byte positions in the file (or archive member) that was read. Formats: docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from shim.arch import Arch


class ImageKind(StrEnum):
    """What one entry of a fatbin container carries (entry field `kind`, docs/formats.md 3)."""

    SASS = "sass"
    PTX = "ptx"
    LTO_IR = "lto-ir"
    TILE_IR = "tile-ir"
    UNKNOWN = "unknown"


class Compression(StrEnum):
    """How the payload of an entry is stored (entry flags 0xF000)."""

    NONE = "none"
    LZ4 = "lz4"
    ZSTD = "zstd"
    UNKNOWN = "unknown"


class ContainerRole(StrEnum):
    """How host code reaches a container."""

    WHOLE = "whole"  # wrapper version 1: registered as it is
    PRELINKED = "prelinked"  # relocatable code (-rdc): reached only through the linked one
    LINKED = "linked"  # wrapper version 2 of a library that has pre-linked containers
    STUB = "stub"  # wrapper version 2 that nvcc -shared always adds; never registered
    EMBEDDED = "embedded"  # no wrapper: plain data, loaded by driver API calls of the library
    UNREFERENCED = "unreferenced"  # in an nv section, but no wrapper points at it any more: never loaded
    FILE = "file"  # the container is a stand-alone .fatbin file


RECORD_CAN_FASTPATH = 0x0B  # .nv.compat attribute "CAN_FASTPATH_FINALIZE", an 8-byte mask


def compat_records(compat: bytes) -> dict[int, bytes]:
    """Split a `.nv.compat` section into {attribute: value bytes} (docs/formats.md 5.1).

    Stops quietly at the first record that is not understood: the section is advisory, never needed to read the file.
    """
    records: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(compat):
        form, attribute = compat[at], compat[at + 1]
        if form in (2, 3):
            records[attribute] = compat[at + 2 : at + 3 if form == 2 else at + 4]
            at += 4
        elif form == 4:
            length = int.from_bytes(compat[at + 2 : at + 4], "little")
            if at + 4 + length > len(compat):
                break
            records[attribute] = compat[at + 4 : at + 4 + length]
            at += 4 + length
        else:
            break
    return records


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuImage:
    """One entry of a container.

    Attributes:
        offset: of the entry header. `payload_offset` = offset + header_size.
        payload_size: stored bytes, padded with zeros to 8.
        compressed_size: exact compressed length, 0 when stored plain.
        size: decoded length; for plain entries the padded length.
        version: PTX ISA for PTX, (1, 7) or (1, 8) for SASS (cubin ABI 7 or 8).
        options: ptxas options stored with PTX, front-end options of LTO-IR.
        compat: the entry's copy of the cubin's `.nv.compat`.
        has_code: whether the image defines a kernel; None when that needs the payload.
        group: member of a kind 0x100 entry: its (offset, size) in the decompressed payload, which is the group's.
    """

    kind: ImageKind
    raw_kind: int
    arch: Arch | None
    offset: int
    header_size: int
    payload_offset: int
    payload_size: int
    compressed_size: int
    size: int
    compression: Compression
    version: tuple[int, int]
    flags: int
    name: str
    options: str
    compat: bytes
    has_code: bool | None
    group: tuple[int, int] | None = None

    @property
    def stored_size(self) -> int:
        """Header and payload, in bytes, as stored."""
        return self.header_size + self.payload_size

    @property
    def relocatable(self) -> bool:
        """PTX that must be device-linked (nvcc -rdc=true passes --compile-only to ptxas)."""
        return self.kind is ImageKind.PTX and any(word in ("--compile-only", "-c") for word in self.options.split())

    @property
    def fastpath_mask(self) -> int | None:
        """Record 0x0B of `.nv.compat`; None when the record is absent (CUDA 12.8 / 12.9 do not write it)."""
        value = compat_records(self.compat).get(RECORD_CAN_FASTPATH)
        return None if value is None else int.from_bytes(value, "little")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One fatbin: the unit in which the driver chooses an image. `size` counts its 16-byte header."""

    index: int
    offset: int
    size: int
    section: str
    role: ContainerRole
    images: tuple[GpuImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerGroup:
    """Containers that no rule can tell apart: same role and, image by image, same kind, arch, ISA, mask, options.

    `stored_bytes` and `decoded_bytes` are per image position, summed over all containers of the group.
    """

    exemplar: Container
    indices: tuple[int, ...]
    stored_bytes: tuple[int, ...]
    decoded_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """One 24-byte record of `.nvFatBinSegment`. `pointer` says where its data pointer was found."""

    offset: int
    version: int
    pointer: str  # "rela", "relr", "in-place" or "symbol"
    target: int
    container: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseImage:
    """GPU code that stands in no container: a .cubin or .ptx file, or a bare cubin / PTX text in a data section.

    Attributes:
        compat: `.nv.compat` of a .cubin file; empty where it was not read (a bare cubin in data) or is not there.
        has_code: whether a .cubin file defines a kernel; None where that was not read.
    """

    kind: ImageKind
    arch: Arch | None
    offset: int
    size: int
    section: str
    version: tuple[int, int]
    compat: bytes = b""
    has_code: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Bytes of a device-code section that are neither image nor padding."""

    offset: int
    size: int
    section: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """Everything one file holds for the GPU.

    Attributes:
        format: "elf", "ar", "cubin", "fatbin", "ptx", "ltoir" or "none".
        machine: "x86_64", "aarch64" or "" (host machine of an ELF file).
        elf_type: "dyn", "exec", "rel" or "".
        glibc: highest GLIBC_x.y symbol version the file asks for.
    """

    member: str
    size: int
    format: str
    machine: str
    elf_type: str
    containers: Sequence[Container]
    groups: tuple[ContainerGroup, ...]
    wrappers: tuple[Wrapper, ...]
    loose: tuple[LooseImage, ...]
    unknown: tuple[ByteRange, ...]
    needed: tuple[str, ...]
    soname: str
    glibc: tuple[int, int] | None

    @property
    def has_device_code(self) -> bool:
        return bool(self.groups) or bool(self.loose)
