"""A second, independent reader of fatbin containers, written from docs/formats.md alone and sharing no code with shim.

It reads whole bytes objects and trusts nothing: any breach of the format is an AssertionError with its offset.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

CONTAINER = struct.Struct("<IHHQ")
ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")
MAGIC = 0xBA55ED50
KINDS = {1: "ptx", 2: "cubin", 8: "ltoir", 0x80: "tileir", 0x100: "group"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image of a container. Offsets count from the start of the container."""

    kind: str
    arch: str
    offset: int
    raw: bytes
    payload: bytes
    compression: str
    size: int
    version: tuple[int, int]
    name: str
    text: bytes
    flags: int


def align8(n: int) -> int:
    return -(-n // 8) * 8


def read_entry(data: bytes, at: int) -> Entry:
    assert at + ENTRY.size <= len(data), f"entry header at {at} leaves the container"
    (kind, version, header, stored, packed, descriptor, minor, major, arch, name_at, name_len, flags, _, plain) = (
        ENTRY.unpack_from(data, at)
    )
    assert version == 0x0101, f"entry version {version:#x} at {at}"
    assert header >= ENTRY.size, f"header size {header} at {at}"
    assert header % 8 == 0, f"header size {header} at {at}"
    assert stored % 8 == 0, f"payload size {stored} at {at}"
    assert at + header + stored <= len(data), f"payload at {at} leaves the container"
    compression = {0: "none", 0x2000: "lz4", 0x8000: "zstd"}[flags & 0xF000]
    assert (compression == "none") == (packed == 0 and plain == 0), f"sizes and flags disagree at {at}"
    payload = data[at + header : at + header + stored]
    if packed:
        assert align8(packed) == stored, f"compressed size {packed} at {at}"
        assert not any(payload[packed:]), f"padding at {at} is not zero"
        payload = payload[:packed]
    name = ""
    if name_at:
        assert (name_at, data[at + name_at + name_len]) == (ENTRY.size, 0), f"name at {at}"
        name = data[at + name_at : at + name_at + name_len].decode()
    text = read_descriptor(data, at, descriptor, header, KINDS.get(kind, "")) if descriptor else b""
    suffix = "a" * bool(flags & 0x100000) + "f" * bool(flags & 0x200000)
    return Entry(
        kind=KINDS.get(kind, f"kind {kind:#x}"),
        arch=f"{arch}{suffix}",
        offset=at,
        raw=data[at : at + header + stored],
        payload=payload,
        compression=compression,
        size=plain or stored,
        version=(major, minor),
        name=name,
        text=text,
        flags=flags,
    )


def read_descriptor(data: bytes, at: int, descriptor: int, header: int, kind: str) -> bytes:
    """ptxas options of a PTX entry, or the copy of .nv.compat of a cubin entry (a NUL precedes that)."""
    start, length = struct.unpack_from("<II", data, at + descriptor)
    assert start == descriptor + 8, f"descriptor text at {start}"
    skip = 1 if kind == "cubin" else 0
    assert start + length + 1 <= header, f"descriptor of {at} leaves the header"
    return data[at + start + skip : at + start + skip + length]


def read_container(data: bytes) -> tuple[Entry, ...]:
    """All entries of exactly one container."""
    magic, version, header, size = CONTAINER.unpack_from(data, 0)
    assert (magic, version, header) == (MAGIC, 1, CONTAINER.size), "not a container"
    assert CONTAINER.size + size == len(data), f"container says {size}, has {len(data) - CONTAINER.size}"
    entries = []
    at = CONTAINER.size
    while at < len(data):
        entries.append(read_entry(data, at))
        at += len(entries[-1].raw)
    return tuple(entries)


def container_at(data: bytes, at: int) -> bytes:
    """The bytes of the container that starts at `at`, header included."""
    assert struct.unpack_from("<I", data, at)[0] == MAGIC, f"no container at {at:#x}"
    return data[at : at + CONTAINER.size + struct.unpack_from("<Q", data, at + 8)[0]]
