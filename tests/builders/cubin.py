"""Minimal cubins of both ELF ABIs, byte by byte from docs/formats.md 5: sections and symbols, no code."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

EM_CUDA = 190
SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB = 1, 2, 3
SHT_COMPAT, SHT_MERC_SYMTAB = 0x70000086, 0x70000085
STT_OBJECT, STT_FUNC = 1, 2
STO_ENTRY = 0x10
KPARAM_INFO = 0x17

# Fields of the ELF header: name -> (offset, struct format).
ELF_FIELDS = {
    "type": (16, "<H"),
    "machine": (18, "<H"),
    "phoff": (32, "<Q"),
    "shoff": (40, "<Q"),
    "flags": (48, "<I"),
    "phentsize": (54, "<H"),
    "phnum": (56, "<H"),
    "shentsize": (58, "<H"),
    "shnum": (60, "<H"),
    "shstrndx": (62, "<H"),
}
SECTION_FIELDS = {
    "name": (0, "<I"),
    "type": (4, "<I"),
    "offset": (24, "<Q"),
    "size": (32, "<Q"),
    "link": (40, "<I"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """One symbol of `.symtab`. Kernels are functions with STO_ENTRY in st_other."""

    name: str
    type: int = STT_FUNC
    other: int = STO_ENTRY
    size: int = 0x80
    section: int = 1
    parameters: tuple[tuple[int, int], ...] = ()  # (ordinal, size)


@dataclass(slots=True)
class _Table:
    data: bytearray = field(default_factory=lambda: bytearray(1))

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def kernel_info(parameters: tuple[tuple[int, int], ...]) -> bytes:
    """`.nv.info.<kernel>`: one KPARAM_INFO record a parameter, as ptxas writes them, last ordinal first."""
    out = struct.pack("<BBH", 3, 0x19, 8)  # CBANK_PARAM_SIZE: a format-3 record to step over
    for ordinal, size in reversed(parameters):
        out += struct.pack("<BBHIHHI", 4, KPARAM_INFO, 12, 0, ordinal, ordinal * 8, size << 18 | 0x1F000)
    return out


def e_flags(abi: int, arch: int, feature: str) -> int:
    if abi >= 8:
        return 0x06000002 | arch << 8
    return 0x00000500 | arch | (0x800 if feature == "a" else 0) | arch << 16


def cubin(
    arch: int = 121,
    *,
    abi: int = 8,
    feature: str = "",
    symbols: tuple[Symbol, ...] = (Symbol(name="kernel"),),
    compat: bytes = b"",
    linked: bool = True,
    repeat_symbols: bool = False,
) -> bytes:
    """`repeat_symbols` adds a `.nv.merc.symtab`, the second table that real Blackwell cubins have."""
    strings, names = _Table(), _Table()
    symtab = bytes(24)
    for s in symbols:
        symtab += struct.pack("<IBBHQQ", strings.add(s.name), 0x10 | s.type, s.other, s.section, 0, s.size)
    sections: list[tuple[str, int, bytes, int]] = [(".text", SHT_PROGBITS, b"\0" * 16, 0)]
    sections += [(f".nv.info.{s.name}", SHT_PROGBITS, kernel_info(s.parameters), 0) for s in symbols if s.parameters]
    if compat:
        sections.append((".nv.compat", SHT_COMPAT, compat, 0))
    if repeat_symbols:
        sections.append((".nv.merc.symtab", SHT_MERC_SYMTAB, symtab, len(sections) + 3))
    sections.append((".symtab", SHT_SYMTAB, symtab, len(sections) + 2))
    sections.append((".strtab", SHT_STRTAB, bytes(strings.data), 0))
    return _assemble(arch, abi, feature, linked, sections, names)


def _assemble(
    arch: int,
    abi: int,
    feature: str,
    linked: bool,
    sections: list[tuple[str, int, bytes, int]],
    names: _Table,
) -> bytes:
    labels = [names.add(name) for name, *_ in sections] + [names.add(".shstrtab")]
    body = b""
    headers = bytes(64)
    for label, (_, kind, data, link) in zip(
        labels, [*sections, (".shstrtab", SHT_STRTAB, bytes(names.data), 0)], strict=True
    ):
        headers += struct.pack("<IIQQQQIIQQ", label, kind, 0, 0, 64 + len(body), len(data), link, 0, 1, 0)
        body += data + bytes(-len(data) % 8)
    count = len(sections) + 2
    osabi = 0x41 if abi >= 8 else 0x33
    ident = b"\x7fELF\x02\x01\x01" + bytes([osabi, abi]) + bytes(7)
    shoff = 64 + len(body)
    head = struct.pack(
        "<HHIQQQIHHHHHH",
        2 if linked else 1,
        EM_CUDA,
        1 if abi >= 8 else 0x80,
        0,
        0,
        shoff,
        e_flags(abi, arch, feature),
        64,
        0,
        0,
        64,
        count,
        count - 1,
    )
    return ident + head + body + headers


def section_header(data: bytes, index: int) -> int:
    """File offset of a section header."""
    return struct.unpack_from("<Q", data, 40)[0] + 64 * index
