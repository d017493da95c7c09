"""A cubin whose fields are changed in place, and of which one section may become smaller.

ptxas puts sections one behind the other at their alignment, then the section headers, then the program headers; copies
of a section (`.nv.merc.*`) may share its bytes. When a section shrinks, everything behind it is placed by that rule.
The rule is tried on the unchanged file first: unless it gives the very offsets that are there, nothing is changed.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from shim.errors import InputError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_PHOFF_AT, _FLAGS_AT = 32, 48
_NULL, _NOBITS = 0, 8
_MACHINE = 190
_MOST_SECTIONS = 1 << 16
_MOST_ALIGN = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section header; `number` is its place in the table. `size` counts bytes of the file."""

    number: int
    name: str
    kind: int
    offset: int
    size: int
    align: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class CubinFile:
    """A cubin, changed by `put` and `set_flags`, or replaced by what `shrunk` returns.

    Raises:
        InputError: not a cubin, or damaged.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < _HEADER.size or data[:6] != b"\x7fELF\x02\x01":
            raise InputError("not a 64-bit little-endian ELF file")
        ident, self.type, machine, _, _, phoff, shoff, flags, _, phsize, phnum, shsize, shnum, names = (
            _HEADER.unpack_from(data)
        )
        if machine != _MACHINE:
            raise InputError(f"machine {machine}, expected {_MACHINE}")
        if shsize != _SECTION.size or not 0 <= names < shnum < _MOST_SECTIONS or (phnum and phsize != _SEGMENT.size):
            raise InputError("section or program header table of an unexpected form")
        if shoff + shnum * _SECTION.size > len(data) or phoff + phnum * _SEGMENT.size > len(data):
            raise InputError("a header table lies outside the file")
        self.abi = ident[7], ident[8]
        self.flags: int = flags
        self._data = bytearray(data)
        self._tables = phoff, phnum, shoff, shnum
        raw = [_SECTION.unpack_from(data, shoff + i * _SECTION.size) for i in range(shnum)]
        texts = data[raw[names][4] : raw[names][4] + raw[names][5]]
        self.sections = tuple(_section(i, fields, texts, len(data)) for i, fields in enumerate(raw))

    @property
    def image(self) -> bytes:
        """The bytes as they are now."""
        return bytes(self._data)

    def optional(self, name: str) -> Section | None:
        """The section of a name, None when there is none. Raises InputError when there are more."""
        found = [section for section in self.sections if section.name == name]
        if len(found) > 1:
            raise InputError(f"{len(found)} sections named {name}")
        return found[0] if found else None

    def only(self, name: str) -> Section:
        """The section of a name. Raises InputError."""
        found = self.optional(name)
        if found is None:
            raise InputError(f"no section {name}")
        return found

    def read(self, section: Section) -> bytes:
        """Its bytes as they are now."""
        return bytes(self._data[section.offset : section.end])

    def set_flags(self, flags: int) -> None:
        """Change e_flags."""
        self.flags = flags
        struct.pack_into("<I", self._data, _FLAGS_AT, flags)

    def put(self, section: Section, at: int, new: bytes) -> None:
        """Overwrite bytes of a section. Raises InputError when they do not fit in it."""
        if at < 0 or at + len(new) > section.size:
            raise InputError(f"{section.name} has no {len(new)} bytes at {at:#x}")
        self._data[section.offset + at : section.offset + at + len(new)] = new

    def shrunk(self, section: Section, content: bytes, *, table_align: int) -> CubinFile:
        """The file with smaller content in a section; everything behind it is placed anew.

        Args:
            table_align: alignment of the section header table.

        Raises:
            InputError: the file is not laid out by the rule, or other sections reach into this one.
        """
        if self._place(section, section.size, table_align) != {one.offset: one.offset for one in self._behind(section)}:
            raise InputError("its sections do not lie where ptxas would put them")
        places = self._place(section, len(content), table_align)
        if not {self._tables[0], self._tables[2]} <= places.keys():
            raise InputError(f"a header table lies before {section.name}")
        return CubinFile(self._moved(section, content, places))

    def _behind(self, section: Section) -> list[Section]:
        """Everything that starts at the end of a section or later, and the two tables, by offset."""
        phoff, phnum, shoff, shnum = self._tables
        tables = [
            replace(section, number=-1, name="section headers", offset=shoff, size=shnum * _SECTION.size, align=1),
            replace(section, number=-2, name="program headers", offset=phoff, size=phnum * _SEGMENT.size, align=1),
        ]
        found = [one for one in self.sections if one.kind != _NULL and one.number != section.number]
        for one in (*found, *tables):
            if one.offset < section.end and one.end > section.offset and section.size:
                raise InputError(f"{one.name} reaches into {section.name}")
        return sorted(
            (one for one in (*found, *tables) if one.offset >= section.end), key=lambda one: (one.offset, one.end)
        )

    def _place(self, section: Section, size: int, table_align: int) -> dict[int, int]:
        """New offset of every old one behind a section that gets this size."""
        shoff = self._tables[2]
        places: dict[int, int] = {}
        aligns: dict[int, int] = {}
        behind = self._behind(section)
        for one in behind:
            align = table_align if one.offset == shoff and one.number < 0 else one.align
            aligns[one.offset] = max(align, aligns.get(one.offset, 1))
        at = section.offset + size
        old_end = section.end
        for one in behind:
            if one.offset not in places:
                if one.offset < old_end:
                    raise InputError(f"{one.name} overlaps the section before it")
                at = places[one.offset] = -(-at // aligns[one.offset]) * aligns[one.offset]
            if one.end > old_end:
                at, old_end = places[one.offset] + one.size, one.end
        return places

    def _moved(self, section: Section, content: bytes, places: Mapping[int, int]) -> bytes:
        phoff, phnum, shoff, _ = self._tables
        new_phoff, new_shoff = places[phoff], places[shoff]
        behind = self._behind(section)
        out = bytearray(max(places[one.offset] + one.size for one in behind))
        out[: section.offset] = self._data[: section.offset]
        out[section.offset : section.offset + len(content)] = content
        for one in behind:
            new = places[one.offset]
            out[new : new + one.size] = self._data[one.offset : one.end]
        tail = self._data[max(one.end for one in behind) :]
        struct.pack_into("<QQ", out, _PHOFF_AT, new_phoff, new_shoff)
        for one in self.sections:
            at = new_shoff + one.number * _SECTION.size
            fields = list(_SECTION.unpack_from(self._data, shoff + one.number * _SECTION.size))
            fields[4] = places.get(one.offset, one.offset) if one.kind != _NULL else fields[4]
            fields[5] = len(content) if one.number == section.number else fields[5]
            _SECTION.pack_into(out, at, *fields)
        for number in range(phnum):
            fields = list(_SEGMENT.unpack_from(self._data, phoff + number * _SEGMENT.size))
            _SEGMENT.pack_into(out, new_phoff + number * _SEGMENT.size, *_segment(fields, section, behind, places))
        return bytes(out + tail)


def _segment(fields: list[int], section: Section, behind: list[Section], places: Mapping[int, int]) -> list[int]:
    """A program header after the move. Fields 2, 5, 6: offset, bytes in the file, bytes in memory."""
    offset, size = fields[2], fields[5]
    if offset + size <= section.offset:
        return fields
    ends = {one.end: places[one.offset] + one.size for one in behind}
    if offset not in places or (size and offset + size not in ends):
        raise InputError("a segment does not begin and end with a section")
    new = places[offset]
    length = ends[offset + size] - new if size else 0
    memory = fields[6] + (length - size if fields[6] == size else 0)
    return [*fields[:2], new, *fields[3:5], length, memory, fields[7]]


def _section(number: int, fields: tuple[int, ...], texts: bytes, size: int) -> Section:
    name, kind, _, _, offset, length, _, _, align, _ = fields
    stored = 0 if kind in (_NULL, _NOBITS) else length
    if offset + stored > size or align > _MOST_ALIGN or align & (align - 1):
        raise InputError(f"section {number} lies outside the file or has an alignment of {align}")
    end = texts.find(b"\0", name)
    if name > len(texts) or end < 0:
        raise InputError(f"the name of section {number} lies outside its table")
    text = texts[name:end].decode(errors="replace")
    return Section(number=number, name=text, kind=kind, offset=offset, size=stored, align=max(align, 1))
