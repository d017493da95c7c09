"""Containers in host files: wrappers, roles, sections, unknown bytes, archives (docs/formats.md 1 and 6)."""

from __future__ import annotations

from pathlib import Path

import pytest

from shim.devicecode import ContainerRole, ImageKind, could_hold_device_code
from tests.builders import cubin as cubins
from tests.builders import fatbin, hostfile
from tests.builders.fatbin import CUBIN, PTX, Image
from tests.builders.hostfile import Code
from tests.builders.reading import facts, images_of, read_file, read_stream

ONE = fatbin.container(Image(kind=PTX, arch=80, payload=fatbin.ptx()))
TWO = fatbin.container(Image(kind=CUBIN, arch=121, payload=cubins.cubin(121)), Image(kind=PTX, arch=120, payload=b"x"))


def roles(data: bytes) -> list[ContainerRole]:
    return [c.role for c in read_stream(data).containers]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("pointers", "how", "elf_type"),
    [("rela", "rela", "dyn"), ("relr", "relr", "dyn"), ("in-place", "in-place", "exec")],
)
@pytest.mark.parametrize("headers", [True, False])
@pytest.mark.parametrize("align", [8, 256])
def test_linked_file(machine: str, pointers: str, how: str, elf_type: str, headers: bool, align: int) -> None:
    made = hostfile.shared(
        [Code(data=ONE), Code(data=TWO), Code(data=ONE)],
        machine=machine,
        pointers=pointers,
        headers=headers,
        align=align,
        needed=("libcudart.so.13", "libc.so.6"),
        soname="libtest.so",
    )
    code = read_stream(made.data)
    assert (code.format, code.machine, code.elf_type) == ("elf", machine, elf_type)
    assert (code.needed, code.soname) == (("libcudart.so.13", "libc.so.6"), "libtest.so")
    assert [c.offset for c in code.containers] == list(made.containers)
    assert [c.section for c in code.containers] == [".nv_fatbin" if headers else ""] * 3
    assert [c.role for c in code.containers] == [ContainerRole.WHOLE] * 3
    assert [(w.offset, w.target, w.container) for w in code.wrappers] == [
        (wrapper, container, i)
        for i, (wrapper, container) in enumerate(zip(made.wrappers, made.containers, strict=True))
    ]
    assert {(w.version, w.pointer) for w in code.wrappers} == {(1, how)}
    assert code.unknown == ()


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_object(machine: str) -> None:
    made = hostfile.obj([Code(data=ONE), Code(data=TWO)], machine=machine)
    code = read_stream(made.data, "a.o")
    assert (code.elf_type, code.machine) == ("rel", machine)
    assert [(w.pointer, w.target) for w in code.wrappers] == [("symbol", at) for at in made.containers]
    assert [c.role for c in code.containers] == [ContainerRole.WHOLE] * 2


@pytest.mark.parametrize("make", [hostfile.shared, hostfile.obj])
def test_roles_of_relocatable_code(make: type) -> None:
    codes = [
        Code(data=ONE, section="__nv_relfatbin"),
        Code(data=ONE, section="__nv_relfatbin"),
        Code(data=TWO, version=2),
        Code(data=TWO),
    ]
    found = {c.role: c.section for c in read_stream(make(codes).data).containers}
    assert found == {
        ContainerRole.PRELINKED: "__nv_relfatbin",
        ContainerRole.LINKED: ".nv_fatbin",
        ContainerRole.WHOLE: ".nv_fatbin",
    }


def test_role_stub() -> None:
    """nvcc -shared always adds a version-2 wrapper; nothing registers it without pre-linked code."""
    assert roles(hostfile.shared([Code(data=ONE), Code(data=fatbin.container(), version=2)]).data) == [
        ContainerRole.WHOLE,
        ContainerRole.STUB,
    ]


@pytest.mark.parametrize(
    ("section", "role"), [(".nv_fatbin", ContainerRole.UNREFERENCED), (".data.rel", ContainerRole.EMBEDDED)]
)
def test_role_without_wrapper(section: str, role: ContainerRole) -> None:
    made = hostfile.shared([Code(data=ONE), Code(data=TWO, section=section, version=0)])
    assert roles(made.data) == [ContainerRole.WHOLE, role]


def test_role_embedded_when_there_are_no_wrappers_at_all() -> None:
    assert roles(hostfile.shared([Code(data=ONE, version=0)]).data) == [ContainerRole.EMBEDDED]


