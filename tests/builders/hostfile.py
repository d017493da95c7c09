"""Host ELF files and ar archives around fatbin containers, byte by byte: no compiler, no linker.

What real linkers make of the same is built by tests/builders/elf.py; these files are small enough for a fuzz
corpus, and every offset in them is known, so that a test can poke one field.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tests.builders.fatbin import wrapper

MACHINES = {"x86_64": (62, 8, 1), "aarch64": (183, 1027, 257)}  # e_machine, R_*_RELATIVE, R_*_64
PT_LOAD, PT_DYNAMIC = 1, 2
ET_REL, ET_EXEC, ET_DYN = 1, 2, 3
PROGBITS, SYMTAB, STRTAB, RELA, DYNAMIC, NOBITS, RELR = 1, 2, 3, 4, 6, 8, 19
BASE = 0x10000  # addresses are offsets plus this, so that mixing the two up shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One section to be: `kind` is its sh_type."""

    name: str
    data: bytes
    kind: int = PROGBITS
    flags: int = 2
    align: int = 8
    link: int = 0
    info: int = 0
    entsize: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFile:
    """A finished file. `at`: offset of each section's bytes; `header`: of its section header."""

    data: bytes
    at: dict[str, int]
    header: dict[str, int]
    wrappers: tuple[int, ...]
    containers: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A container with its wrapper; `version` 0 = no wrapper points at it."""

    data: bytes
    section: str = ".nv_fatbin"
    version: int = 1


def place(codes: Sequence[Code], align: int) -> tuple[dict[str, bytes], list[tuple[str, int]]]:
    """The sections' bytes, and (section, offset in it) of each container."""
    sections: dict[str, bytes] = {}
    places = []
    for code in codes:
        data = sections.get(code.section, b"")
        data += bytes(-len(data) % align)
        places.append((code.section, len(data)))
        sections[code.section] = data + code.data
    return sections, places


def _section_headers(parts: Sequence[Part], offsets: Sequence[int]) -> tuple[bytes, bytes]:
    names = b"\0"
    table = bytes(64)
    for part, offset in zip(parts, offsets, strict=True):
        address = BASE + offset if part.flags & 2 else 0
        fields = (part.flags, address, offset, len(part.data), part.link, part.info, part.align, part.entsize)
        table += struct.pack("<IIQQQQIIQQ", len(names), part.kind, *fields)
        names += part.name.encode() + b"\0"
    return table, names


def _layout(parts: Sequence[Part], start: int) -> list[int]:
    offsets = []
    for part in parts:
        start += -start % part.align
        offsets.append(start)
        start += len(part.data)
    return offsets


def _file(
    kind: int, machine: str, parts: list[Part], segments: Sequence[tuple[int, int, str, str]], headers: bool
) -> tuple[bytes, dict[str, int], dict[str, int]]:
    """`segments`: (type, flags, first section, last section)."""
    names = b"\0" + b"".join(p.name.encode() + b"\0" for p in parts) + b".shstrtab\0"
    parts = [*parts, Part(name=".shstrtab", data=names, kind=STRTAB, flags=0, align=1)]
    start = 64 + 56 * len(segments)
    offsets = _layout(parts, start)
    at = dict(zip((p.name for p in parts), offsets, strict=True))
    size = {p.name: len(p.data) for p in parts}
    table, made = _section_headers(parts, offsets)
    assert made == names
    out = bytearray(offsets[-1] + len(names))
    for part, offset in zip(parts, offsets, strict=True):
        out[offset : offset + len(part.data)] = part.data
    shoff = len(out) + -len(out) % 8
    if headers:
        out += bytes(shoff - len(out)) + table
    for number, (ptype, flags, first, last) in enumerate(segments):
        low = 0 if first == "" else at[first]
        length = at[last] + size[last] - low
        struct.pack_into(
            "<IIQQQQQQ", out, 64 + 56 * number, ptype, flags, low, BASE + low, BASE + low, length, length, 8
        )
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    tail = (64, 56 if segments else 0, len(segments), 64, len(parts) + 1, len(parts)) if headers else None
    tail = tail or (64, 56, len(segments), 0, 0, 0)
    phoff = 64 if segments else 0
    struct.pack_into(
        "<16sHHIQQQIHHHHHH", out, 0, ident, kind, MACHINES[machine][0], 1, 0, phoff, shoff * headers, 0, *tail
    )
    where = {p.name: shoff + 64 * (i + 1) for i, p in enumerate(parts)} if headers else {}
    return bytes(out), at, where


