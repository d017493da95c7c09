"""Whole files that are damaged: cut off, cubins with poked tables, PTX that ends early, archives that lie."""

from __future__ import annotations

import struct

import pytest

from shim.devicecode import read_cubin, read_ptx
from shim.errors import InputError
from tests.builders import cubin as cubins
from tests.builders import fatbin, hostfile
from tests.builders.cubin import ELF_FIELDS, SECTION_FIELDS, Symbol, section_header
from tests.builders.fatbin import CUBIN, PTX, Image, poke
from tests.builders.hostfile import Code
from tests.builders.reading import error_of, facts, read_stream

CONTAINER = fatbin.container(
    Image(kind=PTX, arch=80, payload=fatbin.ptx()), Image(kind=CUBIN, arch=121, payload=cubins.cubin(121))
)
CODES = [Code(data=CONTAINER), Code(data=CONTAINER)]
KERNEL = Symbol(name="kernel", parameters=((0, 8), (1, 4)))
ONE_CUBIN = cubins.cubin(121, symbols=(KERNEL,), compat=fatbin.compat((9, 1)))
GOOD = {
    "lib.so": hostfile.shared(CODES, needed=("libc.so.6",)).data,
    "relr.so": hostfile.shared(CODES, pointers="relr", machine="aarch64", align=256).data,
    "exec": hostfile.shared(CODES, pointers="in-place").data,
    "a.o": hostfile.obj(CODES).data,
    "lib.a": hostfile.ar(("a.o", hostfile.obj(CODES).data), ("b.o", hostfile.obj(CODES).data)),
    "a.fatbin": CONTAINER,
    "a.cubin": ONE_CUBIN,
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("fiftieth", range(1, 50))
def test_cut_off(name: str, fiftieth: int) -> None:
    """A file with GPU code that lost its end is refused wherever it was cut, never taken for one without."""
    data = GOOD[name]
    found = error_of(data[: len(data) * fiftieth // 50], name)
    assert "(at offset 0x" in found


@pytest.mark.parametrize("name", GOOD)
def test_last_byte_missing(name: str) -> None:
    assert "(at offset 0x" in error_of(GOOD[name][:-1], name)


@pytest.mark.parametrize("headers", [16, 20, 63])
def test_cut_off_inside_the_elf_header(headers: int) -> None:
    """Below 20 bytes not even the machine is known: then it is some file that starts like an ELF file."""
    data = GOOD["lib.so"][:headers]
    if headers < 20:
        assert not read_stream(data).has_device_code
    else:
        assert "ELF header: 64 bytes at offset 0 leave the file" in error_of(data)


@pytest.mark.parametrize("promised", [1, 100])
def test_stream_shorter_than_promised(promised: int) -> None:
    from shim.devicecode import StreamReader

    for name, data in GOOD.items():
        reader = StreamReader(name, len(data) + promised)
        reader.feed(data)
        with pytest.raises(InputError, match=rf"{name}: .*file ends after {len(data)} bytes, expected"):
            reader.finish(lambda ranges: ())


def test_stream_longer_than_promised() -> None:
    from shim.devicecode import StreamReader

    for name, data in GOOD.items():
        reader = StreamReader(name, len(data) - 8)
        with pytest.raises(InputError, match=r"more bytes than the file's stated size|leave"):
            reader.feed(data)


def test_damaged_elf_without_gpu_code_is_nobodys_business() -> None:
    """Wheels hold odd ELF files (test data, debug files); without a sign of GPU code they are no error."""
    data = hostfile.shared([], needed=("libc.so.6",)).data
    code = read_stream(poke(data, 62, "<H", 999))
    assert (code.format, code.has_device_code, code.needed) == ("elf", False, ())


@pytest.mark.parametrize(
    ("offset", "fmt", "value", "message"),
    [
        (54, "<H", 55, "program header size (e_phentsize): expected 56, found 55"),
        (56, "<H", 0xFFFE, "program header count: 65534 is more than the limit of 4096"),
        (58, "<H", 63, "section header size (e_shentsize): expected 64, found 63"),
        (60, "<H", 0xFF00, "section header table: 4177920 bytes"),
        (62, "<H", 999, "section name table (e_shstrndx): section 999 of"),
        (32, "<Q", 2**64 - 8, "program header table:"),
        (40, "<Q", 2**64 - 8, "section header table:"),
        (64 + 32, "<Q", 2**64 - 1, "segment 0: 0xffffffffffffffff bytes at file offset"),
        (64 + 56 + 16, "<Q", 0x10000, "overlaps the one before it"),
        (64 + 56 + 40, "<Q", 8, "exceeds memory size 0x8"),
    ],
)
def test_elf_header_of_a_library_with_gpu_code(offset: int, fmt: str, value: int, message: str) -> None:
    assert message in error_of(poke(GOOD["lib.so"], offset, fmt, value))


def cubin_error(data: bytes) -> str:
    """The same words from read_cubin and for the file."""
    with pytest.raises(InputError) as caught:
        read_cubin(data)
    assert str(caught.value).startswith("cubin")
    inner = str(caught.value).removeprefix("cubin: ").split(" (at offset")[0]
    assert inner in error_of(data, "a.cubin")
    return str(caught.value)


class TestCubin:
    SECTIONS = struct.unpack_from("<H", ONE_CUBIN, 60)[0]

    def poke_section(self, name: str, field: str, value: int) -> bytes:
        return poke(ONE_CUBIN, self.header(name) + SECTION_FIELDS[field][0], SECTION_FIELDS[field][1], value)

    def header(self, name: str) -> int:
        names = struct.unpack_from("<Q", ONE_CUBIN, section_header(ONE_CUBIN, self.SECTIONS - 1) + 24)[0]
        for i in range(1, self.SECTIONS):
            at = section_header(ONE_CUBIN, i)
            start = names + struct.unpack_from("<I", ONE_CUBIN, at)[0]
            if ONE_CUBIN[start : ONE_CUBIN.index(b"\0", start)] == name.encode():
                return at
        raise AssertionError(name)

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("shoff", 2**64 - 8, "cubin section headers: "),
            ("shoff", 1 << 40, "leave the file of"),
            ("shentsize", 40, "section header size 40, expected 64"),
            ("shnum", 0xFFFF, "cubin section headers: 4194240 bytes"),
            ("shstrndx", 0xFFFF, "section name table index 65535"),
            ("phnum", 0xFFFF, "cubin program headers: "),
        ],
    )
    def test_header(self, field: str, value: int, message: str) -> None:
        offset, fmt = ELF_FIELDS[field]
        data = poke(ONE_CUBIN, offset, fmt, value)
        if field == "phnum":
            data = poke(data, ELF_FIELDS["phentsize"][0], "<H", 56)
        assert message in cubin_error(data)

    @pytest.mark.parametrize("name", [".text", ".nv.info.kernel", ".nv.compat", ".symtab", ".strtab", ".shstrtab"])
    @pytest.mark.parametrize(("field", "value"), [("size", 2**64 - 1), ("size", 1 << 20), ("offset", 2**64 - 8)])
    def test_section_leaves_the_image(self, name: str, field: str, value: int) -> None:
        found = cubin_error(self.poke_section(name, field, value))
        assert "leaves the image of" in found
        assert found.endswith(f"(at offset {self.header(name):#x} of the image)")

    def test_section_name_outside_its_table(self) -> None:
        assert "name outside its string table" in cubin_error(self.poke_section(".text", "name", 2**32 - 1))

    def test_section_names_without_end(self) -> None:
        size = struct.unpack_from("<Q", ONE_CUBIN, self.header(".shstrtab") + 32)[0]
        assert "name does not end inside its string table" in cubin_error(
            self.poke_section(".shstrtab", "size", size - 1)
        )

    def test_symbol_table_without_strings(self) -> None:
        assert "symbol table without a string table" in cubin_error(self.poke_section(".symtab", "link", 99))

    def test_symbol_name_outside_its_table(self) -> None:
        at = struct.unpack_from("<Q", ONE_CUBIN, self.header(".symtab") + 24)[0] + 24
        assert "name outside its string table" in cubin_error(poke(ONE_CUBIN, at, "<I", 2**31))

    def test_parameters_that_lie_end_the_list(self) -> None:
        """.nv.info is advisory: a record that leaves it ends the list, the kernel stays."""
        at = struct.unpack_from("<Q", ONE_CUBIN, self.header(".nv.info.kernel") + 24)[0]
        (kernel,) = read_cubin(poke(ONE_CUBIN, at + 6, "<H", 0xFFFF)).kernels
        assert (kernel.name, kernel.parameters) == ("kernel", ())

    def test_not_a_cubin(self) -> None:
        assert "cubin file: expected an ELF header with e_machine 190" in error_of(
            poke(ONE_CUBIN, 18, "<H", 191)[:40], "a.cubin"
        )

    @pytest.mark.parametrize("what", ["names", "attributes"])
    def test_sections_on_top_of_each_other(self, what: str) -> None:
        """60,000 symbols that name the same long string, or share one list of parameters."""
        long = "k" * 5000
        many = Symbol(name="kernel", parameters=tuple((i, 4) for i in range(500)))
        symbols = tuple(Symbol(name=f"{long}{i}" if what == "names" else f"k{i}") for i in range(2))
        data = bytearray(cubins.cubin(121, symbols=(*symbols, many)))
        table = next(
            section_header(bytes(data), i)
            for i in range(1, struct.unpack_from("<H", data, 60)[0])
            if struct.unpack_from("<I", data, section_header(bytes(data), i) + 4)[0] == cubins.SHT_SYMTAB
        )
        at, size = struct.unpack_from("<QQ", data, table + 24)
        record = bytes(data[at + size - 24 : at + size] if what == "attributes" else data[at + 24 : at + 48])
        struct.pack_into("<QQ", data, table + 24, len(data), 24 * 60_000)
        with pytest.raises(InputError, match="its names and attributes overlap"):
            read_cubin(bytes(data) + record * 60_000)


class TestPtx:
    TEXT = fatbin.ptx(kernels=("one", "two"), body="{ ret; }")

    @pytest.mark.parametrize("fiftieth", range(1, 50))
    def test_cut_off(self, fiftieth: int) -> None:
        """Between two kernels nothing tells; cut anywhere else the text is refused."""
        text = self.TEXT[: len(self.TEXT) * fiftieth // 50]
        complete = text.count(b"}\n}")
        if text.count(b".entry o") + text.count(b".entry t") == complete and b".target sm_80" in text:
            assert len(read_ptx(text)) == complete
        else:
            with pytest.raises(InputError, match=r"PTX: |not PTX: "):
                read_ptx(text)
            assert "PTX" in error_of(text, "a.ptx")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"", "expected .version as the first directive"),
            (b"import os", "expected .version as the first directive"),
            (b".version\n.target sm_80", ".version without a number"),
            (b".version 9.0\n.address_size 64", "expected .target behind .version"),
            (b".version 9.0\n.target compute_80", "expected .target sm_NN"),
            (b".version 9.0\n.target sm_80\n.entry k(.param .u64 p", "text ends inside the parameters of k"),
            (b".version 9.0\n.target sm_80\n.entry k() { ret;", "text ends inside kernel k"),
            (b".version 9.0\n.target sm_80\n.entry k", "text ends inside kernel k"),
            (b".version 9.0\n.target sm_80\n.entry k() { ret; // }", "text ends inside kernel k"),
            (b".version 9.0\n.target sm_80\n.entry k() { /* ret; }", "text ends inside kernel k"),
            (b".version 9.0\n.target sm_80\n.func f() { ret;", "text ends inside a block"),
            (b".version 9.0\n.target sm_80\n}", "text ends inside a block"),
        ],
    )
    def test_message(self, text: bytes, message: str) -> None:
        with pytest.raises(InputError) as caught:
            read_ptx(text)
        assert message in str(caught.value)
        assert "of the image)" in str(caught.value)

    def test_file_that_is_no_ptx(self) -> None:
        assert "PTX file: expected .version and .target at its start" in error_of(b"hello", "a.ptx")


