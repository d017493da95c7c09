"""Names that host code can ask of a container's image: kernels and variables, read without any code of shim."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import lz4.block
import zstandard
from elftools.elf.elffile import ELFFile

from tests.oracles.reference_reader import Entry, read_container

KERNEL = 0x10  # in st_other of a function (docs/formats.md 5.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbols:
    """Mangled kernel names, and size in bytes by name of each variable."""

    kernels: frozenset[str]
    variables: Mapping[str, int]


def payload(entry: Entry) -> bytes:
    """The image itself."""
    match entry.compression:
        case "zstd":
            return zstandard.ZstdDecompressor().decompress(entry.payload)
        case "lz4":
            return lz4.block.decompress(entry.payload, uncompressed_size=entry.size)
        case _:
            return entry.payload


def cubin_symbols(cubin: bytes) -> Symbols:
    """What a cubin defines. pyelftools does not give out all of st_other, so that byte is read here."""
    table = ELFFile(io.BytesIO(cubin)).get_section_by_name(".symtab")
    kernels, variables = set(), {}
    for number, symbol in enumerate(table.iter_symbols()):
        kind, other = symbol["st_info"]["type"], cubin[table["sh_offset"] + 24 * number + 5]
        if symbol["st_shndx"] == "SHN_UNDEF":
            continue
        if kind == "STT_FUNC" and other & KERNEL:
            kernels.add(symbol.name)
        elif kind == "STT_OBJECT":
            variables[symbol.name] = symbol["st_size"]
    return Symbols(kernels=frozenset(kernels), variables=variables)


def container_symbols(container: bytes, arch: str) -> Symbols:
    """What the one machine code image for `arch` ("121") defines. Raises ValueError unless there is exactly one."""
    (entry,) = (entry for entry in read_container(container) if (entry.kind, entry.arch) == ("cubin", arch))
    return cubin_symbols(payload(entry))