@pytest.mark.parametrize("gap", [8, 64, 1 << 20])
def test_zero_gap_is_padding(gap: int) -> None:
    body = ONE + bytes(gap) + TWO
    made = hostfile.shared([Code(data=body, version=0)])
    code = read_stream(made.data)
    assert [c.offset - made.containers[0] for c in code.containers] == [0, len(ONE) + gap]
    assert code.unknown == ()


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        (ONE + b"\1" * 8 + TWO, [(len(ONE), 8)]),
        (ONE + bytes(8) + b"\1" + bytes(7) + TWO, [(len(ONE) + 8, 1)]),
        (b"junk" + bytes(4) + ONE, [(0, 4)]),
        (ONE + b"tail....", [(len(ONE), 8)]),
        (ONE + bytes(16) + b"tail" + bytes(12), [(len(ONE) + 16, 16)]),
        (b"nothing!" * 4, [(0, 32)]),
        (
            b"ab" + bytes(6) + ONE + b"cd" + bytes(6) + TWO + b"e",
            [(0, 2), (len(ONE) + 8, 2), (16 + len(ONE + TWO), 1)],
        ),
    ],
)
def test_unknown_bytes(body: bytes, unknown: list[tuple[int, int]]) -> None:
    made = hostfile.shared([Code(data=body, version=0)])
    base = made.at[".nv_fatbin"]
    assert [(u.offset - base, u.size, u.section) for u in read_stream(made.data).unknown] == [
        (offset, size, ".nv_fatbin") for offset, size in unknown
    ]


def test_unknown_bytes_of_two_sections() -> None:
    codes = [
        Code(data=ONE + b"12345678", version=0),
        Code(data=TWO + b"abcd", section="__nv_relfatbin", version=0),
    ]
    made = hostfile.shared(codes)
    assert [(u.offset, u.size, u.section) for u in read_stream(made.data).unknown] == [
        (made.at[".nv_fatbin"] + len(ONE), 8, ".nv_fatbin"),
        (made.at["__nv_relfatbin"] + len(TWO), 4, "__nv_relfatbin"),
    ]


class TestLoose:
    """GPU code without a container."""

    def test_bare_cubins_and_text(self) -> None:
        text = b"\0" * 8 + fatbin.ptx("90a", version="8.3")
        bare = cubins.cubin(100, compat=fatbin.compat((9, 1))) + bytes(8) + cubins.cubin(86, abi=7)
        made = hostfile.shared([], rodata=text + bytes(-len(text) % 8), data=bare)
        code = read_stream(made.data)
        assert [(i.kind, str(i.arch), i.section, i.version) for i in code.loose] == [
            (ImageKind.SASS, "100a", ".data", (1, 8)),
            (ImageKind.SASS, "86", ".data", (1, 7)),
            (ImageKind.PTX, "90a", ".rodata", (8, 3)),
        ]
        assert code.loose[0].offset == made.at[".data"]
        assert code.loose[0].size == len(cubins.cubin(100, compat=fatbin.compat((9, 1))))
        assert code.loose[2].offset == made.at[".rodata"] + 8
        assert code.has_device_code

    @pytest.mark.parametrize(
        "text",
        [
            b".version 8.0\n.target sm_8",
            b".version 8\n.target sm_80",
            b".version 8.0 .target compute_80",
            b".version  8.0\n.target sm_80"[:-3],
            b".version 8.0" + b" " * 300 + b".target sm_80",
        ],
    )
    def test_what_is_no_ptx(self, text: bytes) -> None:
        made = hostfile.shared([], rodata=text + bytes(256))
        assert read_stream(made.data).loose == ()

    def test_elf_files_that_are_no_cubins(self) -> None:
        inner = hostfile.shared([Code(data=ONE)]).data
        made = hostfile.shared([], data=inner + bytes(-len(inner) % 8))
        code = read_stream(made.data)
        assert code.loose == ()
        assert len(code.containers) == 1

    def test_images_inside_containers_are_not_loose(self) -> None:
        assert read_stream(hostfile.shared([Code(data=TWO), Code(data=ONE)]).data).loose == ()


