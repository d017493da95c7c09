"""The containers that a library's host code registers, resolved from the file alone, for any machine.

Written from docs/formats.md 1 and sharing no code with shim: wrappers of .nvFatBinSegment, their RELA record before
the bytes in place, containers of __nv_relfatbin only through the device link's wrapper.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tests.oracles.reference_reader import container_at

WRAPPER = struct.Struct("<IIQQ")
RELA = struct.Struct("<QQq")
RELATIVE = (8, 1027)  # R_X86_64_RELATIVE, R_AARCH64_RELATIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveContainer:
    """`address` of its wrapper; `version` 2 for the result of a device link."""

    address: int
    version: int
    data: bytes


def live_containers(library: Path) -> tuple[LiveContainer, ...]:
    """In the order of their wrappers. Raises AssertionError for a wrapper that leads to no container."""
    data = library.read_bytes()
    with library.open("rb") as file:
        elf = ELFFile(file)
        segment = elf.get_section_by_name(".nvFatBinSegment")
        rela, parts = elf.get_section_by_name(".rela.dyn"), elf.get_section_by_name("__nv_relfatbin")
        loads = [(s["p_vaddr"], s["p_offset"], s["p_filesz"]) for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
        first, end = segment["sh_addr"], segment["sh_addr"] + segment["sh_size"]
        relocated = {}
        if rela is not None:
            table = data[rela["sh_offset"] : rela["sh_offset"] + rela["sh_size"]]
            relocated = {at: (info, value) for at, info, value in RELA.iter_unpack(table) if first <= at < end}
        relocatable = (parts["sh_addr"], parts["sh_addr"] + parts["sh_size"]) if parts is not None else (0, 0)
        start = segment["sh_offset"]

    def offset(address: int) -> int:
        (found,) = [at + address - low for low, at, size in loads if low <= address < low + size]
        return found

    found = []
    for place in range(first, end, WRAPPER.size):
        magic, version, pointer, _ = WRAPPER.unpack_from(data, start + place - first)
        assert magic == 0x466243B1, f"no wrapper at {place:#x}"
        if place + 8 in relocated:
            info, value = relocated[place + 8]
            assert info & 0xFFFFFFFF in RELATIVE, f"relocation {info:#x} at {place + 8:#x}"
            pointer = value
        linked_parts = relocatable[0] <= pointer < relocatable[1]
        # nvcc adds a version-2 wrapper to every library; without relocatable code nothing registers it.
        if linked_parts or (version == 2 and relocatable == (0, 0)):
            continue
        found.append(LiveContainer(address=place, version=version, data=container_at(data, offset(pointer))))
    return tuple(found)
