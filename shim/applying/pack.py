"""Entries of containers, compressed as fatbinary compresses them (docs/formats.md 3, 4)."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import zstandard

from shim import _core
from shim.applying.images import ImageFile
from shim.devicecode import GpuImage, ImageKind

_PAYLOAD_SIZE = struct.Struct("<Q"), 0x08
_COMPRESSED_SIZE = struct.Struct("<I"), 0x10
_FLAGS = struct.Struct("<Q"), 0x28
_UNCOMPRESSED_SIZE = struct.Struct("<Q"), 0x38
_ZSTD = 0x8000
_ALIGN = 8
_MOST_COMPRESSED = 0xFFFFFFFF  # the field has 32 bits

# Where an ELF64 header says how long the file is: offset, entry size and count of each of its two tables.
_ELF_TABLES = ((32, 54, 56), (40, 58, 60))
_ELF_HEADER = 64
_SECTION_NOBITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedEntry:
    """An old entry, header and payload, as it will be stored. `was` = bytes it took before."""

    data: bytes
    was: int


def compress(image: bytes, level: int) -> bytes:
    """A zstd frame as NVIDIA writes it: content size, no checksum, no dictionary."""
    return zstandard.ZstdCompressor(level=level, write_checksum=False).compress(image)


def new_entry(cubin: bytes, arch: str, level: int | None, *, debug: bool = False) -> bytes:
    """The entry of a new cubin for `arch` ("sm_121a"); stored where `level` is None or compressing gains nothing.

    Args:
        debug: made with `-g`, which the entry says too.
    """
    number = arch.removeprefix("sm_")
    suffix = number[-1] if number[-1] in "af" else ""
    frame = None if level is None else compress(cubin, level)
    return _core.make_entry(
        kind=2,
        arch=int(number.rstrip("af")),
        suffix=suffix,
        image=cubin,
        compressed=frame if frame is not None and _pad(len(frame)) < _pad(len(cubin)) else None,
        debug=debug,
    )


def pack_entries(images: Mapping[int, GpuImage], file: ImageFile, level: int | None) -> dict[int, PackedEntry]:
    """Compress stored entries, several at once; those that do not shrink are left out.

    Args:
        images: by position. level: None = nothing is compressed.
    """
    if level is None or not images:
        return {}
    order = sorted(images)
    raw = [file.raw(images[at].offset, images[at].stored_size) for at in order]
    with ThreadPoolExecutor(max_workers=min(len(order), os.cpu_count() or 1)) as pool:
        done = pool.map(pack_entry, [images[at] for at in order], raw, [level] * len(order))
        return {at: entry for at, entry in zip(order, done, strict=True) if entry is not None}


def pack_entry(image: GpuImage, entry: bytes, level: int) -> PackedEntry | None:
    """One stored entry compressed: name, options and all other fields stay. None where that is not smaller.

    Args:
        entry: its bytes, header and payload.
    """
    payload = memoryview(entry)[image.header_size :]
    size = plain_size(image.kind, payload)
    if size is None or entry[image.header_size + size :].strip(b"\0"):
        return None
    frame = compress(bytes(payload[:size]), level)
    stored = _pad(len(frame))
    if stored >= len(payload) or len(frame) > _MOST_COMPRESSED:
        return None
    header = bytearray(entry[: image.header_size])
    for (form, at), value in (
        (_PAYLOAD_SIZE, stored),
        (_COMPRESSED_SIZE, len(frame)),
        (_FLAGS, image.flags | _ZSTD),
        (_UNCOMPRESSED_SIZE, size),
    ):
        form.pack_into(header, at, value)
    return PackedEntry(data=bytes(header) + frame + bytes(stored - len(frame)), was=len(entry))


def plain_size(kind: ImageKind, payload: Sequence[int] | memoryview) -> int | None:
    """Exact length of a stored image, whose entry tells it rounded up to 8 only. None where it cannot be told.

    PTX ends with its one NUL, a cubin where its tables and sections end.
    """
    data = memoryview(bytes(payload)) if not isinstance(payload, memoryview) else payload
    if kind is ImageKind.PTX:
        text = bytes(data[-_ALIGN:]).rstrip(b"\0")
        return len(data) - min(len(data), _ALIGN) + len(text) + 1 if text and len(text) < _ALIGN else None
    end = _elf_end(data) if kind is ImageKind.SASS else None
    return end if end is not None and len(data) - _ALIGN < end <= len(data) else None


def _elf_end(data: memoryview) -> int | None:
    """Where an ELF64 file ends; None when its tables do not fit in it."""
    if len(data) < _ELF_HEADER or bytes(data[:4]) != b"\x7fELF":
        return None
    end = _ELF_HEADER
    for at, size_at, count_at in _ELF_TABLES:
        (offset,) = struct.unpack_from("<Q", data, at)
        size, count = struct.unpack_from("<H", data, size_at)[0], struct.unpack_from("<H", data, count_at)[0]
        end = max(end, offset + size * count) if count else end
    if end > len(data):
        return None
    (offset,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    if count and size < 40:
        return None
    for number in range(count):
        header = offset + number * size
        (kind,) = struct.unpack_from("<I", data, header + 4)
        start, length = struct.unpack_from("<QQ", data, header + 24)
        if kind not in (0, _SECTION_NOBITS):
            end = max(end, start + length)
    return end


def _pad(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
