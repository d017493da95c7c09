"""Kernels of cubins (docs/formats.md 5 and 5.2) and of PTX text, on files built byte by byte."""

from __future__ import annotations

import pytest

from shim.devicecode import ImageKind, Kernel, compat_records, kernels_in, read_cubin, read_ptx
from tests.builders import fatbin
from tests.builders.cubin import STT_OBJECT, Symbol, cubin

HEAD = b".version 9.0\n.target sm_121a, debug\n.address_size 64\n"


class TestCubin:
    @pytest.mark.parametrize(("abi", "archs"), [(7, (50, 75, 89, 90)), (8, (75, 90, 100, 120, 121))])
    def test_architecture(self, abi: int, archs: tuple[int, ...]) -> None:
        for arch in archs:
            info = read_cubin(cubin(arch, abi=abi))
            assert (info.abi, info.sm, info.feature, info.linked) == (abi, arch, "", True)

    def test_suffix_a_of_the_old_abi_is_a_flag(self) -> None:
        assert read_cubin(cubin(90, abi=7, feature="a")).feature == "a"

    def test_suffix_a_of_cuda_12_9_is_a_flag(self) -> None:
        data = cubin(121)
        assert read_cubin(fatbin.poke(data, 48, "<I", 0x0600790A)).feature == "a"

    @pytest.mark.parametrize(
        ("records", "feature"),
        [
            (fatbin.compat((2, 1), (9, 1)), "a"),
            (fatbin.compat((11, bytes(8)), (9, 1)), "a"),
            (fatbin.compat((2, 1), (9, 0)), ""),
            (fatbin.compat((2, 9), (5, 1)), ""),
            (b"\x02\x09", ""),
            (b"\x07\x02\x00\x00" + fatbin.compat((9, 1)), ""),
        ],
    )
    def test_suffix_a_of_cuda_13_is_a_record(self, records: bytes, feature: str) -> None:
        info = read_cubin(cubin(121, compat=records))
        assert (info.feature, info.compat) == (feature, records)

    def test_relocatable(self) -> None:
        assert read_cubin(cubin(linked=False)).linked is False

    @pytest.mark.parametrize("abi", [7, 8])
    def test_kernels(self, abi: int) -> None:
        symbols = (
            Symbol(name="one", size=0x180, parameters=((0, 8), (1, 4), (2, 4096))),
            Symbol(name="two", size=0x80),
            Symbol(name="$one$helper", other=0),
            Symbol(name="other_bits", other=0x20),
            Symbol(name="declared", section=0),
            Symbol(name="table", type=STT_OBJECT, other=0, size=256),
            Symbol(name="section", type=3),
        )
        info = read_cubin(cubin(90, abi=abi, symbols=symbols))
        assert info.kernels == (
            Kernel(name="one", size=0x180, instructions=None, parameters=((0, 8), (1, 4), (2, 4096))),
            Kernel(name="two", size=0x80, instructions=None, parameters=()),
        )
        assert info.objects == (("table", 256),)
        assert kernels_in(ImageKind.SASS, cubin(90, abi=abi, symbols=symbols)) == info.kernels

    def test_second_symbol_table_is_not_read(self) -> None:
        """.nv.merc.symtab (type 0x70000085) repeats every kernel."""
        info = read_cubin(cubin(symbols=(Symbol(name="k"),), repeat_symbols=True))
        assert [k.name for k in info.kernels] == ["k"]

    def test_names_that_are_no_utf8(self) -> None:
        data = cubin(symbols=(Symbol(name="kernel"),)).replace(b"kernel\0", b"\xffernel\0")
        assert [k.name for k in read_cubin(data).kernels] == ["\ufffdernel"]


def only(text: bytes) -> Kernel:
    (kernel,) = read_ptx(HEAD + text)
    return kernel