class TestStandalone:
    """Files that are an image or a container themselves."""

    def test_fatbin(self) -> None:
        code = read_stream(ONE + bytes(24) + TWO + b"trailing", "a.fatbin")
        assert (code.format, [c.role for c in code.containers]) == ("fatbin", [ContainerRole.FILE] * 2)
        assert [(u.offset, u.size) for u in code.unknown] == [(len(ONE + TWO) + 24, 8)]

    @pytest.mark.parametrize(("abi", "version"), [(7, (1, 7)), (8, (1, 8))])
    def test_cubin(self, abi: int, version: tuple[int, int]) -> None:
        data = cubins.cubin(89, abi=abi)
        code = read_stream(data, "a.cubin")
        (image,) = code.loose
        assert (code.format, image.kind, str(image.arch), image.size) == (
            "cubin",
            ImageKind.SASS,
            "89",
            len(data),
        )
        assert image.version == version

    @pytest.mark.parametrize(
        ("text", "arch", "version"),
        [
            (fatbin.ptx("121f", version="8.8"), "121f", (8, 8)),
            (b"// nvcc\n/* .version 1.0 */\n.version 9.0\n.target sm_80, debug\n", "80", (9, 0)),
        ],
    )
    def test_ptx(self, text: bytes, arch: str, version: tuple[int, int]) -> None:
        for name in ("a.ptx", "no_suffix"):
            code = read_stream(text, name)
            (image,) = code.loose
            assert (code.format, image.kind, str(image.arch), image.version) == (
                "ptx",
                ImageKind.PTX,
                arch,
                version,
            )

    def test_ltoir(self) -> None:
        (image,) = read_stream(b"scrambled bytes", "a.ltoir").loose
        assert (image.kind, image.arch, image.size) == (ImageKind.LTO_IR, None, 15)

    @pytest.mark.parametrize("data", [b"", b"\0", b"plain text", bytes(100_000)])
    def test_nothing(self, data: bytes) -> None:
        code = read_stream(data, "data.bin")
        assert (code.format, code.has_device_code, code.size) == ("none", False, len(data))

    def test_which_files_are_worth_reading(self) -> None:
        for name in ("a.ptx", "a.cubin", "a.fatbin", "a.ltoir"):
            assert could_hold_device_code(name, b"")
        for head in (b"\x7fELF\x02\x01\x01\0", b"!<arch>\n", ONE[:8]):
            assert could_hold_device_code("any", head)
        assert not could_hold_device_code("a.py", b"import os")


class TestArchive:
    """ar archives: offsets are of the archive."""

    def test_members(self) -> None:
        first, second = hostfile.obj([Code(data=ONE)]), hostfile.obj([Code(data=TWO), Code(data=ONE)])
        members = [
            ("/", b"symbols"),
            ("a.o", first.data),
            ("odd", b"abc"),
            ("b.o", second.data),
            ("k", cubins.cubin(90)),
        ]
        data = hostfile.ar(*members)
        code = read_stream(data, "lib.a")
        assert (code.format, code.machine, code.elf_type) == ("ar", "x86_64", "rel")
        base = [data.index(first.data), data.index(second.data)]
        places = [base[0] + first.containers[0], *(base[1] + at for at in second.containers)]
        assert [c.offset for c in code.containers] == places
        assert [i.offset - 16 for i in images_of(code) if i.raw_kind == PTX and str(i.arch) == "80"] == places[::2]
        assert [(w.target, w.container) for w in code.wrappers] == list(zip(places, range(3), strict=True))
        (cubin,) = code.loose
        assert (cubin.offset, str(cubin.arch)) == (data.index(cubins.cubin(90)), "90")

    def test_archive_in_archive_is_not_opened(self) -> None:
        inner = hostfile.ar(("a.o", hostfile.obj([Code(data=ONE)]).data))
        assert not read_stream(hostfile.ar(("in.a", inner)), "lib.a").has_device_code

    def test_hundred_thousand_nested_archives(self) -> None:
        """Each level once cost a stack frame: 68 bytes of file for a crash."""
        levels = range(100_000, 0, -1)
        data = "".join(f"!<arch>\n{'x/':<48}{68 * (left - 1):<10}`\n" for left in levels).encode()
        assert not read_stream(data, "lib.a").has_device_code

    @pytest.mark.parametrize("members", [[], [("empty", b"")], [("a", b""), ("b", b"x"), ("c", b"")]])
    def test_nothing(self, members: list[tuple[str, bytes]]) -> None:
        code = read_stream(hostfile.ar(*members), "lib.a")
        assert (code.format, code.has_device_code) == ("ar", False)


def test_mapping_gives_the_same(tmp_path: Path) -> None:
    made = hostfile.shared([Code(data=ONE), Code(data=TWO)], needed=("libc.so.6",))
    assert facts(read_file(tmp_path, made.data)) == facts(read_stream(made.data))


def test_path_that_is_no_utf8(tmp_path: Path) -> None:
    made = hostfile.shared([Code(data=ONE)])
    assert len(read_file(tmp_path, made.data, "lib\udcff.so").containers) == 1


def test_names_that_are_no_utf8() -> None:
    made = hostfile.shared([Code(data=ONE)], needed=("lib\udcff\udce4.so", "größer.so"), soname="ok\udc80")
    code = read_stream(made.data)
    assert (code.needed, code.soname) == (("lib??.so", "größer.so"), "ok?")


def test_containers_are_a_sequence() -> None:
    code = read_stream(hostfile.shared([Code(data=ONE), Code(data=TWO), Code(data=ONE)]).data)
    assert len(code.containers) == 3
    assert code.containers[-1] == code.containers[2]
    assert list(code.containers[1:]) == [code.containers[1], code.containers[2]]
    for index in (3, -4):
        with pytest.raises(IndexError):
            code.containers[index]