def shared(
    codes: Sequence[Code],
    *,
    machine: str = "x86_64",
    pointers: str = "rela",
    align: int = 8,
    headers: bool = True,
    rodata: bytes = b"",
    data: bytes = b"",
    needed: Sequence[str] = (),
    soname: str = "",
) -> HostFile:
    """A linked file. `pointers`: "rela" (zeros in place, as lld does), "relr", or "in-place" (executable)."""
    sections, places = place(codes, align)
    pointed = [i for i, code in enumerate(codes) if code.version]
    strings = b"\0"
    tags: list[tuple[int, int]] = []
    for tag, text in [(1, n) for n in needed] + ([(14, soname)] if soname else []):
        tags.append((tag, len(strings)))
        strings += text.encode("utf-8", "surrogateescape") + b"\0"
    relocations = {"rela": 24 * len(pointed), "relr": 16 if pointed else 0, "in-place": 0}[pointers]
    count = len(tags) + 3 + (3 if relocations else 0)
    parts = [
        Part(name=".dynstr", data=strings, kind=STRTAB, align=1),
        Part(name=".rela.dyn", data=bytes(relocations), kind=RELR if pointers == "relr" else RELA),
        Part(name=".rodata", data=rodata),
        *(Part(name=name, data=body, align=align) for name, body in sections.items()),
        Part(name=".dynamic", data=bytes(16 * count), kind=DYNAMIC, flags=3),
        Part(name=".data", data=data, flags=3),
        Part(name=".nvFatBinSegment", data=bytes(24 * len(pointed)), flags=3),
    ]
    last_read_only = next(reversed(sections), ".rodata")
    segments = [(PT_LOAD, 4, "", last_read_only), (PT_LOAD, 6, ".dynamic", ".nvFatBinSegment")]
    segments.append((PT_DYNAMIC, 6, ".dynamic", ".dynamic"))
    kind = ET_EXEC if pointers == "in-place" else ET_DYN
    raw, at, where = _file(kind, machine, parts, segments, headers)
    out = bytearray(raw)
    tags += [(5, BASE + at[".dynstr"]), (10, len(strings))]
    if relocations:
        numbers = (36, 35, 37, 8) if pointers == "relr" else (7, 8, 9, 24)
        tags += [(numbers[0], BASE + at[".rela.dyn"]), (numbers[1], relocations), (numbers[2], numbers[3])]
    for i, (tag, value) in enumerate([*tags, (0, 0)]):
        struct.pack_into("<QQ", out, at[".dynamic"] + 16 * i, tag, value)
    slots = []
    for i, code in enumerate(pointed):
        section, offset = places[code]
        target = BASE + at[section] + offset
        here = at[".nvFatBinSegment"] + 24 * i
        slots.append(here)
        in_place = 0 if pointers == "rela" else target
        out[here : here + 24] = wrapper(data=in_place, version=codes[code].version)
        if pointers == "rela":
            record = struct.pack("<QQQ", BASE + here + 8, MACHINES[machine][1], target)
            out[at[".rela.dyn"] + 24 * i : at[".rela.dyn"] + 24 * (i + 1)] = record
    if pointers == "relr" and slots:  # one address word, then a bitmap: each third word of the wrappers is a pointer
        bits = sum(1 << (3 * i) for i in range(1, len(slots)))
        struct.pack_into("<QQ", out, at[".rela.dyn"], BASE + slots[0] + 8, bits | 1)
    found = tuple(at[section] + offset for section, offset in places)
    return HostFile(data=bytes(out), at=at, header=where, wrappers=tuple(slots), containers=found)


def obj(codes: Sequence[Code], *, machine: str = "x86_64", align: int = 8, debug: bytes = b"") -> HostFile:
    """An unlinked object (ET_REL): each wrapper's pointer is a relocation against a section symbol."""
    sections, places = place(codes, align)
    pointed = [i for i, code in enumerate(codes) if code.version]
    names = list(sections)
    symbols = bytes(24)
    for number in range(len(names)):
        symbols += struct.pack("<IBBHQQ", 0, 3, 0, number + 1, 0, 0)
    wrappers = b"".join(wrapper(version=codes[i].version) for i in pointed)
    relocations = b""
    for slot, i in enumerate(pointed):
        section, offset = places[i]
        symbol = names.index(section) + 1
        relocations += struct.pack("<QQQ", 24 * slot + 8, symbol << 32 | MACHINES[machine][2], offset)
    segment = len(names) + 1
    parts = [
        *(Part(name=name, data=body, align=align) for name, body in sections.items()),
        Part(name=".nvFatBinSegment", data=wrappers, flags=3),
        Part(
            name=".rela.nvFatBinSegment",
            data=relocations,
            kind=RELA,
            flags=0x40,
            link=segment + 2,
            info=segment,
            entsize=24,
        ),
        Part(
            name=".symtab",
            data=symbols,
            kind=SYMTAB,
            flags=0,
            link=segment + 3,
            info=len(names) + 1,
            entsize=24,
        ),
        Part(name=".strtab", data=b"\0", kind=STRTAB, flags=0, align=1),
        *([Part(name=".debug_info", data=debug, flags=0)] if debug else []),
    ]
    raw, at, where = _file(ET_REL, machine, parts, (), headers=True)
    found = tuple(at[section] + offset for section, offset in places)
    slots = tuple(at[".nvFatBinSegment"] + 24 * i for i in range(len(pointed)))
    return HostFile(data=raw, at=at, header=where, wrappers=slots, containers=found)


def ar(*members: tuple[str, bytes]) -> bytes:
    """A Unix archive: 60-byte text headers, members on even offsets."""
    out = b"!<arch>\n"
    for name, data in members:
        out += f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{'644':<8}{len(data):<10}`\n".encode() + data
        out += b"\n" * (len(data) % 2)
    return out
