"""One field of a good ELF file poked per case; each has its own message and the offset of the field."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from shim import _core
from tests.builders import elf

SAMPLE = "gnu-rela"
EHDR = {
    "class": 0x04,
    "order": 0x05,
    "version": 0x06,
    "type": 0x10,
    "machine": 0x12,
    "phoff": 0x20,
    "shoff": 0x28,
    "ehsize": 0x34,
    "phentsize": 0x36,
    "phnum": 0x38,
    "shentsize": 0x3A,
    "shnum": 0x3C,
    "shstrndx": 0x3E,
}


def read(data: bytes) -> None:
    """All that the reader asks of a linked file."""
    _core.elf_slots(bytes(data), elf.sample(SAMPLE).slots)


def poked(form: str, offset: int, *values: int, data: bytes | None = None) -> bytes:
    out = bytearray(elf.sample(SAMPLE).data if data is None else data)
    struct.pack_into("<" + form, out, offset, *values)
    return bytes(out)


def parsed(path: Path) -> ELFFile:
    return ELFFile.load_from_path(str(path))


def load_header(number: int) -> int:
    with parsed(elf.sample(SAMPLE).path) as file:
        loads = [i for i, s in enumerate(file.iter_segments()) if s["p_type"] == "PT_LOAD"]
        return file["e_phoff"] + 56 * loads[number]


def section_header(index: int) -> int:
    with parsed(elf.sample(SAMPLE).path) as file:
        return file["e_shoff"] + 64 * index


def test_the_good_file_is_read() -> None:
    sample = elf.sample(SAMPLE)
    with parsed(sample.path) as file:
        start = file.get_section_by_name(".nv_fatbin")["sh_addr"]
    found = _core.elf_slots(sample.data, sample.slots)
    assert found[0][:2] == (start, "rela")


@pytest.mark.parametrize(
    ("field", "form", "value", "message"),
    [
        ("class", "B", 1, r"ELF class \(EI_CLASS; 2 = 64-bit\): expected 2, found 1"),
        ("order", "B", 2, r"ELF byte order \(EI_DATA; 1 = little-endian\): expected 1, found 2"),
        ("version", "B", 0, r"ELF version \(EI_VERSION\): expected 1, found 0"),
        ("type", "H", 4, r"ELF type \(e_type\): expected 1 .* 2 .* or 3 .*, found 4"),
        ("machine", "H", 40, r"ELF machine \(e_machine\): expected 62 .* or 183 .*, found 40"),
        ("ehsize", "H", 63, r"ELF header size \(e_ehsize\): expected 64, found 63"),
        ("phentsize", "H", 32, r"program header size \(e_phentsize\): expected 56, found 32"),
        ("shentsize", "H", 0, r"section header size \(e_shentsize\): expected 64, found 0"),
        ("shstrndx", "H", 0x300, r"section name table \(e_shstrndx\): section 768 of \d+ does not exist"),
        ("shstrndx", "H", 1, r"type of the section name table \(3 = string table\): expected 3, found"),
        ("phnum", "H", 5000, r"program header count: 5000 is more than the limit of 4096"),
    ],
)
def test_header_field(field: str, form: str, value: int, message: str) -> None:
    with pytest.raises(_core.ParseError, match=message) as caught:
        read(poked(form, EHDR[field], value))
    if field != "shstrndx" or value > 100:
        assert caught.value.args[1] == EHDR[field]


def test_not_elf() -> None:
    with pytest.raises(_core.ParseError, match="magic bytes missing"):
        read(poked("B", 0, 0))


@pytest.mark.parametrize("length", [0, 1, 63])
def test_shorter_than_a_header(length: int) -> None:
    with pytest.raises(_core.ParseError, match=f"ELF header: 64 bytes at offset 0 leave the file of {length} bytes"):
        read(elf.sample(SAMPLE).data[:length])


@pytest.mark.parametrize(("field", "what"), [("phoff", "program header table"), ("shoff", "section header table")])
@pytest.mark.parametrize("value", [1 << 40, 2**64 - 1, 2**64 - 64])
def test_table_outside_the_file(field: str, what: str, value: int) -> None:
    with pytest.raises(_core.ParseError, match=f"{what}: .* leave the file"):
        read(poked("Q", EHDR[field], value))


@pytest.mark.parametrize(("field", "what"), [("phnum", "program header table"), ("shnum", "section header table")])
def test_count_that_leaves_the_file(field: str, what: str) -> None:
    with pytest.raises(_core.ParseError, match=f"{what}: .* leave the file"):
        read(poked("H", EHDR[field], 4000))


def test_section_count_without_a_table() -> None:
    with pytest.raises(_core.ParseError, match=r"section count .* but there is no section table"):
        read(poked("Q", EHDR["shoff"], 0))


def test_extended_count_without_a_table() -> None:
    bare = elf.without_section_headers(elf.sample(SAMPLE).data)
    read(bare)
    with pytest.raises(_core.ParseError, match="points to section 0, but there is no section table"):
        read(poked("H", EHDR["phnum"], 0xFFFF, data=bare))


def test_extended_numbering_is_understood() -> None:
    with parsed(elf.sample(SAMPLE).path) as file:
        counts = file["e_shnum"], file["e_phnum"], file["e_shstrndx"]
    data = poked("Q", section_header(0) + 32, counts[0])
    data = poked("II", section_header(0) + 40, counts[2], counts[1], data=data)
    data = poked("HHHH", EHDR["phnum"], 0xFFFF, 64, 0, 0xFFFF, data=data)
    assert _core.elf_slots(data, elf.sample(SAMPLE).slots) == _core.elf_slots(
        elf.sample(SAMPLE).data, elf.sample(SAMPLE).slots
    )


@pytest.mark.parametrize("count", [1 << 19, 2**64 - 1])
def test_extended_section_count_beyond_reason(count: int) -> None:
    data = poked("H", EHDR["shnum"], 0)
    with pytest.raises(_core.ParseError, match=r"section count \(section 0\): \d+ is more than the limit"):
        read(poked("Q", section_header(0) + 32, count, data=data))


@pytest.mark.parametrize(("offset", "size"), [(1 << 40, 8), (0, 1 << 40), (2**64 - 8, 16), (8, 2**64 - 8)])
def test_segment_outside_the_file(offset: int, size: int) -> None:
    at = load_header(1)
    data = poked("Q", at + 8, offset)
    with pytest.raises(_core.ParseError, match=r"segment \d+: .* leave the file") as caught:
        read(poked("Q", at + 32, size, data=data))
    assert caught.value.args[1] == at


def test_segment_larger_in_the_file_than_in_memory() -> None:
    at = load_header(1)
    with pytest.raises(
        _core.ParseError, match=r"loaded segment \d+: file size 0x\w+ exceeds memory size 0x1"
    ) as caught:
        read(poked("Q", at + 40, 1))
    assert caught.value.args[1] == at


def test_overlapping_segments() -> None:
    at = load_header(2)
    with pytest.raises(_core.ParseError, match=r"loaded segment \d+ at 0x\w+ overlaps the one before it") as caught:
        read(poked("Q", at + 16, 0x1008))
    assert caught.value.args[1] == at


def test_segments_out_of_order() -> None:
    at = load_header(2)
    with pytest.raises(_core.ParseError, match=r"loaded segment \d+ at 0x8 stands below the one before it") as caught:
        read(poked("Q", at + 16, 8))
    assert caught.value.args[1] == at


def test_segment_that_wraps_around_memory() -> None:
    with pytest.raises(_core.ParseError, match="overflow 64 bits"):
        read(poked("Q", load_header(3) + 40, 2**64 - 8))


@pytest.mark.parametrize(("offset", "size"), [(1 << 40, 8), (0, 1 << 40), (2**64 - 8, 16)])
def test_section_outside_the_file(offset: int, size: int) -> None:
    at = section_header(5)
    with pytest.raises(_core.ParseError, match=r"section 5: .* leave the file") as caught:
        read(poked("QQ", at + 24, offset, size))
    assert caught.value.args[1] == at


def test_zero_filled_section_may_exceed_the_file() -> None:
    with parsed(elf.sample(SAMPLE).path) as file:
        at = section_header(file.get_section_index(".bss"))
    read(poked("QQ", at + 24, 1 << 40, 1 << 40))


def test_section_name_outside_its_table() -> None:
    with pytest.raises(_core.ParseError, match="section name: offset 0xffffffff lies outside its string table"):
        read(poked("I", section_header(3), 2**32 - 1))


def test_section_name_without_an_end() -> None:
    with parsed(elf.sample(SAMPLE).path) as file:
        names = file.get_section_by_name(".shstrtab")
        offset, size = names["sh_offset"], names["sh_size"]
    data = poked("B", offset + size - 1, 65)
    data = poked("I", section_header(3), size - 3, data=data)
    with pytest.raises(_core.ParseError, match="section name: string has no end in its table"):
        read(data)