class TestPtx:
    def test_one_kernel(self) -> None:
        kernel = only(b".visible .entry k(\n.param .u64 k_0,\n.param .u32 k_1\n)\n{\nmov.u32 %r1, 1;\nret;\n}\n")
        assert kernel == Kernel(
            name="k", size=len("\nmov.u32 %r1, 1;\nret;\n"), instructions=2, parameters=((0, 8), (1, 4))
        )

    @pytest.mark.parametrize(
        ("parameters", "sizes"),
        [
            (b"", []),
            (b"()", []),
            (b"(.param .u8 a, .param .b16 b, .param .f32 c, .param .s64 d)", [1, 2, 4, 8]),
            (b"(.param .align 8 .b8 s[24])", [24]),
            (b"(.param .align 4 .b32 s[3], .param .u64 .ptr .global .align 16 p)", [12, 8]),
            (b"(.param .u64 /* ), .param .u8 x */ a)", [8]),
        ],
    )
    def test_parameters(self, parameters: bytes, sizes: list[int]) -> None:
        assert only(b".entry k" + parameters + b" { ret; }").parameters == tuple(enumerate(sizes))

    @pytest.mark.parametrize(
        ("body", "instructions"),
        [
            (b"", 0),
            (b" \n\t", 0),
            (b"ret;", 1),
            (b".reg .b32 r; ret;", 1),
            (b"{ .reg .b32 r; { add.s32 r, r, 1; } } ret;", 2),
            (b"L1: ret;", 1),
            (b"L1:\nL2: ;", 0),
            (b"$L__BB0_1:\n@p bra $L__BB0_1;\nret;", 2),
            (b"// ret;\nret; /* ret; } */", 1),
            (b'.pragma "nounroll; } {"; ret;', 1),
            (b".loc 1 2 3\nret;", 1),
            (b"L1:\n.loc\t1 2 0\n.loc 1 3 0, function_name L0, inlined_at 1 2 3\nL2: ret;.loc 1 9 0", 1),
            (b"mma.sync.aligned.m16n8k16.row.col.f32 {a,b}, {c}, {d}, {e};", 1),
            (b"a:b:c: ret;", 1),
            (b"call (r), f, (a, b); ret;", 2),
        ],
    )
    def test_instructions(self, body: bytes, instructions: int) -> None:
        assert only(b".entry k() {" + body + b"}").instructions == instructions

    def test_nested_braces_end_where_they_end(self) -> None:
        names = [k.name for k in read_ptx(HEAD + b".entry a() { { { } } { } }\n.entry b() { ret; }")]
        assert names == ["a", "b"]

    @pytest.mark.parametrize(
        "text",
        [
            b"// .entry no() { }\n",
            b"/* .entry no() { } */",
            b'.pragma ".entry no() { ret; }";\n',
            b".func f() { .reg .b32 .entryx; }\n",
            b".entryx k() { }\n",
            b".entry k(.param .u64 p);\n",
            b".extern .entry k;\n",
        ],
    )
    def test_what_is_no_kernel(self, text: bytes) -> None:
        assert read_ptx(HEAD + text) == ()

    def test_declared_then_defined(self) -> None:
        assert only(b".entry k(.param .u64 p);\n.entry k(.param .u64 p) { ret; }\n").instructions == 1

    def test_tuning_directives(self) -> None:
        text = b".visible .entry k(.param .u64 p)\n.maxntid 128, 1, 1\n.minnctapersm 2\n{ ret; }"
        assert (only(text).name, only(text).instructions) == ("k", 1)

    @pytest.mark.parametrize("name", ["_Z6kernelPfS_i", "$private", "%odd", "k.clone", "x" * 5000])
    def test_names(self, name: str) -> None:
        assert only(f".entry {name}() {{ ret; }}".encode()).name == name

    def test_comment_at_the_start(self) -> None:
        text = b"//\n// Generated by NVIDIA NVVM Compiler\n//\n\n" + HEAD + b".entry k() { ret; }\0\0"
        assert [k.name for k in read_ptx(text)] == ["k"]

    def test_opaque_kinds_have_no_kernels(self) -> None:
        for kind in (ImageKind.LTO_IR, ImageKind.TILE_IR, ImageKind.UNKNOWN):
            assert kernels_in(kind, b"\x7fTileIR") == ()


class TestCompatRecords:
    def test_formats(self) -> None:
        records = (
            b"\x02\x09\x01\x00" + b"\x03\x05\x34\x12" + b"\x04\x0b\x08\x00" + bytes(range(8)) + b"\x02\x0c\x00\x00"
        )
        assert compat_records(records) == {9: b"\x01", 5: b"\x34\x12", 11: bytes(range(8)), 12: b"\x00"}

    @pytest.mark.parametrize("rest", [b"", b"\x02\x09\x01", b"\x01\x09\x01\x00", b"\x04\x0b\x09\x00" + bytes(8)])
    def test_stops_at_what_is_not_understood(self, rest: bytes) -> None:
        assert compat_records(b"\x02\x02\x01\x00" + rest) == {2: b"\x01"}
