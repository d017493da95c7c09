"""Dynamic section, versions, relocations and symbols of hostile files; and every truncation of a good one."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from shim import _core
from tests.builders import elf

TAGS = {"RELA": 7, "RELASZ": 8, "RELAENT": 9, "STRTAB": 5, "STRSZ": 10, "SYMTAB": 6, "SYMENT": 11, "NEEDED": 1}
TAGS |= {"VERNEED": 0x6FFFFFFE, "VERNEEDNUM": 0x6FFFFFFF, "RELRSZ": 35, "RELR": 36, "RELRENT": 37}


def segment(path: Path, kind: str) -> tuple[int, int]:
    """(file offset of the segment, file offset of its program header)."""
    with ELFFile.load_from_path(str(path)) as file:
        for number, found in enumerate(file.iter_segments()):
            if found["p_type"] == kind:
                return found["p_offset"], file["e_phoff"] + 56 * number
    raise AssertionError(kind)


def with_tag(sample: elf.Sample, tag: str, value: int) -> bytes:
    """The sample with the first entry of a kind in its dynamic section changed."""
    data, (at, _) = bytearray(sample.data), segment(sample.path, "PT_DYNAMIC")
    while struct.unpack_from("<Q", data, at)[0] != TAGS[tag]:
        assert struct.unpack_from("<Q", data, at)[0] != 0, f"{tag} not found"
        at += 16
    struct.pack_into("<Q", data, at + 8, value)
    return bytes(data)


def read(data: bytes, sample: elf.Sample) -> list[tuple[int, str, int]]:
    return _core.elf_slots(data, sample.slots)


@pytest.mark.parametrize(
    ("name", "tag", "value", "message"),
    [
        ("gnu-rela", "RELA", 1 << 40, r"relocation table \(DT_RELA\): \d+ bytes at address .* in no loaded part"),
        ("gnu-rela", "RELASZ", 1 << 20, r"relocation table \(DT_RELA\): \d+ bytes at address .* in no loaded part"),
        ("gnu-rela", "RELASZ", 2**63, r"relocation table \(DT_RELA\): \d+ bytes is more than the limit"),
        ("gnu-rela", "RELAENT", 16, r"relocation size \(DT_RELAENT\): expected 24, found 16"),
        ("gnu-rela", "SYMENT", 16, r"symbol size \(DT_SYMENT\): expected 24, found 16"),
        ("gnu-rela", "SYMTAB", 1 << 40, r"symbol table \(DT_SYMTAB\): .* in no loaded part"),
        ("gnu-rela", "STRTAB", 1 << 40, r"dynamic string table \(DT_STRTAB\): .* in no loaded part"),
        ("gnu-rela", "STRSZ", 0, r"needed library \(DT_NEEDED\): offset .* lies outside its string table of 0x0"),
        ("gnu-rela", "NEEDED", 1 << 40, r"needed library \(DT_NEEDED\): offset 0x10000000000 lies outside"),
        ("gnu-rela", "VERNEED", 1 << 40, r"version table \(DT_VERNEED\): .* in no loaded part"),
        ("gnu-rela", "VERNEEDNUM", 1 << 20, r"version table: 1048576 entries"),
        ("gnu-relr", "RELR", 1 << 40, r"packed relocation table \(DT_RELR\): .* in no loaded part"),
        ("gnu-relr", "RELRSZ", 2**64 - 8, r"packed relocation table \(DT_RELR\): \d+ bytes is more than the limit"),
        ("gnu-relr", "RELRENT", 4, r"packed relocation size \(DT_RELRENT\): expected 8, found 4"),
    ],
)
def test_dynamic_table(name: str, tag: str, value: int, message: str) -> None:
    sample = elf.sample(name)
    with pytest.raises(_core.ParseError, match=message):
        read(with_tag(sample, tag, value), sample)


def test_dynamic_section_outside_the_loaded_parts() -> None:
    sample = elf.sample("gnu-rela")
    data = bytearray(sample.data)
    struct.pack_into("<Q", data, segment(sample.path, "PT_DYNAMIC")[1] + 16, 1 << 40)
    with pytest.raises(_core.ParseError, match=r"dynamic section: .* at address 0x10000000000 lie in no loaded part"):
        read(bytes(data), sample)


def test_version_table_that_leads_outside() -> None:
    sample = elf.sample("gnu-rela")
    with ELFFile.load_from_path(str(sample.path)) as file:
        at = file.get_section_by_name(".gnu.version_r")["sh_offset"]
    for form, offset in (("<I", 8), ("<I", 12)):
        data = bytearray(sample.data)
        struct.pack_into(form, data, at + offset, 2**31)
        with pytest.raises(_core.ParseError, match=r"version table: entry at .* leaves the table"):
            read(bytes(data), sample)


def test_version_table_that_never_ends() -> None:
    sample = elf.sample("gnu-rela")
    with ELFFile.load_from_path(str(sample.path)) as file:
        section = file.get_section_by_name(".gnu.version_r")
        at = section["sh_offset"]
    data = bytearray(sample.data)
    # The second record lies 16 bytes further and so on; counts say there are many.
    struct.pack_into("<H", data, at + 2, 0xFFFF)
    struct.pack_into("<I", data, at + 16 + 12, 2**32 - 16)
    with pytest.raises(_core.ParseError, match="version table"):
        read(bytes(data), sample)


@pytest.mark.parametrize(("kind", "plain"), [(8, True), (1, False), (6, False), (5, None), (37, None)])
def test_relocation_types(kind: int, plain: bool | None) -> None:
    sample = elf.sample("gnu-rela")
    _, how, at = read(sample.data, sample)[0]
    assert how == "rela"
    data = bytearray(sample.data)
    struct.pack_into("<Q", data, at + 8, kind)
    if plain:
        assert read(bytes(data), sample)[0][1] == "rela"
        return
    # Symbol 0 is undefined; COPY and IRELATIVE are no addresses.
    message = "another library defines" if plain is False else f"relocation type {kind} .* is no plain address"
    with pytest.raises(_core.ParseError, match=message) as caught:
        read(bytes(data), sample)
    assert caught.value.args[1] == at


def test_relocation_against_a_symbol_outside_the_file() -> None:
    sample = elf.sample("gnu-symbol")
    at = read(sample.data, sample)[0][2]
    data = bytearray(sample.data)
    struct.pack_into("<Q", data, at + 8, 1 | 0xFFFFFFFF << 32)
    with pytest.raises(_core.ParseError, match=r"symbol of a relocation: 24 bytes at offset .* leave the file"):
        read(bytes(data), sample)


def test_slot_outside_the_loaded_parts() -> None:
    for address in (1 << 40, 2**64 - 1):
        with pytest.raises(_core.ParseError, match=r"wrapper pointer: 8 bytes at address .* in no loaded part"):
            _core.elf_slots(elf.sample("gnu-rela").data, [address])


def test_in_place_bytes_are_not_trusted_beside_a_relocation() -> None:
    sample = elf.sample("gnu-rela")
    data = bytearray(sample.data)
    data[sample.wrappers[0] + 8 : sample.wrappers[0] + 16] = b"\xee" * 8
    assert read(bytes(data), sample) == read(sample.data, sample)


def test_packed_relocations_leave_the_value_in_place() -> None:
    sample = elf.sample("gnu-relr")
    data = bytearray(sample.data)
    struct.pack_into("<Q", data, sample.wrappers[1] + 8, 0x1234)
    assert read(bytes(data), sample)[1] == (0x1234, "relr", 0)


def test_objects(tmp_path: Path) -> None:
    parts = [elf.Container(data=elf.filled_container(n)) for n in (1, 2)]
    path = elf.build_object(tmp_path, parts)
    data = path.read_bytes()
    with ELFFile.load_from_path(str(path)) as file:
        number = file.get_section_index(elf.SEGMENT)
        target = file.get_section_index(".nv_fatbin")
        table = file.get_section_by_name(".rela" + elf.SEGMENT)["sh_offset"]
        headers = file["e_shoff"]
        rela = file.get_section_index(".rela" + elf.SEGMENT)
    found = _core.elf_object_slots(data, number, [8, 32])
    assert found == [(target, 0), (target, len(parts[0].data))]

    def fails(message: str, section: int, slots: list[int], form: str = "", at: int = 0, value: int = 0) -> None:
        changed = bytearray(data)
        if form:
            struct.pack_into(form, changed, at, value)
        with pytest.raises(_core.ParseError, match=message):
            _core.elf_object_slots(bytes(changed), section, slots)

    fails("no relocations for its wrappers", target, [8])
    fails("without a relocation in an object file", number, [16])
    fails("relocation type of a wrapper pointer: expected 1, found 10", number, [8], "<I", table + 8, 10)
    fails("names symbol 4294967295, which does not exist", number, [8], "<I", table + 12, 2**32 - 1)
    fails("names section 0, which does not exist", number, [8], "<I", table + 12, 0)
    fails("relocation section without a symbol table", number, [8], "<I", headers + 64 * rela + 40, 999)


@pytest.mark.parametrize("name", ["gnu-rela", "lld-relr", "aarch64-rela"])
def test_every_truncation_is_an_error(name: str) -> None:
    sample = elf.sample(name)
    assert len(read(sample.data, sample)) == 3
    for length in range(0, len(sample.data), 61):
        with pytest.raises(_core.ParseError):
            read(sample.data[:length], sample)


def test_what_a_library_needs() -> None:
    needed, soname, glibc = _core.elf_needs(elf.sample("gnu-rela").data)
    assert "libstdc++.so.6" in needed
    assert soname == ""
    assert glibc >= (2, 2)
    assert _core.elf_needs(elf.sample("aarch64-rela").data) == ([], "libaarch64-rela.so", None)
