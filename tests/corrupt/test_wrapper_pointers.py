"""One field of a good library poked per case, around `.nvFatBinSegment` (docs/formats.md 1 and 1.1)."""

from __future__ import annotations

import struct

import pytest

from shim.devicecode import ContainerRole
from tests.builders import fatbin, hostfile
from tests.builders.fatbin import PTX, WRAPPER_FIELDS, Image, poke
from tests.builders.hostfile import BASE, Code, HostFile
from tests.builders.reading import error_of, read_stream

CONTAINER = fatbin.container(Image(kind=PTX, arch=80, payload=fatbin.ptx()))
CODES = [Code(data=CONTAINER), Code(data=CONTAINER)]
RELA = hostfile.shared(CODES)
RELR = hostfile.shared(CODES, pointers="relr", machine="aarch64")
EXEC = hostfile.shared(CODES, pointers="in-place")
OBJECT = hostfile.obj(CODES)
ALL = {"rela": RELA, "relr": RELR, "in-place": EXEC, "object": OBJECT}


def poke_wrapper(made: HostFile, number: int, field: str, value: int) -> bytes:
    offset, fmt = WRAPPER_FIELDS[field]
    return poke(made.data, made.wrappers[number] + offset, fmt, value)


def poke_pointer(made: HostFile, number: int, target: int) -> bytes:
    """Changes where a wrapper points, in the place that counts."""
    if made is RELA:
        return poke(made.data, made.at[".rela.dyn"] + 24 * number + 16, "<Q", target)
    if made is OBJECT:
        return poke(made.data, made.at[".rela.nvFatBinSegment"] + 24 * number + 16, "<Q", target)
    return poke_wrapper(made, number, "data", target)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("number", [0, 1])
class TestRecord:
    """The 24 bytes themselves."""

    @pytest.mark.parametrize("version", [0, 3, 2**32 - 1])
    def test_version(self, name: str, number: int, version: int) -> None:
        made = ALL[name]
        found = error_of(poke_wrapper(made, number, "version", version))
        assert f"fatbin wrapper: expected version 1 or 2, found {version}" in found
        assert found.endswith(f"(at offset {made.wrappers[number] + 4:#x})")

    @pytest.mark.parametrize("magic", [0, 0x466243B2, 2**32 - 1])
    def test_magic(self, name: str, number: int, magic: int) -> None:
        """Also the zero one: it once made the wrapper vanish where the linker leaves zeros in place."""
        made = ALL[name]
        found = error_of(poke_wrapper(made, number, "magic", magic))
        assert ".nvFatBinSegment: expected a 24-byte wrapper with magic 0x466243b1" in found
        assert found.endswith(f"(at offset {made.wrappers[number]:#x})")


@pytest.mark.parametrize("name", ["rela", "relr", "in-place"])
class TestPointer:
    """The address of the container, wherever it is stored."""

    @pytest.mark.parametrize("target", [0, BASE - 16, 1 << 40, 2**64 - 1, 2**64 - 8])
    def test_outside_the_segments(self, name: str, target: int) -> None:
        made = ALL[name]
        found = error_of(poke_pointer(made, 1, target))
        assert "fatbin wrapper: its data pointer leads outside the file's segments" in found
        assert found.endswith(f"(at offset {made.wrappers[1]:#x})")

    def test_last_bytes_of_a_segment_hold_no_container_header(self, name: str) -> None:
        made = ALL[name]
        end = made.wrappers[-1] + 24
        found = error_of(poke_pointer(made, 0, BASE + end - 8))
        assert "leads outside the file's segments" in found

    @pytest.mark.parametrize("shift", [-8, 8, 16, 1])
    def test_no_container_there(self, name: str, shift: int) -> None:
        made = ALL[name]
        target = made.containers[0] + shift
        found = error_of(poke_pointer(made, 0, BASE + target))
        assert f"points at file offset {target}, where no fatbin container (magic 0xba55ed50) stands" in found
        assert found.endswith(f"(at offset {made.wrappers[0]:#x})")

    def test_at_another_container(self, name: str) -> None:
        """Not an error of the file: the container nobody points at is not loaded any more, and is said so."""
        made = ALL[name]
        code = read_stream(poke_pointer(made, 0, BASE + made.containers[1]))
        assert [w.container for w in code.wrappers] == [1, 1]
        assert [c.role for c in code.containers] == [ContainerRole.UNREFERENCED, ContainerRole.WHOLE]


class TestRelocations:
    """What the loader would do to the pointer."""

    def test_rela_wins_over_the_bytes_in_place(self) -> None:
        code = read_stream(poke_wrapper(RELA, 0, "data", 0xDEAD))
        assert [w.target for w in code.wrappers] == list(RELA.containers)

    def test_two_for_one_pointer(self) -> None:
        first = RELA.at[".rela.dyn"]
        doubled = poke(RELA.data, first + 24, "<Q", struct.unpack_from("<Q", RELA.data, first)[0])
        assert "two relocations for one wrapper pointer" in error_of(doubled)

    def test_type(self) -> None:
        at = RELA.at[".rela.dyn"] + 8
        assert "relocation type 16 for a wrapper pointer is no plain address" in error_of(poke(RELA.data, at, "<Q", 16))

    def test_symbol_without_a_table(self) -> None:
        at = RELA.at[".rela.dyn"] + 8
        assert "names a symbol, but there is no symbol table" in error_of(poke(RELA.data, at, "<Q", 7 << 32 | 1))

    def test_none(self) -> None:
        """The record moved to another address: zeros in place are then the pointer."""
        at = RELA.at[".rela.dyn"]
        assert "leads outside the file's segments" in error_of(poke(RELA.data, at, "<Q", BASE))

    def test_table_outside_the_file(self) -> None:
        found = error_of(RELA.data.replace(struct.pack("<QQ", 8, 48), struct.pack("<QQ", 8, 1 << 40)))
        assert f"relocation table (DT_RELA): {1 << 40} bytes is more than the limit" in found