class TestArchive:
    DATA = GOOD["lib.a"]
    SECOND = DATA.index(b"b.o/")

    @pytest.mark.parametrize("at", [8, SECOND])
    @pytest.mark.parametrize(
        ("size", "message"),
        [
            (b"          ", "member size is not a number"),
            (b"-1        ", "member size is not a number"),
            (b"12 4      ", "member size is not a number"),
            (b"0x10      ", "member size is not a number"),
            (b"9999999999", "ar archive: member of 9999999999 bytes leaves the file of"),
        ],
    )
    def test_size(self, at: int, size: bytes, message: str) -> None:
        found = error_of(self.DATA[: at + 48] + size + self.DATA[at + 58 :], "lib.a")
        assert message in found
        assert found.endswith(f"(at offset {at + 48:#x})")

    @pytest.mark.parametrize("at", [8, SECOND])
    def test_end_of_header(self, at: int) -> None:
        found = error_of(poke(self.DATA, at + 58, "<B", 0), "lib.a")
        assert "member header does not end in" in found
        assert found.endswith(f"(at offset {at + 58:#x})")

    @pytest.mark.parametrize("member", [0, 1])
    def test_offset_of_an_error_is_that_of_the_archive(self, member: int) -> None:
        inner = hostfile.obj(CODES)
        start = (8 + 60, self.SECOND + 60)[member]
        found = error_of(poke(self.DATA, start + inner.wrappers[1] + 4, "<I", 7), "lib.a")
        assert "expected version 1 or 2, found 7" in found
        assert found.endswith(f"(at offset {start + inner.wrappers[1] + 4:#x})")

    def test_member_smaller_than_its_object(self) -> None:
        """The rest of the object is then read as the next member."""
        size = len(hostfile.obj(CODES).data)
        shrunk = self.DATA[: 8 + 48] + f"{size - 64:<10}".encode() + self.DATA[8 + 58 :]
        assert "ar archive: " in error_of(shrunk, "lib.a") or "leave" in error_of(shrunk, "lib.a")


def test_good_files_are_good() -> None:
    """What the cases above damage is read without complaint, in one piece and in small ones."""
    for name, data in GOOD.items():
        whole = read_stream(data, name)
        assert whole.has_device_code
        assert facts(whole) == facts(read_stream(data, name, range(1, len(data), 61)))
