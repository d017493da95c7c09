"""Fatbin containers, entries and wrappers, byte by byte from docs/formats.md 1 to 3.5, without code of shim.

`poke` changes one field of a good file, which is how the corrupt files of tests/corrupt are made.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import lz4.block
import zstandard

CONTAINER_MAGIC = 0xBA55ED50
WRAPPER_MAGIC = 0x466243B1
PTX, CUBIN, LTO_IR, TILE_IR, GROUP = 1, 2, 8, 0x80, 0x100
LZ4, ZSTD = 0x2000, 0x8000
SCRAMBLED, ARCH_SPECIFIC, FAMILY_SPECIFIC, HAS_COMPAT = 0x10000, 0x100000, 0x200000, 0x1000000
PLAIN_FLAGS = 0x11  # 64-bit, host Linux

# Fields of an entry header: name -> (offset, struct format).
ENTRY_FIELDS = {
    "kind": (0x00, "<H"),
    "version": (0x02, "<H"),
    "header_size": (0x04, "<I"),
    "payload_size": (0x08, "<Q"),
    "compressed_size": (0x10, "<I"),
    "descriptor": (0x14, "<I"),
    "minor": (0x18, "<H"),
    "major": (0x1A, "<H"),
    "arch": (0x1C, "<I"),
    "name": (0x20, "<I"),
    "name_length": (0x24, "<I"),
    "flags": (0x28, "<Q"),
    "word30": (0x30, "<Q"),
    "uncompressed_size": (0x38, "<Q"),
}
CONTAINER_FIELDS = {"magic": (0, "<I"), "version": (4, "<H"), "header_size": (6, "<H"), "size": (8, "<Q")}
WRAPPER_FIELDS = {"magic": (0, "<I"), "version": (4, "<I"), "data": (8, "<Q"), "second": (16, "<Q")}
_VERSIONS = {PTX: (9, 0), CUBIN: (1, 8), LTO_IR: (1, 65), TILE_IR: (0x0D01, 0), GROUP: (0, 1)}


def align8(n: int) -> int:
    return -(-n // 8) * 8


def pad8(data: bytes) -> bytes:
    return data + bytes(align8(len(data)) - len(data))


def poke(data: bytes, at: int, fmt: str, value: int) -> bytes:
    """The file with one field changed; the change must be one, or the test would prove nothing."""
    out = bytearray(data)
    struct.pack_into(fmt, out, at, value)
    assert bytes(out) != data, f"the field at {at:#x} holds {value:#x} already"
    return bytes(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One entry to be. `payload` is the plain content; `descriptor` = False leaves the tail of 3.4 out."""

    kind: int
    arch: int
    payload: bytes
    feature: str = ""
    compression: int = 0
    version: tuple[int, int] | None = None  # (major, minor)
    name: str = ""
    options: str = ""
    compat: bytes = b""
    flags: int = PLAIN_FLAGS
    entry_version: int = 0x0101
    descriptor: bool | None = None  # None: as the tools do, by kind and compat

    @property
    def all_flags(self) -> int:
        suffix = {"": 0, "a": ARCH_SPECIFIC, "f": FAMILY_SPECIFIC}[self.feature]
        scrambled = SCRAMBLED if self.kind == LTO_IR else 0
        return self.flags | suffix | scrambled | self.compression | (HAS_COMPAT if self.compat else 0)

    def stored(self) -> tuple[bytes, int, int]:
        """(payload padded to 8, compressed_size, uncompressed_size)."""
        if self.compression == ZSTD:
            packed = zstandard.ZstdCompressor(level=5, write_checksum=False).compress(self.payload)
        elif self.compression == LZ4:
            packed = lz4.block.compress(self.payload, store_size=False)
        else:
            return pad8(self.payload), 0, 0
        return pad8(packed), len(packed), len(self.payload)

    def tail(self, start: int = 0x40) -> tuple[bytes, int, int]:
        """Name and descriptor: (bytes, name offset, descriptor offset)."""
        name = pad8(self.name.encode() + b"\0") if self.name else b""
        wanted = self.descriptor
        if wanted is None:
            wanted = self.kind in (PTX, LTO_IR) or bool(self.compat)
        if not wanted:
            return name, start if name else 0, 0
        at = start + len(name)
        text = self.options.encode() + b"\0" if self.kind != CUBIN else b"\0" + self.compat
        length = len(self.compat) if self.kind == CUBIN else len(self.options.encode())
        return name + pad8(struct.pack("<II", at + 8, length) + text), start if name else 0, at

    def encode(self) -> bytes:
        """Entry header, tail and payload."""
        payload, packed, plain = self.stored()
        tail, name, descriptor = self.tail()
        return self._fixed(0x40 + len(tail), len(payload), packed, plain, name, descriptor) + tail + payload

    def _fixed(self, header: int, size: int, packed: int, plain: int, name: int, descriptor: int) -> bytes:
        major, minor = self.version or _VERSIONS.get(self.kind, (0, 0))
        return struct.pack(
            "<HHIQIIHHIIIQQQ",
            self.kind,
            self.entry_version,
            header,
            size,
            packed,
            descriptor,
            minor,
            major,
            self.arch,
            name,
            len(self.name.encode()) if self.name else 0,
            self.all_flags,
            0,
            plain,
        )

    def group_member(self, offset: int) -> bytes:
        """The sub-header of 3.5: offset in the blob instead of the header size, no compression."""
        tail, name, descriptor = self.tail()
        fixed = bytearray(self._fixed(offset, len(self.payload), 0, 0, name, descriptor))
        struct.pack_into("<Q", fixed, 0x28, self.all_flags & ~0xF000)
        return bytes(fixed) + tail