class TestObject:
    """Unlinked: the pointer is a relocation against a symbol."""

    RECORD = OBJECT.at[".rela.nvFatBinSegment"]

    def test_section_does_not_exist(self) -> None:
        symbol = OBJECT.at[".symtab"] + 24 + 6
        found = error_of(poke(OBJECT.data, symbol, "<H", 99))
        assert "wrapper pointer names section 99, which does not exist" in found
        assert found.endswith(f"(at offset {self.RECORD:#x})")

    def test_symbol_does_not_exist(self) -> None:
        found = error_of(poke(OBJECT.data, self.RECORD + 12, "<I", 2**31))
        assert f"relocation names symbol {2**31}, which does not exist" in found

    @pytest.mark.parametrize("addend", [8, 1 << 40])
    def test_no_container_there(self, addend: int) -> None:
        assert "where no fatbin container (magic 0xba55ed50) stands" in error_of(poke_pointer(OBJECT, 0, addend))

    @pytest.mark.parametrize("addend", [2**64 - 1, 2**64 - 8])
    def test_sum_of_offset_and_addend_overflows(self, addend: int) -> None:
        found = error_of(poke_pointer(OBJECT, 0, addend))
        assert "offset and size overflow 64 bits" in found

    def test_no_relocation(self) -> None:
        found = error_of(poke(OBJECT.data, self.RECORD, "<Q", 0))
        assert "wrapper pointer without a relocation in an object file" in found

    def test_type(self) -> None:
        found = error_of(poke(OBJECT.data, self.RECORD + 8, "<I", 2))
        assert "relocation type of a wrapper pointer: expected 1, found 2" in found

    def test_no_relocation_section(self) -> None:
        header = OBJECT.header[".rela.nvFatBinSegment"]
        assert "has no relocations for its wrappers" in error_of(poke(OBJECT.data, header + 4, "<I", 1))


@pytest.mark.parametrize("name", ALL)
class TestSection:
    """Size, offset and type of `.nvFatBinSegment`."""

    @pytest.mark.parametrize("rest", [1, 7, 8, 9, 23])
    def test_odd_size(self, name: str, rest: int) -> None:
        made = ALL[name]
        found = error_of(poke(made.data, made.header[".nvFatBinSegment"] + 32, "<Q", 24 + rest))
        assert f".nvFatBinSegment: {rest} bytes are left, a wrapper needs 24" in found
        assert found.endswith(f"(at offset {made.wrappers[1]:#x})")

    @pytest.mark.parametrize("size", [1 << 40, 2**64 - 1])
    def test_leaves_the_file(self, name: str, size: int) -> None:
        made = ALL[name]
        found = error_of(poke(made.data, made.header[".nvFatBinSegment"] + 32, "<Q", size))
        assert f"{size:#x} bytes at file offset" in found
        assert "leave the file of" in found

    def test_starts_elsewhere(self, name: str) -> None:
        made = ALL[name]
        at = made.header[".nvFatBinSegment"] + 24
        found = error_of(poke(made.data, at, "<Q", made.wrappers[0] - 4))
        assert ".nvFatBinSegment: " in found

    def test_empty_shell(self, name: str) -> None:
        """Debug files keep section headers without bytes (SHT_NOBITS). The records are then found as data."""
        made = ALL[name]
        code = read_stream(poke(made.data, made.header[".nvFatBinSegment"] + 4, "<I", hostfile.NOBITS))
        role = ContainerRole.EMBEDDED if made is OBJECT else ContainerRole.WHOLE
        assert [c.role for c in code.containers] == [role, role]


def test_zeros_between_wrappers() -> None:
    """An object may be padded; eight zeros are no record, and none that follows is lost."""
    made = hostfile.shared(CODES, pointers="in-place", data=bytes(8))
    first, second = made.wrappers
    data = bytearray(made.data)
    data[first - 8 : first + 24] = data[first : first + 24] + bytes(8)
    shifted = poke(bytes(data), made.header[".nvFatBinSegment"] + 24, "<Q", first - 8)
    shifted = poke(shifted, made.header[".nvFatBinSegment"] + 32, "<Q", 56)
    assert [w.offset for w in read_stream(shifted).wrappers] == [first - 8, second]


def test_wrapper_in_no_segment() -> None:
    """Its slot was once taken to be at address 0."""
    data = poke(RELA.data, 64 + 56 + 32, "<Q", struct.unpack_from("<Q", RELA.data, 64 + 56 + 32)[0] - 48)
    found = error_of(poke(data, 64 + 56 + 40, "<Q", 0x1000))
    assert "fatbin wrapper: stands in no loaded segment of the file" in found
    assert found.endswith(f"(at offset {RELA.wrappers[0]:#x})")


def test_without_section_headers_a_pointer_into_nothing_is_no_wrapper() -> None:
    """Then a record is only a candidate: the magic number can stand in data by chance."""
    made = hostfile.shared(CODES, headers=False)
    code = read_stream(poke(made.data, made.at[".rela.dyn"] + 16, "<Q", BASE))
    assert [w.container for w in code.wrappers] == [1]