def container(*entries: Image | bytes) -> bytes:
    """16-byte header and the entries, back to back."""
    body = b"".join(e.encode() if isinstance(e, Image) else e for e in entries)
    return struct.pack("<IHHQ", CONTAINER_MAGIC, 1, 16, len(body)) + body


def group(*members: Image, compression: int = ZSTD) -> bytes:
    """A kind 0x100 entry: its members compressed together (nvcc 13.4 --concat, docs/formats.md 3.5)."""
    blob = b""
    table = b""
    for member in members:
        table += member.group_member(len(blob))
        blob += pad8(member.payload)
    table = struct.pack("<II", len(members), 8 + len(table)) + table
    whole = Image(kind=GROUP, arch=0, payload=blob, compression=compression)
    payload, packed, plain = whole.stored()
    return whole._fixed(0x40 + len(table), len(payload), packed, plain, 0, 0x40) + table + payload


def entry_offsets(data: bytes, at: int = 0) -> list[int]:
    """Offsets of the entry headers of the container at `at`, walked as docs/formats.md 2 says."""
    end = at + 16 + struct.unpack_from("<Q", data, at + 8)[0]
    found = []
    at += 16
    while at < end:
        found.append(at)
        header, size = struct.unpack_from("<IQ", data, at + 4)
        at += header + size
    return found


def wrapper(*, data: int = 0, version: int = 1, second: int = 0) -> bytes:
    return struct.pack("<IIQQ", WRAPPER_MAGIC, version, data, second)


def compat(*records: tuple[int, int] | tuple[int, bytes]) -> bytes:
    """A `.nv.compat` section: (attribute, value byte) or (attribute, bytes) records (docs/formats.md 5.1)."""
    out = b""
    for attribute, value in records:
        if isinstance(value, bytes):
            out += struct.pack("<BBH", 4, attribute, len(value)) + value
        else:
            out += struct.pack("<BBBB", 2, attribute, value, 0)
    return out


def ptx(target: str = "80", *, version: str = "9.0", kernels: Sequence[str] = ("kernel",), body: str = "ret;") -> bytes:
    """PTX as a container stores it: text with one NUL."""
    text = f".version {version}\n.target sm_{target}\n.address_size 64\n"
    for name in kernels:
        text += f".visible .entry {name}(.param .u64 p0)\n{{\n{body}\n}}\n"
    return text.encode() + b"\0"
